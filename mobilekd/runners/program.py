"""Speaking to the C++ runner: its arguments, its one-line JSON answer, its failures. The same for
every device.
"""

import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.formats.measurement import Cold, Memory, Series, Sustained
from mobilekd.runners.base import BindError, DeviceError, Kind, Reading, Setting, parse_answer
from mobilekd.support import strict_json

JSON = "mobilekd-runner-json "
STEADY = "mobilekd-runner-steady"
END = "mobilekd-runner-end"
FAILURE = "mobilekd-runner: "
REMEDY = "check the cable and run again"
DAMAGED = f"the runner's answer arrived damaged; {REMEDY}"
WARMUP_LIMIT = 200


@dataclass(frozen=True)
class CompletedCommand:
    """A program that ended: its exit code (negative: the signal that ended it) and both streams."""

    code: int
    stdout: str
    stderr: str


def golden_arguments(model: str, inputs: str, outputs: str, *, floats: bool = False) -> list[str]:
    """Answer every input; one thread, because answers must not hang on how work is split."""
    return ["golden", model, inputs, outputs, "--threads", "1", *(["--floats"] if floats else [])]


def measure_arguments(model: str, inputs: str, setting: Setting) -> list[str]:
    """One cold start with warm-up and samples."""
    words = [
        "measure",
        model,
        "--inputs",
        inputs,
        "--threads",
        str(setting.threads),
        "--warmup",
        str(WARMUP_LIMIT),
    ]
    words += ["--samples", str(setting.samples)]
    words += ["--seconds", f"{setting.seconds:g}"] if setting.seconds else []
    return words + (["--cores", setting.cores] if setting.cores != "all" else [])


def memory_arguments(model: str, inputs: str, threads: int) -> list[str]:
    """The memory pass."""
    return ["memory", model, "--inputs", inputs, "--threads", str(threads)]


def document(finished: CompletedCommand, who: str) -> dict[str, Any]:
    """The answer of a run, or a ``DeviceError``. Foreign lines on stdout are passed over; a missing
    end is a failure.
    """
    lines = finished.stdout.splitlines()
    answers = [line[len(JSON) :] for line in lines if line.startswith(JSON)]
    if finished.code == 0 and answers and END in lines:
        try:
            answer = strict_json.loads(answers[-1])
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise DeviceError(f"{who}: {DAMAGED}")
        return answer
    said = [*lines, *finished.stderr.splitlines()]  # phones without shell_v2 merge the streams
    reasons = [line[len(FAILURE) :] for line in said if line.startswith(FAILURE)]
    if reasons:
        kind = BindError if reasons[-1].startswith("--cores ") else DeviceError
        raise kind(f"{who}: {reasons[-1]}")
    if finished.code in (-9, 137):
        raise DeviceError(
            f"{who}: the runner was killed by the system (signal 9, out of memory?); close other"
            " apps and run again"
        )
    if finished.code in (-4, 132):
        raise DeviceError(
            f"{who}: the processor lacks an instruction the runtime uses (signal 4); this device"
            " cannot run the model"
        )
    if finished.code:
        words = [line for line in said if line.strip() and "cpuinfo_utils" not in line]
        last = f": {words[-1][:200]}" if words else ""
        raise DeviceError(
            f"{who}: the runner failed with code {finished.code}{last}; run again, and report it if"
            " it stays"
        )
    raise DeviceError(
        f"{who}: the runner's answer was cut short; check the connection and run again"
    )


def answer_array(raw: bytes, answer: dict[str, Any], who: str) -> np.ndarray:
    """Float32 [N, C] from the file the runner wrote."""
    try:
        count, width = int(answer["count"]), int(answer["widths"][0])
    except (KeyError, TypeError, ValueError, IndexError):
        raise DeviceError(f"{who}: {DAMAGED}") from None
    if len(raw) != count * width * 4:
        raise DeviceError(
            f"{who}: the answers' file has {len(raw)} bytes, {count * width * 4} were written;"
            " check the storage and run again"
        )
    return np.frombuffer(raw, "<f4").reshape(count, width).astype(np.float32)


def reading(answer: dict[str, Any], setting: Setting, who: str) -> Reading:
    """Typed; an answer that lacks something is a ``DeviceError``."""

    def part(kind: type[Kind], *keys: str, **known: object) -> Kind:
        told = {key: answer.get(key) for key in keys}
        return parse_answer({**told, **known}, kind, who, REMEDY)

    cold_keys = ("file_load_ns", "method_load_ns", "first_inference_ns")
    cold = part(Cold, *cold_keys, threads=setting.threads)
    if setting.seconds:
        load = part(Sustained, "offsets_ns", "samples_ns", threads=setting.threads)
        return Reading(cold, sustained=load)
    keys = ("threads_in_effect", "warmup_ns", "steady_rule", "samples_ns")
    series = part(Series, *keys, threads_asked=setting.threads, cores=setting.cores)
    return Reading(cold, series=judged(series))


def judged(series: Series) -> Series:
    """The series with what makes it doubtful as reasons."""
    reasons = list(series.reasons)
    if series.threads_in_effect not in (None, series.threads_asked):
        reasons.append(
            f"{series.threads_in_effect} threads in effect, {series.threads_asked} asked for"
        )
    if "not reached" in series.steady_rule:
        reasons.append("did not become steady in warm-up")
    return series.model_copy(
        update={"valid": not reasons, "reasons": tuple(dict.fromkeys(reasons))}
    )


def memory(answer: dict[str, Any], who: str) -> Memory:
    """The memory pass, typed."""
    keys = ("baseline_rss_bytes", "peak_rss_bytes", "pss_bytes")
    return parse_answer({key: answer.get(key) for key in keys}, Memory, who, REMEDY)


def run(
    command: Sequence[str | Path],
    *,
    timeout: float,
    on_line: Callable[[str], None] | None = None,
    who: str = "",
) -> CompletedCommand:
    """Run a local program to its end, handing each line of stdout to ``on_line`` as it comes; it
    may not hang.
    """
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
        errors="replace",
    )
    watchdog = threading.Timer(timeout, process.kill)
    watchdog.start()
    errors: list[str] = []
    reader = threading.Thread(
        target=lambda: errors.append(process.stderr.read() if process.stderr else "")
    )
    reader.start()
    lines: list[str] = []
    try:
        for line in process.stdout or ():
            lines.append(line)
            if on_line is not None:
                on_line(line.rstrip("\n"))
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        timed_out = not watchdog.is_alive()
        watchdog.cancel()
        reader.join()
        if process.stdout:
            process.stdout.close()
    if timed_out:
        name = who or Path(str(command[0])).name
        raise DeviceError(
            f"{name}: no end after {timeout:.0f} s; it hangs or is far too slow, check it and run"
            " again"
        )
    return CompletedCommand(code, "".join(lines), "".join(errors))
