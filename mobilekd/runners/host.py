"""This machine: Linux (Arm boards included) or macOS, by the same C++ runner that phones get; files
of ONNX Runtime and LiteRT by a process that holds to the same protocol.
"""

import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from mobilekd.formats.artifact import Artifact
from mobilekd.formats.measurement import Conditions, Device, Memory
from mobilekd.graphs import litert_file, onnx_file
from mobilekd.runners import linux_state, program, runtimes
from mobilekd.runners.base import Reading, Setting
from mobilekd.runners.native import build
from mobilekd.support.files import write_bytes
from mobilekd.support.provenance import utc_now

TIMEOUT = 600.0


class HostRunner:
    """Every measurement is a process of its own."""

    via: Literal["shell"] = "shell"
    answers_only = False

    def __init__(self) -> None:
        self.packages: set[str] = set()  # of the other runtimes that the session measures

    def describe(self) -> Device:
        """Processor, cores, memory and features of this machine; its name stays private."""
        files = _read(linux_state.HARDWARE_FILES)
        fields = linux_state.hardware(files)
        soc = (
            linux_state.processor_name(files)
            or _sysctl("machdep.cpu.brand_string")
            or platform.processor()
        )
        if sys.platform == "darwin":
            fields |= {
                "cores": int(_sysctl("hw.ncpu") or 0),
                "memory_bytes": int(_sysctl("hw.memsize") or 0) or None,
            }
        slug = re.sub(r"[^a-z0-9]+", "-", f"{soc or 'host'}-{fields['cores']}-cores".lower()).strip(
            "-"
        )
        system = (
            platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
            if sys.platform == "linux"
            else f"macOS {platform.mac_ver()[0]}"
        )
        return Device(
            id=slug, kind="host", model=soc, soc=soc, os=system, abi=build.machine(), **fields
        )

    def conditions(self) -> Conditions:
        """What the kernel tells (Linux); on macOS only the time."""
        return Conditions(utc=utc_now(), **linux_state.state(_read(linux_state.STATE_FILES)))

    def versions(self) -> dict[str, str]:
        """Those of other runtimes that are measured; provenance records the rest."""
        return {package: version(package) for package in sorted(self.packages)}

    def big_cores(self) -> str:
        """By top frequency, on Linux."""
        return linux_state.big_cores(_read(linux_state.HARDWARE_FILES))

    @contextmanager
    def session(self, artifacts: Sequence[Artifact]) -> Iterator[None]:
        """Build the runner first, so that building heats no measurement."""
        for artifact in artifacts:
            _program(artifact.model)
        found = [runtimes.of(artifact.model) for artifact in artifacts]
        self.packages = {runtime.package for runtime in found if runtime is not None}
        yield

    def answers(self, artifact: Artifact, inputs: np.ndarray, threads: int = 1) -> np.ndarray:
        """Float32 [N, C] for uint8 [N, 3, H, W]."""
        return answers(artifact.model, inputs, threads=threads)

    def measure(
        self, artifact: Artifact, setting: Setting, watch: Callable[[], None] | None = None
    ) -> Reading:
        """One fresh process."""

        return measured(artifact.model, artifact.folder / "golden/inputs.u8", setting, watch)

    def memory(self, artifact: Artifact, threads: int) -> Memory | None:
        """Resident and proportional memory of a fresh process."""
        arguments = program.memory_arguments(
            str(artifact.model), str(artifact.folder / "golden/inputs.u8"), threads
        )
        answer = _run(artifact.model, arguments)
        return program.memory(answer, "host")


def measured(
    model: Path, inputs: Path, setting: Setting, watch: Callable[[], None] | None = None
) -> Reading:
    """One fresh process on a model file, with the first picture of ``inputs``, a file of uint8
    ``[N, 3, H, W]``. ``watch`` is called at the start of the sustained part.
    """

    def on_line(line: str) -> None:
        if watch is not None and line == program.STEADY:
            watch()

    arguments = program.measure_arguments(str(model), str(inputs), setting)
    return program.reading(
        _run(model, arguments, seconds=setting.seconds, on_line=on_line), setting, "host"
    )


def answers(
    model: Path, inputs: np.ndarray, *, floats: bool = False, threads: int = 1
) -> np.ndarray:
    """Float32 [N, C]: the runner's first output for inputs [N, ...], uint8 or (``floats``)
    float32.
    """
    with tempfile.TemporaryDirectory() as work:
        pictures, result = Path(work) / "inputs", Path(work) / "outputs"
        write_bytes(pictures, inputs.astype(np.float32 if floats else np.uint8).tobytes())
        arguments = program.golden_arguments(
            str(model), str(pictures), str(result), threads=threads, floats=floats
        )
        answer = _run(model, arguments)
        raw = program.read_answers(Path(f"{result}.0"), "host")
        return program.answer_array(raw, answer, "host")


def _program(model: Path) -> list[str | Path]:
    """What runs a model file here, without its arguments; a ``UserError`` where it cannot be
    had.
    """
    if runtimes.of(model) is None:
        return [build.host_bundle() / build.PROGRAM]
    if model.suffix == ".onnx":
        onnx_file.library("onnxruntime")
    else:
        litert_file.library("interpreter")
    return [sys.executable, "-P", Path(__file__).with_name("file_process.py")]


def _run(
    model: Path,
    arguments: list[str],
    *,
    seconds: float = 0.0,
    on_line: Callable[[str], None] | None = None,
) -> dict:
    command = [*_program(model), *arguments]
    if model.suffix == ".onnx":
        entries = onnx_file.SESSION.items()
        command += [word for key, value in entries for word in ("--session", f"{key}={value}")]
    finished = program.run(
        command,
        timeout=TIMEOUT + seconds,
        on_line=on_line,
        who="host",
        limit=program.most_said(seconds),
    )
    return program.document(finished, "host")


def _read(files: str) -> dict[str, str]:
    answer = program.run(
        ["sh", "-c", linux_state.read_script(files)], timeout=20, who="host: the kernel's state"
    )
    return linux_state.parse(answer.stdout)


def _sysctl(name: str) -> str:
    if sys.platform != "darwin":
        return ""
    return program.run(["sysctl", "-n", name], timeout=20, who="host: sysctl").stdout.strip()
