"""``bench``: measure artifacts on a device, keep what was measured whatever happens, compare with a
baseline.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mobilekd import backends
from mobilekd.formats.artifact import Artifact, Manifest, newest_artifact, open_artifact
from mobilekd.formats.measurement import Conditions, Device, Measurement
from mobilekd.metrics.stats import LEAST_PROCESSES
from mobilekd.runners import ON_AN_IPHONE, Runner, check, get, runtimes
from mobilekd.runners.baseline import Regression, judge, read_baseline
from mobilekd.runners.native import build
from mobilekd.runners.phones import (
    ALL,
    Phone,
    PhonesError,
    at_once,
    connected,
    without_name,
)
from mobilekd.runners.record import RESULTS, Stamp, write
from mobilekd.runners.session import Collected, Plan, measure
from mobilekd.support.errors import UserError
from mobilekd.support.files import check_writable
from mobilekd.support.progress import say

__all__ = ["PhonesError", "Regression", "bench"]

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
    runtime_libraries: Sequence[Path] = (),
) -> list[Measurement]:
    """Measure ``artifacts`` interleaved on ``device`` and write one JSON file each.

    Args:
        artifacts: artifact folders; None takes the newest that the device can run, and says
                which.
        device: ``host``, ``adb``, ``adb:SERIAL``, ``adb:all`` (all phones at once, each as if it
            were alone) or ``qemu:CPU`` (answers only).
        via: ``shell`` (the C++ runner) or ``app`` (the demo app's benchmark entry).
        threads: thread counts to sweep. The golden set is answered with each of them before
            anything is timed, and with the greatest afterwards, when the device is hot.
        minutes: length of the sustained part; 0 leaves it out.
        samples: steady samples per setting, spread over ``rounds`` fresh processes.
        output: JSON file, or a folder for several artifacts, or with folders of devices for all
            phones; default ``results/DEVICE/ARTIFACT.json`` (``ARTIFACT-app.json``). An earlier
            measurement of that name is not overwritten but kept beside it, under its time.
        baseline: an earlier measurement of the same artifact, device and way.
        fail_above: with ``baseline``, the ratio of medians above which ``Regression`` is raised,
            unless luck may explain it. All settings are tested together, so that more thread counts
            make no more false alarms.
        rounds: fresh processes per setting, at least three; default one per 50 samples. More of
            them narrow a comparison.
        cool_wait: seconds to wait at most for a hot device to cool, before each round.
        runtime_libraries: of a phone's runs of ``.onnx`` and ``.tflite`` files, the arm64 libraries
            of ONNX Runtime and LiteRT to use, such as those in an app; by default those of their
            packages for arm64 Linux. What was used is recorded with its SHA-256.

    Raises:
        UserError: for wrong arguments; for a device that fails, answers wrongly, otherwise from
            pass to pass, or stays too hot (the files are written before that, marked invalid with
            the reason).
        PhonesError: for ``adb:all``, where that befell any phone; it holds what the others gave.
        Regression: for a measurement that is slower than its baseline allows.
    """
    check(device, via)
    if artifacts is None:
        artifacts = [newest_artifact(fits=lambda one: not _refusal(one, device, via))]
        say(f"bench: the newest artifact that {device} runs, {artifacts[0]}")
    rounds = max(LEAST_PROCESSES, samples // 50) if rounds is None else rounds
    plan = Plan(tuple(dict.fromkeys(threads)), samples, minutes, rounds, cool_wait)
    _check(plan, artifacts, baseline, fail_above)
    _check_output(output, len(artifacts), device)
    opened = [open_artifact(Path(folder)) for folder in artifacts]
    _same_kind(opened, device, via)
    runtimes.check(runtime_libraries, [one.model for one in opened], device, via)
    if device == ALL:
        if baseline is not None:
            raise UserError(
                f"--baseline {baseline}: is of one phone; name that one with --device adb:SERIAL"
            )
        return _on_all_phones(opened, via, plan, output, runtime_libraries)
    collected = [Collected(artifact) for artifact in opened]
    runner = get(device, via, runtime_libraries)
    about = runner.describe()
    refuse_unfit(about, via, collected)
    names, to_judge = [item.artifact.title for item in collected], fail_above is not None
    old = read_baseline(baseline, runner.via, about, names, to_judge=to_judge) if baseline else None
    stamp = Stamp(runner, about, plan, device.partition(":")[0])
    done = _session(runner, stamp, collected, plan, output, baseline, in_folder=len(opened) > 1)
    if done.fault is not None:
        raise done.fault
    if old is not None and baseline is not None:
        judge(done.measurements, old, baseline, fail_above)
    return done.measurements


@dataclass(frozen=True)
class _Outcome:
    """What one device's session left: what was written, and why that is not all."""

    measurements: list[Measurement]
    fault: UserError | None


def _session(
    runner: Runner,
    stamp: Stamp,
    collected: Sequence[Collected],
    plan: Plan,
    output: Path | None,
    baseline: Path | None = None,
    *,
    in_folder: bool,
) -> _Outcome:
    """Measure on one device and write what came of it, whatever happens."""
    fault: UserError | None = None
    try:
        with runner.session([item.artifact for item in collected]):
            stamp.versions |= runner.versions()
            stamp.before = runner.conditions()
            note_busy(stamp.device, stamp.before, collected)
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
        write(stamp, collected, output, baseline, in_folder=in_folder)
        raise
    measurements, files = write(stamp, collected, output, baseline, in_folder=in_folder)
    if fault is not None:
        kept = (
            f"; what was measured is kept, marked invalid, in {', '.join(map(str, files))}"
            if files
            else ""
        )
        whole = type(fault)(f"{fault}{kept}")
        whole.__cause__ = fault
        return _Outcome(measurements, whole)
    try:
        _judge(measurements, files)
    except UserError as error:
        return _Outcome(measurements, error)
    return _Outcome(measurements, None)


def _on_all_phones(
    artifacts: Sequence[Artifact],
    via: str,
    plan: Plan,
    output: Path | None,
    libraries: Sequence[Path],
) -> list[Measurement]:
    """All phones at once; one that cannot be measured, or is lost on the way, loses no other."""
    if via == "shell":  # once, before several need it
        build.arm_bundle()
        runtimes.libraries([artifact.model for artifact in artifacts], libraries)

    def one(phone: Phone) -> Phone:
        if phone.problem or phone.runner is None or phone.about is None:
            return phone
        say(f"bench {phone.device}: {phone.about.id}")
        fitting, problems = [], []
        for item in map(Collected, artifacts):
            try:
                refuse_unfit(phone.about, via, [item])
                fitting.append(item)
            except UserError as error:
                problems.append(str(error))
        if not fitting:
            return replace(phone, problem="; ".join(problems))
        stamp = Stamp(phone.runner, phone.about, plan, "adb")
        place = None if output is None else output / phone.about.id
        named = replace(plan, who=f"bench {phone.device}")
        done = _session(phone.runner, stamp, fitting, named, place, in_folder=True)
        if done.fault is not None:
            problems.append(without_name(done.fault, phone.device))
        return replace(phone, measurements=tuple(done.measurements), problem="; ".join(problems))

    phones = at_once(one, connected(via, libraries))
    if any(phone.problem for phone in phones):
        raise PhonesError(phones)
    return [measurement for phone in phones for measurement in phone.measurements]


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


def _check_output(output: Path | None, count: int, device: str) -> None:
    """Refuse, before minutes are spent, a place where the result could not be written."""
    several = "several phones" if device == ALL else f"{count} artifacts" if count > 1 else ""
    if output is not None and several and output.exists() and not output.is_dir():
        raise UserError(f"--output {output}: is a file, and {several} need a folder; name another")
    if output is not None and device == ALL and output.suffix == ".json":
        raise UserError(
            f"--output {output}: the name of a file, and {several} need a folder; write"
            f" --output {output.with_suffix('')}"
        )
    place = output or RESULTS
    check_writable(place, folder=output is None or bool(several) or os.path.isdir(place))


def _refusal(manifest: Manifest, device: str, via: str) -> str:
    """Why a file cannot be measured on a device, and what to do; empty where it can."""
    name, backend = manifest.model_file, manifest.backend
    runtime, program = runtimes.of(Path(name)), name.endswith(".pte")
    if program and not device.startswith("adb") and not backends.get(backend).processor:
        return (
            f"{backend}'s files run on phones, not on {device}; measure it with --device adb --via"
            " app"
        )
    if runtime is not None and via == "app":
        return (
            f"{name} is run by {runtime.name}, and the app has ExecuTorch alone; leave --via app"
            " out"
        )
    if runtime is None and not program:
        return f"{name} runs on Apple's systems alone; {ON_AN_IPHONE}"
    return ""


def _same_kind(artifacts: Sequence[Artifact], device: str, via: str) -> None:
    for artifact in artifacts:
        if refusal := _refusal(artifact.manifest, device, via):
            raise UserError(f"{artifact.folder}: {refusal}")
    names = [artifact.title for artifact in artifacts]
    if len(set(names)) != len(names):
        raise UserError(
            f"bench: two artifacts are called {max(names, key=names.count)}; their result files"
            " would overwrite each other"
        )


def refuse_unfit(device: Device, via: str, collected: Sequence[Collected]) -> None:
    """``UserError`` for a file compiled for a chip that the device has not, or for a delegate that
    the program put there has not, before anything is loaded; it would end the others' session, too.
    """
    for item in collected:
        folder, manifest = item.artifact.folder, item.artifact.manifest
        chip = manifest.chip
        if chip is not None and device.soc.upper() != chip.soc:
            raise UserError(
                f"{folder}: compiled for {chip.soc} alone, and the chip of this device is"
                f" {device.soc or 'not known'}; measure on a phone with {chip.soc}, or export for"
                " this one: mobilekd export --backend qnn --soc CHIP, or mobilekd export --backend"
                " xnnpack, whose file runs on every phone"
            )
        known = manifest.backend in backends.names()
        if via == "shell" and known and not backends.get(manifest.backend).processor:
            raise UserError(
                f"{folder}: needs ExecuTorch's runtime with {manifest.backend}'s delegate, and the"
                " program that bench puts on a phone has XNNPACK's alone; install an app that has"
                " that delegate (mobilekd apk XNNPACK-ARTIFACT --aar FILE) and measure with"
                " --via app"
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
