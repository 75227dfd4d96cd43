"""From probabilities to what is said of a photograph: one rule for ``predict``, the golden set and,
in their own languages, both apps.
"""

from collections.abc import Sequence

import numpy as np

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.golden_set import Decision
from mobilekd.formats.labels import Label
from mobilekd.metrics.conformal import members

#: The answer below the threshold, and the one to a photograph of another kind than the model knows.
NOT_SURE = "not sure"
OUTSIDE = "outside"


def decisions(
    probabilities: np.ndarray,
    outside: np.ndarray | None,
    labels: Sequence[Label],
    calibration: Calibration,
) -> list[Decision]:
    """What is said of each photograph, from calibrated probabilities ``[N, C]`` and what the guard
    says of them, bool ``[N]``; None without one.
    """
    keys = [label.key for label in labels]
    sets = calibration.sets
    least = [sets.thresholds[key] for key in keys] if sets else None
    said = []
    for row, probability in enumerate(probabilities):
        refused = None if outside is None else bool(outside[row])
        best = int(probability.argmax())
        sure = bool(probability[best] >= calibration.threshold)
        chosen = None
        if least is not None and not refused:
            chosen = tuple(keys[i] for i in members(probability, least))
        answer = OUTSIDE if refused else keys[best] if sure else NOT_SURE
        said.append(Decision(answer=answer, set=chosen, outside=refused))
    return said
