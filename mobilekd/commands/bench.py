"""``bench``: measure artifacts on a device, keep what was measured whatever happens, compare with a
baseline.
"""

import itertools
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from mobilekd.formats.artifact import newest_artifact, open_artifact
from mobilekd.formats.measurement import (
    Conditions,
    Device,
    GoldenCheck,
    Measurement,
    Pipeline,
    read_measurement,
)
from mobilekd.metrics.stats import LEAST_PROCESSES
from mobilekd.runners import Runner, check, get
from mobilekd.runners.baseline import Regression, judge, read_baseline
from mobilekd.runners.session import Collected, Plan, measure
from mobilekd.support import provenance
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json
from mobilekd.support.progress import say

__all__ = ["Regression", "bench"]

RESULTS = Path("results")
MOST_SAMPLES, MOST_MINUTES = 100_000, 24 * 60.0


def bench(
    artifacts: Sequence[Path] | None = None,
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
        artifacts: artifact folders; None takes the newest, and says which.
        device: ``host``, ``adb``, ``adb:SERIAL`` or ``qemu:CPU`` (answers only).
        via: ``shell`` (the C++ runner) or ``app`` (the demo app's benchmark entry).
        threads: thread counts to sweep.
        minutes: length of the sustained part; 0 leaves it out.
        samples: steady samples per setting, spread over ``rounds`` fresh processes.
        output: JSON file, or a folder for several artifacts; default
            ``results/DEVICE/ARTIFACT.json`` (``ARTIFACT-app.json``). An earlier measurement of that
            name is not overwritten but kept beside it, under its time.
        baseline: an earlier measurement of the same artifact, device and way.
        fail_above: with ``baseline``, the ratio of medians above which ``Regression`` is raised,
            unless luck may explain it. All settings are tested together, so that more thread counts
            make no more false alarms.
        rounds: fresh processes per setting, at least three; default one per 50 samples. More of
            them narrow a comparison.
        cool_wait: seconds to wait at most for a hot device to cool, before each round.

    Raises:
        UserError: for wrong arguments; for a device that fails, answers wrongly or stays too hot
            (the files are written before that, marked invalid with the reason).
        Regression: for a measurement that is slower than its baseline allows.
    """
    check(device, via)
    if artifacts is None:
        artifacts = [newest_artifact()]
        say(f"bench: the newest artifact, {artifacts[0]}")
    rounds = max(LEAST_PROCESSES, samples // 50) if rounds is None else rounds
    plan = Plan(tuple(dict.fromkeys(threads)), samples, minutes, rounds, cool_wait)
    _check(plan, artifacts, baseline, fail_above)
    _check_output(output, len(artifacts))
    collected = [Collected(open_artifact(Path(folder))) for folder in artifacts]
    _same_kind(collected, device)
    runner = get(device, via)
    about = runner.describe()
    refuse_other_chips(about, collected)
    names, to_judge = [title(item) for item in collected], fail_above is not None
    old = read_baseline(baseline, runner.via, about, names, to_judge=to_judge) if baseline else None
    stamp = _Stamp(runner, about, plan, device.partition(":")[0])
    fault: UserError | None = None
    try:
        with runner.session([item.artifact for item in collected]):
            stamp.versions |= runner.versions()
            stamp.before = runner.conditions()
            note_busy(about, stamp.before, collected)
            measure(runner, collected, plan)
            stamp.after = runner.conditions()
    except UserError as error:
        fault = error
        # Without the device's serial, which is nobody's business.
        _break_off(collected, str(error).partition(": ")[2] or str(error))
    # Ctrl-C, the end of this process, or a mistake of ours: what was measured stays
    except BaseException as error:
        by_user = isinstance(error, (KeyboardInterrupt, SystemExit))
        _break_off(
            collected, "stopped by the user" if by_user else f"unexpected {type(error).__name__}"
        )
        _write(stamp, collected, output, baseline)
        raise
    measurements, files = _write(stamp, collected, output, baseline)
    if fault is not None:
        kept = (
            f"; what was measured is kept, marked invalid, in {', '.join(map(str, files))}"
            if files
            else ""
        )
        raise type(fault)(f"{fault}{kept}") from fault
    _judge(measurements, files)
    if old is not None and baseline is not None:
        judge(measurements, old, baseline, fail_above)
    return measurements


def _break_off(collected: Sequence[Collected], reason: str) -> None:
    for item in collected:
        item.reasons.append(f"broken off: {reason}")


def _check(
    plan: Plan, artifacts: Sequence[Path], baseline: Path | None, fail_above: float | None
) -> None:
    if not artifacts:
        raise UserError("bench: no artifact; name at least one folder that export made")
    if not plan.threads or min(plan.threads) < 1 or max(plan.threads) > 64:
        raise UserError(
            f"--threads {','.join(map(str, plan.threads))}: thread counts lie between 1 and 64"
        )
    if not 20 <= plan.samples <= MOST_SAMPLES:
        raise UserError(
            f"--samples {plan.samples}: percentiles need at least 20, and {MOST_SAMPLES} is the"
            " most"
        )
    if plan.rounds < LEAST_PROCESSES:
        raise UserError(
            f"rounds={plan.rounds}: a cold start is measured in at least three fresh processes"
        )
    if not 0 <= plan.minutes <= MOST_MINUTES:  # not a number is refused, too
        raise UserError(
            f"--minutes {plan.minutes:g}: lies between 0 and {MOST_MINUTES:g}, and cannot be"
            " negative"
        )
    if fail_above is not None and baseline is None:
        raise UserError("--fail-above: needs --baseline FILE to compare with")
    if fail_above is not None and not fail_above > 0:
        raise UserError(f"--fail-above {fail_above:g}: a ratio such as 1.05")


def _check_output(output: Path | None, count: int) -> None:
    """Refuse, before minutes are spent, a place where the result could not be written."""
    if output is not None and count > 1 and output.exists() and not output.is_dir():
        raise UserError(
            f"--output {output}: is a file, and {count} artifacts need a folder; name another"
        )
    folder = RESULTS if output is None else output
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        raise UserError(
            f"--output {output or RESULTS}: {folder} cannot be written; choose a folder you may"
            " write to"
        )


def _same_kind(collected: Sequence[Collected], device: str) -> None:
    for item in collected:
        name = item.artifact.manifest.model_file
        if name.endswith(".pte") or (name.endswith(".onnx") and device == "host"):
            continue
        remedy = (
            "measure ONNX with --device host"
            if name.endswith(".onnx")
            else "measure Core ML on the Mac with ios_export"
        )
        raise UserError(f"{item.artifact.folder}: {name} is no ExecuTorch program; {remedy}")
    names = [title(item) for item in collected]
    if len(set(names)) != len(names):
        raise UserError(
            f"bench: two artifacts are called {max(names, key=names.count)}; their result files"
            " would overwrite each other"
        )


def title(item: Collected) -> str:
    """The artifact's full name, from its manifest."""
    return item.artifact.title


def refuse_other_chips(device: Device, collected: Sequence[Collected]) -> None:
    """``UserError`` for a file compiled for a chip that the device has not, before anything is
    loaded there.
    """
    for item in collected:
        chip = item.artifact.manifest.chip
        if chip is None or device.soc.upper() == chip.soc:
            continue
        raise UserError(
            f"{item.artifact.folder}: compiled for {chip.soc} alone, and the chip of this device is"
            f" {device.soc or 'not known'}; measure on a phone with {chip.soc}, or export for this"
            " one: mobilekd export --backend qnn --soc CHIP, or mobilekd export --backend xnnpack,"
            " whose file runs on every phone"
        )


def note_busy(device: Device, before: Conditions, collected: Sequence[Collected]) -> None:
    """On a computer whose cores are all taken by others, the samples measure the others. (Phones'
    load says little.)
    """
    if (
        device.kind == "host"
        and before.load is not None
        and device.cores
        and before.load > device.cores
    ):
        reason = (
            f"the machine was busy before it began (load {before.load:.1f} on {device.cores} cores)"
        )
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
        self.options = f"--device {kind} --via {runner.via}{sweep}" + (
            f" --minutes {plan.minutes:g}" if plan.minutes else ""
        )

    def measurement(self, item: Collected) -> Measurement:
        manifest = item.artifact.manifest
        before = self.before or Conditions(utc=self.started)
        exporter = manifest.provenance.versions.get("executorch")
        parts = ("decode_ns", "resize_ns", "execute_ns", "post_ns")
        pipeline = {
            part: tuple(ns for one in item.pipelines for ns in getattr(one, part)) for part in parts
        }
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


def _write(
    stamp: _Stamp, collected: Sequence[Collected], output: Path | None, baseline: Path | None
) -> tuple[list[Measurement], list[Path]]:
    """One file per artifact that got as far as its golden set."""
    measurements, files = [], []
    for item in collected:
        if item.golden is None:
            continue
        measurement = stamp.measurement(item)
        path = _free(_place(measurement, output, len(collected)), measurement, baseline)
        write_json(path, measurement.model_dump(mode="json"))
        say(
            f"bench: {path}"
            + ("" if measurement.valid else f" (invalid: {measurement.reasons[0]})")
        )
        measurements.append(measurement)
        files.append(path)
    return measurements, files


def _place(measurement: Measurement, output: Path | None, count: int) -> Path:
    name = measurement.artifact + ("-app" if measurement.via == "app" else "")
    if output is None:
        return RESULTS / measurement.device.id / f"{name}.json"
    return output if count == 1 and not output.is_dir() else output / f"{name}.json"


def _free(path: Path, measurement: Measurement, baseline: Path | None) -> Path:
    """Where to write: an earlier measurement of that name moves aside, under its own time; a
    baseline stays what it was.
    """
    if not path.exists():
        return path
    if baseline is not None and path.samefile(baseline):
        return _dated(path, measurement.started_utc)
    try:
        earlier = read_measurement(path)
    except UserError:
        return path  # no measurement, or none that anybody can read any more
    aside = _dated(path, earlier.started_utc)
    path.rename(aside)
    say(f"bench: the earlier measurement is kept as {aside}")
    return path


def _dated(path: Path, utc: str) -> Path:
    """``name-20261125T200501Z.json``, or the first of ``-2``, ``-3`` that is free."""
    stem = f"{path.stem}-{re.sub('[^0-9TZ]', '', utc)}"
    ends = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    names = (f"{stem}{end}{path.suffix}" for end in ends)
    return next(place for name in names if not (place := path.with_name(name)).exists())


def _judge(measurements: Sequence[Measurement], files: Sequence[Path]) -> None:
    """A measurement without a latency is not a success, though its file is kept."""
    for measurement, file in zip(measurements, files, strict=True):
        who = f"{measurement.artifact} on {measurement.device.id}"
        if not measurement.golden.passed:
            detail = measurement.golden.detail
            raise UserError(
                f"{who}: wrong answers, so no latency: {detail}; the report is in {file}, send it"
                " with the device's name"
            )
        if measurement.series and not any(series.valid for series in measurement.series):
            raise UserError(
                f"{who}: {measurement.reasons[-1]}; kept in {file}, marked invalid; mend that and"
                " run again"
            )
