"""The two kinds of failure a person can meet: their own mistake, and something this machine cannot
do.
"""


class UserError(Exception):
    """A mistake the user can mend: one line that names the thing and the remedy. The command line
    exits with 2.
    """


class CannotRunHere(UserError):
    """Something sound that this machine lacks the means for (Core ML off macOS, a phone that is not
    plugged in).
    """


class GateError(UserError):
    """An export that was refused: the first gate that failed, by how much, and where the numbers
    part. ``by_decisions``: what failed is judged by photographs, so rounding otherwise may pass.
    """

    def __init__(self, message: str, *, by_decisions: bool = False) -> None:
        super().__init__(message)
        self.by_decisions = by_decisions
