"""What a picture needs beside single figures: confusion matrix, reliability bins, risk-coverage
points, sub-groups.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.metrics import interval, metric_draws, metrics
from mobilekd.metrics.predictions import Predictions
from mobilekd.metrics.skin_tone import TONES
from mobilekd.metrics.weighted import ECE_BINS, equal_mass_bins

#: Below this many photographs a sub-group gets its count but no figure.
LEAST = 20
AGES = ((0, 30), (30, 45), (45, 60), (60, 75), (75, 200))


def confusion_matrix(truth: np.ndarray, probabilities: np.ndarray) -> list[list[int]]:
    """Counts ``[truth][answer]``."""
    classes = probabilities.shape[1]
    matrix = np.bincount(truth * classes + probabilities.argmax(1), minlength=classes * classes)
    return [[int(count) for count in row] for row in matrix.reshape(classes, classes)]


def reliability_bins(truth: np.ndarray, probabilities: np.ndarray) -> list[dict[str, float | int]]:
    """Mean confidence and accuracy in the bins of the calibration error."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    bins = equal_mass_bins(confidence)
    inside = [bins == index for index in range(ECE_BINS) if (bins == index).any()]
    return [
        {
            "confidence": float(confidence[one].mean()),
            "accuracy": float(right[one].mean()),
            "n": int(one.sum()),
        }
        for one in inside
    ]


def risk_coverage_points(
    truth: np.ndarray, probabilities: np.ndarray, most: int = 100
) -> list[list[float]]:
    """``[coverage, error rate]`` answering the surest photographs first, at no more than about
    ``most`` places.

    The curve starts at 2% of the photographs, because an error rate over a handful is noise.
    """
    order = np.argsort(-probabilities.max(1), kind="stable")
    wrong = np.cumsum((probabilities.argmax(1) != truth)[order])
    count = len(order)
    places = np.unique(np.linspace(max(1, count * 0.02), count, min(most, count)).astype(int))
    return [[float(place / count), float(wrong[place - 1] / place)] for place in places]


def coverage_by_class(
    truth: np.ndarray, probabilities: np.ndarray, keys: Sequence[str], threshold: float
) -> dict[str, float]:
    """Share of every class present that gets an answer."""
    kept = probabilities.max(1) >= threshold
    return {key: float(kept[truth == i].mean()) for i, key in enumerate(keys) if (truth == i).any()}


def subgroups(
    judged: Predictions, columns: Mapping[str, Sequence[Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Accuracy and balanced accuracy by age, sex, site and skin tone; ``columns`` are aligned with
    the rows of ``judged``, None is unknown.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for name, column in columns.items():
        names = (
            [_age(value) for value in column]
            if name == "age"
            else [None if value is None else str(value) for value in column]
        )
        if not any(names):
            continue
        ordered = sorted({value for value in names if value}, key=_place)
        ordered += ["unknown"] if None in names else []
        found[name] = [
            _one(judged, group, np.array([(value or "unknown") == group for value in names]))
            for group in ordered
        ]
    return found


def by_origin(
    judged: Predictions,
    origins: Sequence[str],
    classes: Sequence[Label],
    calibration: Calibration | None = None,
) -> dict[str, dict[str, Any]]:
    """Every metric of the photographs of each origin, by its name, and their counts; ``origins``
    has one for each row of ``judged``. Empty where no origin is known.

    A balanced accuracy averages over the classes that an origin has.
    """
    found: dict[str, dict[str, Any]] = {}
    if not any(origins):
        return found
    for origin in sorted(set(origins)):
        rows = np.flatnonzero([one == origin for one in origins])
        truth, lesions = judged.truth[rows], [judged.lesions[row] for row in rows]
        if len(rows) < LEAST:
            few = Interval(value=None, reason=f"fewer than {LEAST} photographs")
            figures = dict.fromkeys(("balanced_accuracy", "accuracy"), few)
        else:
            figures = metrics(
                truth, judged.probabilities[rows], lesions, classes, calibration=calibration
            )
        found[origin or UNKNOWN] = {
            "photographs": len(rows),
            "lesions": len(set(lesions)),
            "by_class": {key: int((truth == i).sum()) for i, key in enumerate(judged.keys)},
            "metrics": {name: figure.model_dump() for name, figure in figures.items()},
        }
    return found


#: The origin of photographs that state none, beside others that do.
UNKNOWN = "not stated"


def _age(value: Any) -> str | None:
    if value is None:
        return None
    return next(
        (
            f"{low} to {high - 1}" if high < 200 else f"{low} and over"
            for low, high in AGES
            if low <= value < high
        ),
        None,
    )


def _place(name: str) -> tuple[int, str]:
    """Where a group stands among those of its kind: skin tones from light to dark."""
    tones = [tone for _, tone in TONES]
    return (tones.index(name) if name in tones else _first_number(name), name)


def _first_number(name: str) -> int:
    """Sorts ``5 to 9`` before ``30 to 44``; names without a number keep together."""
    digits = name.split(" ")[0]
    return int(digits) if digits.isdigit() else -1


def _one(judged: Predictions, group: str, inside: np.ndarray) -> dict[str, Any]:
    rows = np.flatnonzero(inside)
    lesions = [judged.lesions[row] for row in rows]
    entry: dict[str, Any] = {
        "group": group,
        "n": len(rows),
        "lesions": len(set(lesions)),
        "classes": len(np.unique(judged.truth[rows])),
    }
    if len(rows) < LEAST:
        reason = f"fewer than {LEAST} photographs"
        return entry | {
            key: {"value": None, "reason": reason} for key in ("accuracy", "balanced_accuracy")
        }
    figures = metric_draws(
        ("accuracy", "balanced_accuracy"),
        judged.truth[rows],
        judged.probabilities[rows],
        lesions,
        judged.keys,
        draws=300,
    )
    return entry | {
        key: interval(one.value, one.spread).model_dump() for key, one in figures.items()
    }
