"""From probabilities to what is said of a photograph: one rule for ``predict``, the golden set and,
in their own languages, both apps.
"""

from collections.abc import Sequence

import numpy as np

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.golden_set import Decision
from mobilekd.formats.guard import GuardSummary
from mobilekd.formats.labels import Label
from mobilekd.metrics.calibrate import rescaled
from mobilekd.metrics.conformal import members

#: The answer below the threshold, or where the set excludes the likeliest class; and the one to a
#: photograph of another kind than the model knows.
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

    The one word never contradicts the set: each class has a threshold of its own there, so the
    likeliest class may be one that the set excludes, and then the word is "not sure".
    """
    keys = [label.key for label in labels]
    sets = calibration.sets
    least = [sets.thresholds[key] for key in keys] if sets else None
    said = []
    for row, probability in enumerate(probabilities):
        refused = None if outside is None else bool(outside[row])
        best = int(probability.argmax())
        chosen = None
        if least is not None and not refused:
            chosen = tuple(keys[i] for i in members(probability, least))
        excluded = chosen is not None and keys[best] not in chosen
        sure = bool(probability[best] >= calibration.threshold) and not excluded
        answer = OUTSIDE if refused else keys[best] if sure else NOT_SURE
        said.append(Decision(answer=answer, set=chosen, outside=refused))
    return said


def decided(
    probabilities: np.ndarray,
    scores: np.ndarray | None,
    labels: Sequence[Label],
    calibration: Calibration,
    guard: GuardSummary | None,
) -> list[Decision]:
    """What is said of each photograph, from what a model file gives: probabilities ``[N, C]``,
    which the calibration may rescale, and the guard's scores ``[N]`` or ``[N, 1]``; None of a file
    without one.
    """
    outside = None if scores is None or guard is None else guard.refuses(scores)
    final = rescaled(probabilities, calibration.rescale)
    return decisions(final, outside, labels, calibration)
