"""Emulated Arm processors (``qemu:CPU``): the arm64 runner's answers, never its times."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from mobilekd.formats.artifact import Artifact
from mobilekd.formats.measurement import Conditions, Device, Memory
from mobilekd.runners import program
from mobilekd.runners.base import Reading, Setting
from mobilekd.runners.native import build
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.files import write_bytes
from mobilekd.support.provenance import utc_now
from mobilekd.support.words import unknown

# Without dot product, with it (two designs), with SVE. `max` adds SME, under which XNNPACK's int8
# answers were found wrong.
PROCESSORS = {
    "cortex-a53": "Armv8.0, no dot product",
    "cortex-a76": "Armv8.2, dot product",
    "neoverse-n1": "Armv8.2, dot product",
    "a64fx": "Armv8.2, SVE 512",
    "max": "all that the emulator has, SVE and SME included",
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
        command: list[str | Path] = [
            emulator,
            "-cpu",
            cpu,
            bundle / build.LOADER,
            "--library-path",
            bundle,
            bundle / build.PROGRAM,
        ]
        words = program.golden_arguments(
            str(model_path), str(pictures), str(result), threads=threads
        )
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
        _emulator(cpu)

    def describe(self) -> Device:
        """The emulated processor."""
        about = PROCESSORS[self.cpu.split(",")[0]]
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
        """Nothing beyond this machine's."""
        return {}

    def big_cores(self) -> str:
        """None."""
        return ""

    @contextmanager
    def session(self, artifacts: Sequence[Artifact]) -> Iterator[None]:
        """Build the runner before the first artifact needs it."""
        build.arm_bundle()
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
