"""Speaking to the C++ runner: its arguments, its one-line JSON answer, its failures. The same for
every device.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from mobilekd.formats.document import Document
from mobilekd.formats.measurement import Cold, Memory, Series, Sustained
from mobilekd.runners.base import BindError, DeviceError, Kind, Reading, Setting, parse_answer
from mobilekd.support import strict_json
from mobilekd.support.process import (
    LIMIT,
    CompletedCommand,
    Growing,
    OutOfBoundsError,
    printable,
    run_bounded,
)

JSON = "mobilekd-runner-json "
STEADY = "mobilekd-runner-steady"
END = "mobilekd-runner-end"
FAILURE = "mobilekd-runner: "
REMEDY = "check the cable and run again"
DAMAGED = f"the runner's answer arrived damaged; {REMEDY}"
WARMUP_LIMIT = 200
#: Bytes that a runner may print: every inference of a sustained part is two numbers in its answer,
#: at most so many bytes a second, and so many in all.
SAID, SAID_A_SECOND, MOST_SAID = 8 << 20, 1 << 20, 256 << 20
#: Bytes that a runner's answers to a golden set may have.
MOST_ANSWERS = 64 << 20

#: A count that an answer of ``MOST_ANSWERS`` may have.
Count = Annotated[int, Field(strict=True, gt=0, le=MOST_ANSWERS)]


class AnswerShape(Document):
    """How many inputs were answered, and the width of every output."""

    count: Count
    widths: tuple[Count, ...] = Field(min_length=1, max_length=100)


def golden_arguments(
    model: str, inputs: str, outputs: str, *, threads: int = 1, floats: bool = False
) -> list[str]:
    """Answer every input."""
    words = ["golden", model, inputs, outputs, "--threads", str(threads)]
    return [*words, *(["--floats"] if floats else [])]


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
        return json_object(answers[-1], f"{who}: {DAMAGED}")
    said = [*lines, *finished.stderr.splitlines()]  # phones without shell_v2 merge the streams
    reasons = [line[len(FAILURE) :] for line in said if line.startswith(FAILURE)]
    if reasons:
        kind = BindError if reasons[-1].startswith("--cores ") else DeviceError
        raise kind(f"{who}: {printable(reasons[-1], 500)}")
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
    if finished.code in (-11, 139):
        raise DeviceError(
            f"{who}: the runtime ended in a fault (signal 11), as it may where the model file is"
            " not whole; run mobilekd verify on the artifact, and report it if that passes"
        )
    if finished.code:
        words = [line for line in said if line.strip() and "cpuinfo_utils" not in line]
        last = f": {printable(words[-1])}" if words else ""
        raise DeviceError(
            f"{who}: the runner failed with code {finished.code}{last}; run again, and report it if"
            " it stays"
        )
    raise DeviceError(
        f"{who}: the runner's answer was cut short; check the connection and run again"
    )


def json_object(text: str, complaint: str) -> dict[str, Any]:
    """A JSON object from a device.

    Raises:
        DeviceError: ``complaint``, for anything else: what is nested too deeply, or has numbers
            that JSON does not have.
    """
    try:
        answer = strict_json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise DeviceError(complaint)
    return answer


def answer_shape(answer: dict[str, Any], who: str) -> AnswerShape:
    """The shape that a runner says its answers have, where such answers can be."""
    told = {key: answer.get(key) for key in AnswerShape.model_fields}
    shape = parse_answer(told, AnswerShape, who, REMEDY)
    if shape.count * sum(shape.widths) * 4 > MOST_ANSWERS:
        raise DeviceError(f"{who}: {DAMAGED}")
    return shape


def answer_array(raw: bytes, answer: dict[str, Any], who: str) -> np.ndarray:
    """Float32 [N, C] from the file the runner wrote."""
    shape = answer_shape(answer, who)
    count, width = shape.count, shape.widths[0]
    if len(raw) != count * width * 4:
        raise DeviceError(
            f"{who}: the answers' file has {len(raw)} bytes, {count * width * 4} were written;"
            " check the storage and run again"
        )
    return np.frombuffer(raw, "<f4").reshape(count, width).astype(np.float32)


def read_answers(path: Path, who: str) -> bytes:
    """The file of one output's answers, where it is not larger than any can be."""
    try:
        size = path.stat().st_size
    except OSError:
        raise DeviceError(
            f"{who}: the runner left no answers; check the storage and run again"
        ) from None
    if size > MOST_ANSWERS:
        raise DeviceError(
            f"{who}: the answers' file has {size} bytes, more than any golden set's; check the"
            " storage and run again"
        )
    return path.read_bytes()


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
    limit: int = LIMIT,
    growing: Growing | None = None,
) -> CompletedCommand:
    """Run a local program to its end within its bounds; what it exceeds is a ``DeviceError``."""
    try:
        return run_bounded(
            command, timeout=timeout, on_line=on_line, who=who, limit=limit, growing=growing
        )
    except OutOfBoundsError as error:
        raise DeviceError(str(error)) from None


def most_said(seconds: float) -> int:
    """Bytes that a runner may print whose sustained part has so many seconds."""
    return min(MOST_SAID, SAID + int(SAID_A_SECOND * seconds))
