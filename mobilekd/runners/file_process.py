"""A file of another runtime, ``.onnx`` or ``.tflite``, measured in a process of its own, as the C++
runner measures a ``.pte``.

Run as a script: it takes the C++ runner's commands and options and prints its one-line answer. It
loads numpy and the one runtime and nothing of this package, so that the memory of the process is
theirs. ``native/main.cpp`` and ``native/measure.cpp`` are the protocol's definition.

    file_process.py golden  MODEL INPUTS OUTPUTS [--floats]
    file_process.py measure MODEL [--inputs FILE] [--samples N] [--warmup N] [--seconds S]
    file_process.py memory  MODEL [--inputs FILE] [--samples N]
    all: [--threads N] [--cores 4,5,6,7] [--session KEY=VALUE] (a session is ONNX Runtime's)
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median_low
from typing import Any, Protocol

import numpy as np

WINDOW, TOLERANCE = 10, 0.02
RULE = "windows of 10; steady when a window's median is within 2% of the one before"


class Failure(Exception):
    """One line for standard error; the exit code is 1."""


class Network(Protocol):
    """The file in its runtime: ``fill`` takes a picture, ``run`` answers it."""

    shape: tuple[int, ...]  # of the one float32 input
    file_load_ns: int
    method_load_ns: int

    def fill(self, picture: np.ndarray) -> None:
        """Take another picture, of the input's size."""

    def run(self) -> None:
        """One inference."""

    def answers(self) -> list[np.ndarray]:
        """Of the last run, float32."""


class OnnxNetwork:
    """In ONNX Runtime. Outputs are bound once, so a run copies nothing that the runtime would not
    copy.
    """

    def __init__(self, path: Path, threads: int, entries: list[str]) -> None:
        import onnxruntime

        data, self.file_load_ns = _read(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        for entry in entries:
            options.add_session_config_entry(*entry.split("=", 1))
        start = time.monotonic_ns()
        try:
            self.session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # it raises a dozen types
            raise _not_loaded(path, error) from None
        (given,) = self.session.get_inputs()
        if given.type != "tensor(float)" or not all(isinstance(one, int) for one in given.shape):
            raise Failure(f"{path}: does not take exactly one float32 tensor of a fixed shape")
        self.shape = tuple(given.shape)
        self.value = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(self.shape, np.float32))
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input(given.name, self.value)
        for output in self.session.get_outputs():
            self.binding.bind_output(output.name, "cpu")
        self.method_load_ns = time.monotonic_ns() - start

    def fill(self, picture: np.ndarray) -> None:
        """Take another picture, of the input's size."""
        self.value.update_inplace(np.ascontiguousarray(picture.reshape(self.shape)))

    def run(self) -> None:
        """One inference."""
        self.session.run_with_iobinding(self.binding)

    def answers(self) -> list[np.ndarray]:
        """Of the last run, float32."""
        return [np.asarray(one, np.float32) for one in self.binding.copy_outputs_to_cpu()]


