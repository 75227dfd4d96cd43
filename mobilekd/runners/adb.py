"""A phone through ``adb shell``: the arm64 bundle is pushed, hashed on the device, run, and removed
again.
"""

import secrets
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mobilekd.formats.artifact import Artifact
from mobilekd.formats.measurement import Conditions, Device, Memory
from mobilekd.runners import android_state, linux_state, program, runtimes
from mobilekd.runners.adb_client import Adb, choose
from mobilekd.runners.base import DeviceError, Reading, Setting
from mobilekd.runners.native import build
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_file
from mobilekd.support.process import CompletedCommand, printable

PLACE = "/data/local/tmp"  # where adb's user may write and execute
RUN = 600.0  # seconds for one process
BACK = 30.0  # seconds to wait for a phone that vanished, to clean up


def _said(finished: CompletedCommand) -> str:
    """A failed command's own words, in one line."""
    return printable(finished.stderr or finished.stdout) or f"code {finished.code}"


class Workspace:
    """A folder of our own on the device: filled with checked files, removed at the end even after a
    fault.
    """

    def __init__(self, adb: Adb):
        self.adb = adb
        self.folder = f"{PLACE}/mobilekd-{secrets.token_hex(4)}"

    def __enter__(self) -> "Workspace":
        try:
            made = self.adb.shell(f"mkdir -m 755 {self.folder}")
        except BaseException as error:  # lost after the phone made it: nobody else would remove it
            self.__exit__(type(error), error, None)
            raise
        if made.code != 0:
            raise DeviceError(
                f"{self.adb.name}: cannot make {self.folder} ({_said(made)}); restart the phone"
            )
        return self

    def __exit__(self, *fault: object) -> None:
        # The runner writes its process id while it runs: one that outlived its shell would go on
        # heating the phone.
        clean = (
            f"cd / && if [ -f {self.folder}/pid ]; then kill -9 $(cat {self.folder}/pid)"
            f" 2>/dev/null; fi; rm -rf {self.folder}"
        )
        for _ in range(3):
            try:
                if (
                    self.adb.wait_back(BACK if fault[0] is not None else 0.0)
                    and self.adb.shell(clean).code == 0
                ):
                    return
            except UserError:
                continue
        raise DeviceError(
            f"{fault[1] if fault[1] else self.adb.name}; {self.folder} is left on the phone, remove"
            " it when it is back"
        )

    def put(self, files: dict[str, Path]) -> None:
        """Push files under the given names and check their hashes on the device."""
        with tempfile.TemporaryDirectory() as work:
            staged = []
            for name, path in files.items():
                staged.append(Path(work) / name)
                # adb follows links; this renames without copying
                staged[-1].symlink_to(path.resolve())
            self.adb.push(staged, self.folder)
        there = self.adb.sha256([f"{self.folder}/{name}" for name in files])
        for name, path in files.items():
            if there.get(f"{self.folder}/{name}") != sha256_file(path):
                raise DeviceError(
                    f"{self.adb.name}: {name} arrived damaged; check the cable and run again"
                )
        self.adb.shell(f"chmod 755 {self.folder}/*")

    def below(self, name: str) -> "Workspace":
        """A folder inside this one, which goes with it."""
        inner = Workspace(self.adb)
        inner.folder = f"{self.folder}/{name}"
        made = self.adb.shell(f"mkdir -m 755 {inner.folder}")
        if made.code != 0:
            raise DeviceError(
                f"{self.adb.name}: cannot make {inner.folder}; free some space on the phone"
            )
        return inner


