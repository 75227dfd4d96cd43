"""A measurement beside an earlier one of the same artifact, device and way: the ratio with its
interval, and when that is a failure.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilekd.formats.interval import Interval
from mobilekd.formats.measurement import Device, Measurement, read_measurement, thread_words
from mobilekd.metrics.stats import FALSE_ALARM, process_ratio, slower_by_luck
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say


class Regression(UserError):
    """A measurement slower than its baseline by more than was allowed; ``regressions`` holds each
    ratio by setting.
    """

    def __init__(self, message: str, regressions: dict[str, Interval]):
        super().__init__(message)
        self.regressions = regressions


def read_baseline(
    path: Path, via: str, device: Device, artifacts: Sequence[str], *, to_judge: bool
) -> Measurement:
    """Read the baseline. A ``UserError``, before minutes are spent, where nothing that is measured
    now can be compared with it; with ``to_judge``, also where it can bear no verdict.
    """
    old = read_measurement(path)
    if old.via != via:
        raise UserError(
            f"{path}: measured via {old.via}; shell and app are never compared, use --via {old.via}"
        )
    if old.artifact not in artifacts:
        raise UserError(
            f"{path}: a baseline of {old.artifact}, which is not measured here; name that artifact"
            " or another baseline"
        )
    _alike(device, old)
    if not _samples(old):
        raise UserError(f"{path}: the baseline has no latency; measure it again, on a real device")
    if to_judge and not old.valid:
        why = "; ".join(old.reasons)
        raise UserError(
            f"{path}: the baseline is marked invalid ({why}), so --fail-above cannot judge; measure"
            " it again"
        )
    return old


def _alike(device: Device, old: Measurement) -> None:
    if device.emulated or old.device.emulated:
        raise UserError(
            f"{old.artifact}: emulated times are no latency and are not compared; measure on a real"
            " device"
        )
    if device.id != old.device.id:
        raise UserError(
            f"{old.artifact}: the baseline is from {old.device.id}, this is {device.id}; measure a"
            " baseline here"
        )


def baseline_ratios(new: Measurement, old: Measurement) -> dict[str, Interval]:
    """Ratio of medians, new over old, with its interval, for every setting that both have."""
    _alike(new.device, old)
    if new.via != old.via:
        raise UserError(
            f"{old.artifact}: the baseline is via {old.via}, this is via {new.via}; shell and app"
            " are never compared"
        )
    ours, theirs = _samples(new), _samples(old)
    return {key: process_ratio(ours[key], theirs[key]) for key in ours if key in theirs}


def _samples(measurement: Measurement) -> dict[str, list[np.ndarray]]:
    """Valid steady samples by setting, one array per process."""
    groups: dict[str, list[np.ndarray]] = {}
    for series in measurement.series:
        if series.valid:
            key = thread_words(series.threads_asked) + (
                "" if series.cores == "all" else f" on cores {series.cores}"
            )
            groups.setdefault(key, []).append(np.array(series.samples_ns, float))
    return groups


def judge(
    measurements: Sequence[Measurement], old: Measurement, baseline: Path, fail_above: float | None
) -> None:
    """Say every ratio, and fail where one lies above ``fail_above`` and luck does not explain it.

    All settings are tested together, those that came out fast too (``slower_by_luck``). An invalid
    measurement is compared and bears no verdict, here as in the report.
    """
    new = next(measurement for measurement in measurements if measurement.artifact == old.artifact)
    ratios = baseline_ratios(new, old)
    if not ratios:
        raise UserError(
            f"{baseline}: has no valid series in a setting that was measured; measure it again with"
            " the same --threads"
        )
    doubts = [
        f"{who} is marked invalid: {'; '.join(one.reasons)}"
        for who, one in (("this one", new), ("the baseline", old))
        if not one.valid
    ]
    for doubt in doubts:
        say(f"bench: {doubt}; the ratios may show that, and not the program")
    for key, ratio in ratios.items():
        say(f"bench: {old.artifact}, {key}: {words(ratio)} times the baseline's median")
    if fail_above is None:
        return
    if doubts:
        raise UserError(
            f"{old.artifact}: {doubts[0]}, so --fail-above cannot judge; mend that and measure"
            " again"
        )
    if all(ratio.low is None for ratio in ratios.values()):
        raise UserError(
            f"{baseline}: {next(iter(ratios.values())).reason}, so --fail-above cannot judge;"
            " measure both again"
        )
    # Below 1 the user asks for a gain: then it is the gain that must be shown to be missing, not a
    # loss.
    luck = _luck(ratios, new, old, min(1.0, fail_above))
    by = "" if len(luck) == 1 else f" by Holm over {len(luck)} settings"
    above = {key: ratios[key] for key in luck if (ratios[key].value or 0.0) > fail_above}
    failed = {key: ratio for key, ratio in above.items() if luck[key] < FALSE_ALARM}
    for key in above:
        if key not in failed:
            why = f"luck may explain it (p {luck[key]:.2g}{by}, and it fails below {FALSE_ALARM:g})"
            say(
                f"bench: {old.artifact}, {key}: above --fail-above {fail_above:g}, but {why};"
                " measure again with more --samples"
            )
    if failed:
        key, worst = max(failed.items(), key=lambda pair: pair[1].value or 0.0)
        more = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
        line = (
            f"{old.artifact}, {key}: {words(worst)} times the baseline, above --fail-above"
            f" {fail_above:g}"
        )
        raise Regression(f"{line} (p {luck[key]:.2g}{by}{more})", failed)


def _luck(
    ratios: dict[str, Interval], new: Measurement, old: Measurement, bar: float
) -> dict[str, float]:
    """The corrected p-value against "the ratio is ``bar`` or less" of every setting that bears a
    verdict.
    """
    ours, theirs = _samples(new), _samples(old)
    keys = [key for key, ratio in ratios.items() if ratio.low is not None]
    return dict(
        zip(keys, slower_by_luck([(ours[key], theirs[key]) for key in keys], bar), strict=True)
    )


def words(ratio: Interval) -> str:
    """``1.080 (1.062 to 1.097)``, or why there is no interval."""
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return (
            f"{ratio.value:.3f} ({ratio.reason})" if ratio.value is not None else str(ratio.reason)
        )
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
