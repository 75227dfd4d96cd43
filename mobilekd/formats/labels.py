"""The classes of a student: key, words, and the groups that have metrics of their own."""

from pydantic import Field

from mobilekd.formats.document import GrownDocument
from mobilekd.formats.roles import Role, guess

#: Groups of classes that have metrics of their own, with the roles that belong to each.
GROUPS: dict[str, frozenset[str]] = {
    "melanoma": frozenset({"melanoma"}),
    "malignant": frozenset({"melanoma", "malignant"}),
}


class Label(GrownDocument):
    """One class: its key in the data, its name in words, and its role among the diagnoses."""

    later = frozenset({"role"})

    key: str
    text: str
    role: Role | None = Field(
        None, description="melanoma, malignant or benign; null: guessed from the key"
    )

    @property
    def known_role(self) -> Role | None:
        """The role, guessed from the key where it was not given."""
        return self.role or guess(self.key)
