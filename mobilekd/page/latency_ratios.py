"""Two measurements side by side: ratio of medians with its interval, and a verdict in plain
words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mobilekd.formats.interval import Interval
from mobilekd.formats.measurement import Measurement
from mobilekd.metrics.stats import FALSE_ALARM, process_ratio, slower_by_luck
from mobilekd.page.latency_samples import LatencySamples, latency_samples, trusted


@dataclass(frozen=True, eq=False)
class LatencyRatio:
    """``new`` against ``old`` under one setting."""

    new: Measurement
    old: Measurement
    ours: LatencySamples
    theirs: LatencySamples
    ratio: Interval
    settings: int  # how many were judged together
    slower: float | None  # the corrected p-value against "not slower"; None bears no verdict
    faster: float | None

    @property
    def interleaved(self) -> bool:
        """Measured in one session, so that drift hit both alike."""
        return self.new.session == self.old.session

    @property
    def verdict(self) -> str:
        """Faster, slower, or no difference shown: the rule of ``bench --fail-above`` in both
        directions.
        """
        figure = self.ratio
        if (
            figure.value is None
            or figure.low is None
            or figure.high is None
            or self.faster is None
            or self.slower is None
        ):
            return f"no verdict: {figure.reason or 'not enough samples'}"
        if self.faster < FALSE_ALARM:
            return (
                f"faster: {_percent(1 - figure.value)} less time ({_percent(1 - figure.high)} to"
                f" {_percent(1 - figure.low)})"
            )
        if self.slower < FALSE_ALARM:
            return (
                f"slower: {_percent(figure.value - 1)} more time ({_percent(figure.low - 1)} to"
                f" {_percent(figure.high - 1)})"
            )
        if not figure.low <= 1 <= figure.high:
            return (
                f"no difference shown: luck may explain it (p {min(self.faster, self.slower):.2g}"
                f" by Holm over {self.settings} settings)"
            )
        return "no difference shown"


def latency_ratios(members: Sequence[Measurement]) -> list[LatencyRatio]:
    """All pairs worth a verdict among measurements of one device and way, under every setting that
    both have.
    """
    return [ratio for new, old in _pairs(members) for ratio in ratios_between(new, old)]


def ratios_between(new: Measurement, old: Measurement) -> list[LatencyRatio]:
    """Two measurements under every setting that both have, judged together."""
    theirs = {(setting.threads, setting.cores): setting for setting in latency_samples(old)}
    both = [
        (ours, theirs[key])
        for ours in latency_samples(new)
        if (key := (ours.threads, ours.cores)) in theirs
    ]
    return _judged(
        new, old, [(ours, other) for ours, other in both if not ours.reasons and not other.reasons]
    )


def _judged(
    new: Measurement, old: Measurement, both: Sequence[tuple[LatencySamples, LatencySamples]]
) -> list[LatencyRatio]:
    """All settings of one pair of measurements, judged together."""
    ratios = [process_ratio(ours.processes, theirs.processes) for ours, theirs in both]
    able = [number for number, ratio in enumerate(ratios) if ratio.low is not None]
    pairs = [(both[number][0].processes, both[number][1].processes) for number in able]
    slower = dict(zip(able, slower_by_luck(pairs), strict=True))
    faster = dict(
        zip(able, slower_by_luck([(theirs, ours) for ours, theirs in pairs]), strict=True)
    )
    return [
        LatencyRatio(
            new, old, ours, theirs, ratio, len(able), slower.get(number), faster.get(number)
        )
        for number, ((ours, theirs), ratio) in enumerate(zip(both, ratios, strict=True))
    ]


def _pairs(members: Sequence[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """(new, old): an artifact against its earlier measurement, and other precisions of a student
    against its fp32.
    """
    usable = sorted((one for one in members if trusted(one)), key=lambda one: one.started_utc)
    found = []
    for name in dict.fromkeys(one.artifact for one in usable):
        found += [
            (new, old) for old, new in pairwise(one for one in usable if one.artifact == name)
        ]
    for name in dict.fromkeys(one.artifact for one in usable):
        found += _against_fp32([one for one in usable if one.artifact == name], usable)
    return found


def _against_fp32(
    members: Sequence[Measurement], usable: Sequence[Measurement]
) -> list[tuple[Measurement, Measurement]]:
    """The latest pair of one session, because drift hits both alike there; else the latest
    of each.
    """
    base = [
        one
        for one in usable
        if one.artifact == members[0].artifact.removesuffix(members[0].precision) + "fp32"
    ]
    if not base or base[0].artifact == members[0].artifact:
        return []
    together = [(one, other) for one in members for other in base if one.session == other.session]
    return [together[-1] if together else (members[-1], base[-1])]


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.095 else f"{100 * share:.1f}%"
