"""``bench``: measure artifacts on a device, keep what was measured whatever happens, compare with a baseline."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilekd import provenance
from mobilekd.artifact import Interval, open_artifact
from mobilekd.errors import UserError
from mobilekd.files import write_json
from mobilekd.measurement import Conditions, Device, GoldenCheck, Measurement, Pipeline, read_measurement
from mobilekd.progress import say
from mobilekd.runners import Runner, get
from mobilekd.runners.session import Collected, Plan, measure
from mobilekd.stats import median_ratio

RESULTS = Path("results")
LEAST_ROUNDS = 3  # cold starts, and the fewest processes that a comparison can judge by


class Regression(UserError):
    """A measurement slower than its baseline by more than was allowed; ``regressions`` holds each ratio by setting."""

    def __init__(self, message: str, regressions: dict[str, Interval]):
        super().__init__(message)
        self.regressions = regressions


def bench(
    artifacts: Sequence[Path],
    *,
    device: str = "host",
    via: str = "shell",
    threads: Sequence[int] = (1, 2),
    minutes: float = 0.0,
    samples: int = 200,
    output: Path | None = None,
    baseline: Path | None = None,
    fail_above: float | None = None,
    rounds: int | None = None,
    cool_wait: float = 300.0,
) -> list[Measurement]:
    """Measure ``artifacts`` interleaved on ``device`` and write one JSON file each.

    Args:
        artifacts: artifact folders.
        device: ``host``, ``adb``, ``adb:SERIAL`` or ``qemu:CPU`` (answers only).
        via: ``shell`` (the C++ runner) or ``app`` (the demo app's benchmark entry).
        threads: thread counts to sweep.
        minutes: length of the sustained part; 0 leaves it out.
        samples: steady samples per setting, spread over ``rounds`` fresh processes.
        output: JSON file, or a folder for several artifacts; default ``results/DEVICE/ARTIFACT.json``.
        baseline: an earlier measurement of the same artifact, device and way.
        fail_above: with ``baseline``, the ratio of medians above which ``Regression`` is raised.
        rounds: fresh processes per setting, at least three; default one per 50 samples. More of them narrow a comparison.
        cool_wait: seconds to wait at most for a hot device to cool, before each round.

    Raises:
        UserError: for wrong arguments; for a device that fails, answers wrongly or stays too hot (the files are written
            before that, marked invalid with the reason).
        Regression: for a measurement that is slower than its baseline allows.
    """
    rounds = max(LEAST_ROUNDS, samples // 50) if rounds is None else rounds
    plan = Plan(tuple(dict.fromkeys(threads)), samples, minutes, rounds, cool_wait)
    _check(plan, artifacts, baseline, fail_above)
    old = read_measurement(baseline) if baseline else None
    collected = [Collected(open_artifact(Path(folder))) for folder in artifacts]
    _same_kind(collected)
    runner = get(device, via)
    if old is not None and old.via != runner.via:
        raise UserError(f"{baseline}: measured via {old.via}; shell and app are never compared, use --via {old.via}")
    about = runner.describe()
    stamp = _Stamp(runner, about, plan, device.partition(":")[0])
    fault: UserError | None = None
    try:
        with runner.session([item.artifact for item in collected]):
            stamp.versions |= runner.versions()
            stamp.before = runner.conditions()
            _note_busy(about, stamp.before, collected)
            measure(runner, collected, plan)
            stamp.after = runner.conditions()
    except UserError as error:
        fault = error
        reason = str(error).partition(": ")[2]  # without the device's serial, which is nobody's business
        for item in collected:
            item.reasons.append(f"broken off: {reason}")
    except KeyboardInterrupt:
        for item in collected:
            item.reasons.append("broken off by the user")
        _write(stamp, collected, output)
        raise
    measurements, files = _write(stamp, collected, output)
    if fault is not None:
        kept = f"; what was measured is kept, marked invalid, in {', '.join(map(str, files))}" if files else ""
        raise type(fault)(f"{fault}{kept}") from fault
    _judge(measurements, files)
    if old is not None:
        _compare(measurements, old, baseline, fail_above)
    return measurements


def _check(plan: Plan, artifacts: Sequence[Path], baseline: Path | None, fail_above: float | None) -> None:
    if not artifacts:
        raise UserError("bench: no artifact; name at least one folder that export made")
    if not plan.threads or min(plan.threads) < 1 or max(plan.threads) > 64:
        raise UserError(f"--threads {','.join(map(str, plan.threads))}: thread counts lie between 1 and 64")
    if plan.samples < 20:
        raise UserError(f"--samples {plan.samples}: too few for percentiles; use at least 20")
    if plan.rounds < LEAST_ROUNDS:
        raise UserError(f"rounds={plan.rounds}: a cold start is measured in at least three fresh processes")
    if plan.minutes < 0:
        raise UserError(f"--minutes {plan.minutes:g}: cannot be negative")
    if fail_above is not None and baseline is None:
        raise UserError("--fail-above: needs --baseline FILE to compare with")
    if fail_above is not None and not fail_above > 0:
        raise UserError(f"--fail-above {fail_above:g}: a ratio such as 1.05")


def _same_kind(collected: Sequence[Collected]) -> None:
    for item in collected:
        if item.artifact.manifest.model_file.endswith(".pte"):
            continue
        name = item.artifact.manifest.model_file
        raise UserError(f"{item.artifact.folder}: {name} is no ExecuTorch program; measure Core ML on the Mac with ios_export")
    names = [title(item) for item in collected]
    if len(set(names)) != len(names):
        raise UserError(f"bench: two artifacts are called {max(names, key=names.count)}; their result files would overwrite each other")


def title(item: Collected) -> str:
    """The artifact's full name, from its manifest."""
    manifest = item.artifact.manifest
    return f"{manifest.name}-{manifest.backend}-{manifest.precision}"


def _note_busy(device: Device, before: Conditions, collected: Sequence[Collected]) -> None:
    """On a computer whose cores are all taken by others, the samples measure the others. (Phones' load says little.)"""
    if device.kind == "host" and before.load is not None and device.cores and before.load > device.cores:
        reason = f"the machine was busy before it began (load {before.load:.1f} on {device.cores} cores)"
        say(f"bench: {reason}; the measurement will be marked invalid")
        for item in collected:
            item.reasons.append(reason)


class _Stamp:
    """What all measurements of one session share."""

    def __init__(self, runner: Runner, device: Device, plan: Plan, kind: str):
        self.device, self.via = device, runner.via
        self.session, self.started = secrets.token_hex(8), provenance.utc_now()
        self.before: Conditions | None = None
        self.after: Conditions | None = None
        self.versions = provenance.versions()
        self.commit = provenance.commit()
        sweep = f" --threads {','.join(map(str, plan.threads))} --samples {plan.samples}"
        self.options = f"--device {kind} --via {runner.via}{sweep}" + (f" --minutes {plan.minutes:g}" if plan.minutes else "")

    def measurement(self, item: Collected) -> Measurement:
        manifest = item.artifact.manifest
        before = self.before or Conditions(utc=self.started)
        exporter = manifest.provenance.versions.get("executorch")
        parts = ("decode_ns", "resize_ns", "execute_ns", "post_ns")
        pipeline = {part: tuple(ns for one in item.pipelines for ns in getattr(one, part)) for part in parts}
        return Measurement(
            artifact=title(item),
            artifact_sha256=manifest.files[manifest.model_file],
            backend=manifest.backend,
            precision=manifest.precision,
            via=self.via,
            device=self.device,
            golden=item.golden or GoldenCheck(passed=False, samples=0, limit=0.0, detail="not run"),
            cold=tuple(item.cold),
            series=tuple(item.series),
            sustained=item.sustained,
            pipeline=Pipeline(**pipeline) if item.pipelines else None,
            memory=item.memory,
            energy=item.energy,
            before=before,
            after=self.after or Conditions(utc=provenance.utc_now()),
            session=self.session,
            started_utc=self.started,
            versions=self.versions | ({"executorch (exporter)": exporter} if exporter else {}),
            commit=self.commit,
            command=f"mobilekd bench {title(item)} {self.options}",
            valid=not item.reasons,
            reasons=tuple(dict.fromkeys(item.reasons)),
        )


def _write(stamp: _Stamp, collected: Sequence[Collected], output: Path | None) -> tuple[list[Measurement], list[Path]]:
    """One file per artifact that got as far as its golden set."""
    measurements, files = [], []
    for item in collected:
        if item.golden is None:
            continue
        measurement = stamp.measurement(item)
        path = _place(measurement, output, len(collected))
        write_json(path, measurement.model_dump(mode="json"))
        say(f"bench: {path}" + ("" if measurement.valid else f" (invalid: {measurement.reasons[0]})"))
        measurements.append(measurement)
        files.append(path)
    return measurements, files


def _place(measurement: Measurement, output: Path | None, count: int) -> Path:
    if output is None:
        return RESULTS / measurement.device.id / f"{measurement.artifact}.json"
    return output if count == 1 and not output.is_dir() else output / f"{measurement.artifact}.json"


def _judge(measurements: Sequence[Measurement], files: Sequence[Path]) -> None:
    """A measurement without a latency is not a success, though its file is kept."""
    for measurement, file in zip(measurements, files, strict=True):
        who = f"{measurement.artifact} on {measurement.device.id}"
        if not measurement.golden.passed:
            detail = measurement.golden.detail
            raise UserError(f"{who}: wrong answers, so no latency: {detail}; the report is in {file}, send it with the device's name")
        if measurement.series and not any(series.valid for series in measurement.series):
            raise UserError(f"{who}: {measurement.reasons[-1]}; kept in {file}, marked invalid; mend that and run again")


def _samples(measurement: Measurement) -> dict[str, list[np.ndarray]]:
    """Valid steady samples by setting, one array per process."""
    found: dict[str, list[np.ndarray]] = {}
    for series in measurement.series:
        if series.valid:
            key = f"{series.threads_asked} threads" + ("" if series.cores == "all" else f" on cores {series.cores}")
            found.setdefault(key, []).append(np.array(series.samples_ns, float))
    return found


def compare(new: Measurement, old: Measurement) -> dict[str, Interval]:
    """Ratio of medians, new over old, with its interval, for every setting that both have."""
    if new.device.emulated or old.device.emulated:
        raise UserError(f"{old.artifact}: emulated times are no latency and are not compared; measure on a real device")
    if (new.via, new.device.id) != (old.via, old.device.id):
        raise UserError(f"{old.artifact}: the baseline is from {old.device.id} via {old.via}, this is {new.device.id} via {new.via}")
    ours, theirs = _samples(new), _samples(old)
    return {key: median_ratio(ours[key], theirs[key]) for key in ours if key in theirs}


def _compare(measurements: Sequence[Measurement], old: Measurement, baseline: Path | None, fail_above: float | None) -> None:
    """Say every ratio; slower is what lies above ``fail_above`` with an interval that leaves out 1."""
    same = [measurement for measurement in measurements if measurement.artifact == old.artifact]
    if not same:
        raise UserError(f"{baseline}: a baseline of {old.artifact}, which was not measured; name that artifact or another baseline")
    ratios = compare(same[0], old)
    if not ratios:
        raise UserError(f"{baseline}: has no valid series in a setting that was measured; measure it again with the same --threads")
    for key, ratio in ratios.items():
        say(f"bench: {old.artifact}, {key}: {words(ratio)} times the baseline's median")
    if fail_above is None:
        return
    slower = {k: r for k, r in ratios.items() if (r.value or 0.0) > fail_above and (r.low or 0.0) > 1.0}
    if slower:
        key, worst = max(slower.items(), key=lambda pair: pair[1].value or 0.0)
        raise Regression(f"{old.artifact}, {key}: {words(worst)} times the baseline, above --fail-above {fail_above:g}", slower)


def words(ratio: Interval) -> str:
    """``1.08 (1.06 to 1.10)``."""
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
