"""How photographs differ from those that a model knows, in words, without a label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.guard import GuardSummary
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.formats.pictures import Pictures
from mobilekd.metrics.calibrate import picture_quality
from mobilekd.metrics.guard import refused_share

#: A difference in the mix of classes below this many points is none: the estimate is rough.
POINTS = 0.05


@dataclass(frozen=True)
class Difference:
    """One way in which photographs differ: a share of them, and the share of the model's own."""

    what: str
    share: Interval
    own: float


@dataclass(frozen=True)
class Drift:
    """All that differs beyond chance, and the sentence that says it."""

    photographs: int
    differences: tuple[Difference, ...]
    text: str


def drift(
    probabilities: np.ndarray,
    outside: np.ndarray | None,
    pictures: Pictures,
    guard: GuardSummary | None,
    calibration: Calibration,
    labels: Sequence[Label],
    *,
    shares: Mapping[str, float] | None = None,
    estimated: Mapping[str, float] | None = None,
) -> Drift:
    """Compare photographs uint8 ``[N, 3, H, W]`` and calibrated answers ``[N, C]`` with what
    validation fixed. ``shares`` and ``estimated`` are of classes, known and estimated.

    A share differs where its 95% interval does not hold the model's own.
    """
    count = len(probabilities)
    looked: list[tuple[str, np.ndarray, float]] = []
    if outside is not None and guard is not None:
        looked.append(("look like none that it knows", outside, guard.refused))
    if limits := calibration.quality:
        sharpness, luma = picture_quality(pictures)
        looked += [
            ("are blurred", sharpness < limits.sharpness_low, 0.01),
            ("are too dark", luma < limits.luma_low, 0.01),
            ("are too bright", luma > limits.luma_high, 0.01),
        ]
    sure = probabilities.max(1) >= calibration.threshold
    looked.append(("get a sure answer", sure, calibration.coverage))
    lesions = [str(row) for row in range(count)]
    found = [
        Difference(what, share, own)
        for what, flags, own in looked
        for share in [refused_share(flags, lesions)]
        if share.low is not None and share.high is not None and not share.low <= own <= share.high
    ]
    said = [
        f"{_percent(one.share.value)} {one.what} ({_percent(one.own)} of its own)" for one in found
    ]
    for label in labels:
        own, now = (shares or {}).get(label.key), (estimated or {}).get(label.key)
        if own is not None and now is not None and abs(now - own) >= POINTS:
            said.append(
                f"{label.text} is {_percent(now)} of them by its answers, not {_percent(own)}"
            )
    begin = f"these {count} photographs"
    text = (
        f"{begin} differ from what this model knows by: {'; '.join(said)}"
        if said
        else f"{begin} do not differ from what this model knows in anything that was looked at"
    )
    return Drift(count, tuple(found), text)


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0.0):.0f}%"