class LiteRTNetwork:
    """In LiteRT with XNNPACK, as phones run it. A picture is copied into the runtime's own memory
    before a run, and answers are read from there.
    """

    def __init__(self, path: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        data, self.file_load_ns = _read(path)
        start = time.monotonic_ns()
        try:
            self.interpreter = Interpreter(model_content=data, num_threads=threads or None)
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise _not_loaded(path, error) from None
        given = self.interpreter.get_input_details()
        if len(given) != 1 or given[0]["dtype"] != np.float32:
            raise Failure(f"{path}: does not take exactly one float32 tensor of a fixed shape")
        self.place = given[0]["index"]
        self.places = [one["index"] for one in self.interpreter.get_output_details()]
        self.shape = tuple(int(side) for side in given[0]["shape"])
        self.method_load_ns = time.monotonic_ns() - start

    def fill(self, picture: np.ndarray) -> None:
        """Take another picture, of the input's size."""
        self.interpreter.set_tensor(self.place, picture.reshape(self.shape))

    def run(self) -> None:
        """One inference."""
        self.interpreter.invoke()

    def answers(self) -> list[np.ndarray]:
        """Of the last run, float32."""
        return [np.array(self.interpreter.get_tensor(place), np.float32) for place in self.places]


def opened(path: Path, threads: int, entries: list[str]) -> Network:
    """The file in the runtime that its suffix names."""
    if path.suffix == ".tflite":
        return LiteRTNetwork(path, threads)
    return OnnxNetwork(path, threads, entries)


def _read(path: Path) -> tuple[bytes, int]:
    """The file's bytes, and the nanoseconds that reading took."""
    start = time.monotonic_ns()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Failure(f"{path}: missing or not readable ({error.strerror})") from None
    return data, time.monotonic_ns() - start


def _not_loaded(path: Path, error: Exception) -> Failure:
    reason = str(error).partition("\n")[0]
    return Failure(f"{path}: cannot be loaded ({reason}); truncated or damaged?")


def read_inputs(path: Path, shape: tuple[int, ...], *, floats: bool) -> np.ndarray:
    """All pictures of a file, float32 ``[N, ...]``."""
    kind = np.dtype(np.float32 if floats else np.uint8)
    try:
        data = path.read_bytes()
    except OSError:
        raise Failure(f"{path}: missing or not readable") from None
    each = math.prod(shape) * kind.itemsize
    if not data or len(data) % each:
        raise Failure(
            f"{path}: {len(data)} bytes are not a whole number of the model's inputs of {each}"
        )
    values = np.frombuffer(data, kind).astype(np.float32).reshape(-1, *shape[1:])
    if not np.isfinite(values).all():
        raise Failure(f"{path}: a value is not finite")
    return values


def golden(asked: argparse.Namespace) -> dict[str, Any]:
    """Answer every input into files."""
    model, inputs, outputs = (Path(one) for one in asked.places)
    network = opened(model, asked.threads, asked.session)
    pictures = read_inputs(inputs, network.shape, floats=asked.floats)
    answers = []
    for picture in pictures:
        network.fill(picture)
        network.run()
        answers.append(network.answers())
    widths = [int(one.size) for one in answers[0]]
    for number in range(len(widths)):
        whole = np.concatenate([one[number].ravel() for one in answers])
        try:
            Path(f"{outputs}.{number}").write_bytes(whole.astype("<f4").tobytes())
        except OSError:
            raise Failure(f"{outputs}: cannot be written; is the storage full?") from None
    return {"count": len(pictures), "widths": widths}


def timed(network: Network) -> int:
    """Nanoseconds of one inference."""
    start = time.monotonic_ns()
    network.run()
    return time.monotonic_ns() - start


def warm_up(network: Network, limit: int) -> tuple[list[int], str]:
    """Samples until two windows agree, and the rule in words."""
    samples: list[int] = []
    before = 0
    while len(samples) + WINDOW <= limit:
        samples += [timed(network) for _ in range(WINDOW)]
        now = median_low(samples[-WINDOW:])
        if before > 0 and abs(now - before) <= TOLERANCE * before:
            return samples, RULE
        before = now
    return samples, f"{RULE}; not reached within {limit}"


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """A cold start, warm-up, then samples or a sustained part."""
    network = _filled(asked)
    first = timed(network)
    warmup, rule = warm_up(network, asked.warmup)
    offsets: list[int] = []
    if asked.seconds > 0:
        print("mobilekd-runner-steady", flush=True)
        samples, start = [], time.monotonic_ns()
        while (begin := time.monotonic_ns()) - start < asked.seconds * 1e9:
            offsets.append(begin - start)
            samples.append(timed(network))
    else:
        samples = [timed(network) for _ in range(asked.samples)]
    return {
        "file_load_ns": network.file_load_ns,
        "method_load_ns": network.method_load_ns,
        "first_inference_ns": first,
        "warmup_ns": warmup,
        "steady_rule": rule,
        "samples_ns": samples,
        "offsets_ns": offsets,
    }


def memory(asked: argparse.Namespace) -> dict[str, Any]:
    """Bytes of this process before the file is loaded and after some inferences; None where the
    system does not tell.
    """
    before = _told("/proc/self/status", "VmRSS:")
    network = _filled(asked)
    for _ in range(min(asked.samples, 20)):
        network.run()
    return {
        "baseline_rss_bytes": before,
        "peak_rss_bytes": _told("/proc/self/status", "VmHWM:"),
        "pss_bytes": _told("/proc/self/smaps_rollup", "Pss:"),
    }


def _filled(asked: argparse.Namespace) -> Network:
    network = opened(Path(asked.places[0]), asked.threads, asked.session)
    if asked.inputs:
        network.fill(read_inputs(Path(asked.inputs), network.shape, floats=False)[0])
    return network


def _told(path: str, key: str) -> int | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(key)), None)


#: What it can do, and how many places follow the word.
COMMANDS: dict[str, tuple[int, Callable[[argparse.Namespace], dict[str, Any]]]] = {
    "golden": (3, golden),
    "measure": (1, measure),
    "memory": (1, memory),
}


def parsed(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("places", nargs="+")
    parser.add_argument("--floats", action="store_true")
    parser.add_argument("--inputs")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--cores", default="")
    parser.add_argument("--session", action="append", default=[])
    asked = parser.parse_args(words)
    if len(asked.places) != COMMANDS[asked.command][0]:
        parser.error(f"{asked.command} takes {COMMANDS[asked.command][0]} places")
    return asked


def main(words: list[str]) -> int:
    """Run one command; 0 where its answer is whole."""
    asked = parsed(words)
    try:
        if asked.cores:
            try:
                os.sched_setaffinity(0, {int(core) for core in asked.cores.split(",")})
            except (AttributeError, OSError, ValueError):
                raise Failure(
                    f"--cores {asked.cores}: the system refuses to bind to these cores"
                ) from None
        answer = COMMANDS[asked.command][1](asked)
    except Failure as failure:
        print(f"mobilekd-runner: {failure}", file=sys.stderr)
        return 1
    # both take the number of threads that they are given and tell no other
    answer["threads_in_effect"] = asked.threads or None
    print(f"mobilekd-runner-json {json.dumps(answer)}\nmobilekd-runner-end")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