class AdbRunner:
    """``--via shell`` on a phone. Needs neither an app nor anything of the phone's libraries."""

    via: Literal["shell"] = "shell"
    # an Android emulator is measured too, and its times carry the mark of ``device.emulated``
    answers_only = False

    def __init__(self, serial: str = "", named: Sequence[Path] = ()):
        """``named``: libraries of other runtimes, in place of those of their Python packages."""
        self.adb = Adb(choose(serial))
        self._named = named
        self._libraries: dict[str, runtimes.Library] = {}  # by the suffix of model files
        self._place: Workspace | None = None
        self._names: dict[Path, str] = {}
        self._hardware: str | None = None

    def describe(self) -> Device:
        """Properties, cpuinfo and meminfo; refuses a phone that cannot run the bundle."""
        if self._hardware is None:
            self._hardware = self.adb.ask(android_state.HARDWARE_SCRIPT)
        trouble = android_state.problem(android_state.properties(self._hardware))
        if trouble:
            raise DeviceError(f"{self.adb.name}: {trouble}")
        return android_state.device(self._hardware, self.adb.serial)

    def conditions(self) -> Conditions:
        """Battery, thermal status, screen, frequencies, load."""
        return android_state.conditions(self.adb.ask(android_state.STATE_SCRIPT))

    def versions(self) -> dict[str, str]:
        """The build of the phone's system, and the runtimes' libraries that were pushed."""
        props = android_state.properties(self._hardware or "")
        told = {"android build": props["ro.build.id"]} if props.get("ro.build.id") else {}
        for library in self._libraries.values():
            told |= library.versions()
        return told

    def big_cores(self) -> str:
        """By top frequency."""
        return linux_state.big_cores(linux_state.parse(self._hardware or ""))

    @contextmanager
    def session(self, artifacts: Sequence[Artifact]) -> Iterator[None]:
        """Bundle, libraries, models and inputs onto the device under names of our own; gone again
        at the end.
        """
        bundle = build.arm_bundle()
        self._libraries = runtimes.libraries([one.model for one in artifacts], self._named)
        with Workspace(self.adb) as place:
            files = {path.name: path for path in bundle.iterdir() if path.name != "bundle.json"}
            files |= {library.pushed: library.path for library in self._libraries.values()}
            for number, artifact in enumerate(artifacts):
                self._names[artifact.folder] = f"m{number}"
                files[f"m{number}{artifact.model.suffix}"] = artifact.model
                files[f"m{number}.u8"] = artifact.folder / "golden/inputs.u8"
            place.put(files)
            self._place = place
            try:
                yield
            finally:
                self._place = None

    def answers(self, artifact: Artifact, inputs: np.ndarray, threads: int = 1) -> np.ndarray:
        """The pushed golden inputs' answers, pulled and checked."""
        model, pictures = self._pushed(artifact)
        name = self._names[artifact.folder]
        arguments = program.golden_arguments(model, pictures, f"{name}.out", threads=threads)
        answer = self._run(artifact, arguments)
        with tempfile.TemporaryDirectory() as work:
            target = Path(work) / "answers"
            self.adb.pull(f"{self._folder()}/{name}.out.0", target, program.MOST_ANSWERS)
            raw = program.read_answers(target, self.adb.name)
            return program.answer_array(raw, answer, self.adb.name)

    def measure(
        self, artifact: Artifact, setting: Setting, watch: Callable[[], None] | None = None
    ) -> Reading:
        """One fresh process on the phone."""

        def on_line(line: str) -> None:
            if watch is not None and line.rstrip("\r") == program.STEADY:
                watch()

        arguments = program.measure_arguments(*self._pushed(artifact), setting)
        return program.reading(
            self._run(artifact, arguments, seconds=setting.seconds, on_line=on_line),
            setting,
            self.adb.name,
        )

    def memory(self, artifact: Artifact, threads: int) -> Memory | None:
        """A process of its own."""
        arguments = program.memory_arguments(*self._pushed(artifact), threads)
        return program.memory(self._run(artifact, arguments), self.adb.name)

    def _pushed(self, artifact: Artifact) -> tuple[str, str]:
        """What its model and its inputs are called on the device."""
        name = self._names[artifact.folder]
        return f"{name}{artifact.model.suffix}", f"{name}.u8"

    def _folder(self) -> str:
        if self._place is None:
            raise UserError(
                f"{self.adb.name}: nothing is on the device; use the runner inside its session"
            )
        return self._place.folder

    def _run(
        self,
        artifact: Artifact,
        arguments: list[str],
        *,
        seconds: float = 0.0,
        on_line: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        library = self._libraries.get(artifact.model.suffix)
        if library is not None:
            arguments = [*arguments, "--library", f"./{library.pushed}"]
        words = " ".join(shlex.quote(word) for word in arguments)
        start = f"./{runtimes.program(library)} {words}"
        if library is None or not library.android:  # else the phone's own loader starts it
            start = f"./{build.LOADER} --library-path . {start}"
        command = (
            f"cd {self._folder()} && {{ {start} & echo $! >pid; wait $!; code=$?; rm -f pid; exit"
            " $code; }"
        )
        finished = self.adb.shell(
            command,
            timeout=RUN + seconds,
            on_line=on_line,
            limit=program.most_said(seconds),
        )
        return program.document(finished, self.adb.name)
