"""Emulated Arm processors (``qemu:CPU``): the arm64 runner's answers, never its times."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from mobilekd.formats.artifact import Artifact
from mobilekd.formats.measurement import Conditions, Device, Memory
from mobilekd.runners import program, runtimes
from mobilekd.runners.base import Reading, Setting
from mobilekd.runners.native import build
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.files import write_bytes, write_text
from mobilekd.support.provenance import utc_now
from mobilekd.support.words import unknown


class Processor(NamedTuple):
    """What a processor is, and how it names itself in the kernel's /proc/cpuinfo."""

    about: str
    implementer: str
    part: str


# Without dot product, with it (two designs), with SVE. `max` adds SME, under which XNNPACK's int8
# answers were found wrong, ExecuTorch's as well as LiteRT's.
PROCESSORS = {
    "cortex-a53": Processor("Armv8.0, no dot product", "0x41", "0xd03"),
    "cortex-a76": Processor("Armv8.2, dot product", "0x41", "0xd0b"),
    "neoverse-n1": Processor("Armv8.2, dot product", "0x41", "0xd0c"),
    "a64fx": Processor("Armv8.2, SVE 512", "0x46", "0x001"),
    "max": Processor("all that the emulator has, SVE and SME included", "0x00", "0x051"),
}
TRUSTED = ("cortex-a53", "cortex-a76", "neoverse-n1", "a64fx")


def answers(model_path: Path, inputs: np.ndarray, cpu: str, threads: int = 1) -> np.ndarray:
    """Float32 [N, C]: the first output for uint8 inputs [N, 3, H, W] on an emulated processor.

    Raises ``CannotRunHere`` with what to install, ``UserError`` where the model or the inputs do
    not fit.
    """
    return outputs(model_path, inputs, cpu, threads)[0]


def outputs(model_path: Path, inputs: np.ndarray, cpu: str, threads: int = 1) -> list[np.ndarray]:
    """Every output, float32 [N, ...flattened]; see ``answers``."""
    emulator = _emulator(cpu)
    bundle = build.arm_bundle()
    with tempfile.TemporaryDirectory() as work:
        pictures, result = Path(work) / "inputs", Path(work) / "outputs"
        write_bytes(pictures, inputs.astype(np.uint8).tobytes())
        command: list[str | Path] = [emulator, "-cpu", cpu, "-L", root(Path(work), cpu)]
        command += [bundle / build.LOADER, "--library-path", bundle]
        library = runtimes.libraries([model_path]).get(model_path.suffix)
        command += [bundle / runtimes.program(library)]
        words = program.golden_arguments(
            str(model_path), str(pictures), str(result), threads=threads
        )
        if library is not None:
            words += ["--library", str(library.path)]
        finished = program.run(
            [*command, *words],
            timeout=1800,
            who=f"qemu:{cpu}",
        )
        answer = program.document(finished, f"qemu:{cpu}")
        widths = program.answer_shape(answer, f"qemu:{cpu}").widths
        return [
            program.answer_array(
                program.read_answers(Path(f"{result}.{number}"), f"qemu:{cpu}"),
                answer | {"widths": [width]},
                f"qemu:{cpu}",
            )
            for number, width in enumerate(widths)
        ]


def root(work: Path, cpu: str) -> Path:
    """A folder in which the emulated program finds ``/proc/cpuinfo`` before it looks on this
    machine, whose own processor would be no Arm: runtimes choose kernels by it, and some end where
    it tells of no Arm.
    """
    processor = PROCESSORS[cpu.split(",")[0]]
    lines = [
        f"processor\t: {number}\nCPU implementer\t: {processor.implementer}\nCPU architecture: 8\n"
        f"CPU variant\t: 0x0\nCPU part\t: {processor.part}\nCPU revision\t: 0\n"
        for number in range(os.cpu_count() or 1)
    ]
    write_text(work / "root/proc/cpuinfo", "\n".join(lines))
    return work / "root"


def _emulator(cpu: str) -> str:
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None:
        raise CannotRunHere(f"qemu:{cpu}: no qemu-aarch64 on this machine; {build.INSTALL}")
    name, *features = cpu.split(",")
    if name not in PROCESSORS:
        raise UserError(unknown(f"qemu:{cpu}", cpu, PROCESSORS))
    if any(feature.replace("=", "").isalnum() is False for feature in features):
        raise UserError(f"qemu:{cpu}: features are written as sve=off")
    return emulator


class QemuRunner:
    """Golden set only; ``device.emulated`` marks whatever comes of it."""

    via: Literal["shell"] = "shell"
    answers_only = True

    def __init__(self, cpu: str):
        self.cpu = cpu
        self._libraries: tuple[runtimes.Library, ...] = ()
        _emulator(cpu)

    def describe(self) -> Device:
        """The emulated processor."""
        about = PROCESSORS[self.cpu.split(",")[0]].about
        name = f"qemu-{self.cpu.replace(',', '-').replace('=', '-')}"
        return Device(
            id=name,
            kind="qemu",
            model=f"{self.cpu} ({about})",
            os="Linux user-mode emulation",
            abi="arm64-v8a",
            emulated=True,
        )

    def conditions(self) -> Conditions:
        """Only the time: an emulated processor has no state worth recording."""
        return Conditions(utc=utc_now())

    def versions(self) -> dict[str, str]:
        """Those of the libraries that answer for the files; the rest is this machine's."""
        told = [library.versions() for library in self._libraries]
        return {name: text for one in told for name, text in one.items()}

    def big_cores(self) -> str:
        """None."""
        return ""

    @contextmanager
    def session(self, artifacts: Sequence[Artifact]) -> Iterator[None]:
        """Build the runner, and fetch libraries, before the first artifact needs them."""
        build.arm_bundle()
        found = runtimes.libraries([artifact.model for artifact in artifacts])
        self._libraries = tuple(found.values())
        yield

    def answers(self, artifact: Artifact, inputs: np.ndarray, threads: int = 1) -> np.ndarray:
        """See ``answers`` above."""
        return answers(artifact.model, inputs, self.cpu, threads)

    def measure(
        self, artifact: Artifact, setting: Setting, watch: Callable[[], None] | None = None
    ) -> Reading:
        """Refused: emulated time is not latency."""
        raise UserError(
            f"qemu:{self.cpu}: an emulated processor has no latency; measure on host or adb"
        )

    def memory(self, artifact: Artifact, threads: int) -> Memory | None:
        """None: the emulator's memory is not the device's."""
        return None
