"""``--via app``: the demo app's benchmark entry, started by adb. It measures what a user of the app
gets.

Each ``am instrument`` is a fresh process of the app with one thread count. The app says its model's
sha256; where that is not the artifact's, the artifact's ``.pte`` is pushed, hashed on the device
and run instead. The answers' format is the contract in ``benchmarks/app.md``: one JSON document, in
``mobilekd_json`` (base64) or in the file that ``mobilekd_file`` names.
"""

import base64
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mobilekd.formats.artifact import Artifact
from mobilekd.formats.measurement import (
    Cold,
    Conditions,
    Device,
    Memory,
    Pipeline,
    Series,
    Sustained,
)
from mobilekd.runners import android_state
from mobilekd.runners.adb import BACK, RUN, AdbRunner, Workspace
from mobilekd.runners.adb_client import Adb, choose
from mobilekd.runners.base import DeviceError, Kind, Reading, Setting, parse_answer
from mobilekd.runners.program import WARMUP_LIMIT, answer_array, json_object, judged, most_said
from mobilekd.support.errors import UserError
from mobilekd.support.process import printable

PACKAGE = "org.mobilekd.demo"
INSTRUMENTATION = f"{PACKAGE}/.BenchInstrumentation"
ACTIVITY = f"{PACKAGE}/.BenchActivity"
FILE = f"/sdcard/Android/data/{PACKAGE}/files/bench.json"
CONTRACT = 1
PHOTOGRAPHS = (".jpg", ".png")


class AppRunner:
    """The demo app on a phone."""

    via: Literal["app"] = "app"
    answers_only = False

    def __init__(self, serial: str = ""):
        self.adb = Adb(choose(serial))
        self._phone = AdbRunner(self.adb.serial)
        self._identity: dict[str, Any] = {}
        self._extras: dict[Path, dict[str, str]] = {}
        self._memory: dict[Path, Memory] = {}

    def describe(self) -> Device:
        """As the shell way sees it, but the app's own least Android counts, not the bundle's."""
        return android_state.device(self.adb.ask(android_state.HARDWARE_SCRIPT), self.adb.serial)

    def conditions(self) -> Conditions:
        """Battery, thermal status, screen, frequencies, load."""
        return self._phone.conditions()

    def versions(self) -> dict[str, str]:
        """App, runtime inside it and APK, once the app has answered."""
        versions = {
            printable(f"{key} (app)"): printable(str(value))
            for key, value in self._identity.get("versions", {}).items()
        }
        apk = self._identity.get("apk_sha256")
        return versions | ({"apk sha256": printable(str(apk))} if apk else {})

    def big_cores(self) -> str:
        """None: an app may not bind itself to cores."""
        return ""

    @contextmanager
    def session(self, artifacts: Sequence[Artifact]) -> Iterator[None]:
        """Ask the app for its model; push inputs, photographs, and each model that is not the app's
        own.
        """
        if not self.adb.ask(f"pm path {PACKAGE}").strip():
            raise DeviceError(
                f"{self.adb.name}: the demo app is not installed; mobilekd apk ARTIFACT --install"
            )
        self._identity = self._ask({"mode": "identify"})
        with Workspace(self.adb) as place:
            for number, artifact in enumerate(artifacts):
                self._extras[artifact.folder] = self._bring(place, artifact, f"m{number}")
            try:
                yield
            finally:
                self._tidy()

    def _tidy(self) -> None:
        """Stop the app, which goes on measuring when the connection is lost, and remove its
        answer's file.
        """
        # what is wrong with the phone is told by the fault itself, or by the workspace's end
        with suppress(UserError):
            if self.adb.wait_back(BACK):
                self.adb.shell(f"am force-stop {PACKAGE}; rm -f {FILE}")

    def _bring(self, place: Workspace, artifact: Artifact, name: str) -> dict[str, str]:
        """Push what the app needs for one artifact; the instrumentation's arguments that
        name it.
        """
        golden = artifact.folder / "golden"
        files, extras = (
            {f"{name}.u8": golden / "inputs.u8"},
            {"inputs": f"{place.folder}/{name}.u8"},
        )
        if (
            self._identity.get("model_sha256")
            != artifact.manifest.files[artifact.manifest.model_file]
        ):
            files[f"{name}.pte"] = artifact.model
            extras["model"] = f"{place.folder}/{name}.pte"
        place.put(files)
        photographs = {
            path.name: path for path in sorted(golden.iterdir()) if path.suffix in PHOTOGRAPHS
        }
        if photographs:
            album = place.below(f"{name}-photographs")
            album.put(photographs)
            extras["photographs"] = album.folder
        return extras

    def answers(self, artifact: Artifact, inputs: np.ndarray, threads: int = 1) -> np.ndarray:
        """The app's answers to the pushed golden inputs."""
        asked = {"mode": "golden", "threads": str(threads)}
        answer = self._ask({**asked, **self._extras[artifact.folder]})
        self._same_model(answer, artifact)
        try:
            raw = base64.b64decode(answer["answers"], validate=True)
            shape = {"count": answer["count"], "widths": [answer["classes"]]}
            return answer_array(raw, shape, self.adb.name)
        except (KeyError, ValueError, TypeError, DeviceError):
            raise DeviceError(
                f"{self.adb.name}: the app's answers cannot be read; install the app again"
                " (mobilekd apk --install)"
            ) from None

    def measure(
        self, artifact: Artifact, setting: Setting, watch: Callable[[], None] | None = None
    ) -> Reading:
        """One fresh process of the app. The sustained part starts after warm-up, so ``watch``
        begins a little early.
        """
        numbers = {
            "threads": setting.threads,
            "samples": setting.samples,
            "warmup_max": WARMUP_LIMIT,
            "seconds": f"{setting.seconds:g}",
        }
        if watch is not None:
            watch()
        extras = {
            "mode": "measure",
            **{key: str(value) for key, value in numbers.items()},
            **self._extras[artifact.folder],
        }
        answer = self._ask(extras, seconds=setting.seconds)
        self._same_model(answer, artifact)

        def part(kind: type[Kind], key: str) -> Kind:
            return parse_answer(answer.get(key), kind, self.adb.name, "install the app again")

        if answer.get("memory"):
            self._memory[artifact.folder] = part(Memory, "memory")
        cold = part(Cold, "cold").model_copy(update={"threads": setting.threads})
        if setting.seconds:
            return Reading(cold, sustained=part(Sustained, "sustained"))
        pipeline = part(Pipeline, "pipeline") if answer.get("pipeline") else None
        return Reading(cold, series=judged(part(Series, "series")), pipeline=pipeline)

    def memory(self, artifact: Artifact, threads: int) -> Memory | None:
        """Of a short process of its own."""
        self.measure(artifact, Setting(threads=threads, samples=20))
        return self._memory.get(artifact.folder)

    def _same_model(self, answer: dict[str, Any], artifact: Artifact) -> None:
        expected = artifact.manifest.files[artifact.manifest.model_file]
        if answer.get("model_sha256") != expected:
            raise DeviceError(
                f"{self.adb.name}: the app ran another model than {artifact.folder.name}; install"
                " the app again"
            )

    def _ask(self, extras: dict[str, str], seconds: float = 0.0) -> dict[str, Any]:
        """Run the instrumentation and read its document; where the phone refuses it, the
        activity.
        """
        words = " ".join(f"-e {key} {shlex.quote(value)}" for key, value in extras.items())
        text = self.adb.shell(
            f"am instrument -w -r {words} {INSTRUMENTATION}",
            timeout=RUN + seconds,
            limit=most_said(seconds),
        ).stdout
        results = dict(
            re.findall(r"^INSTRUMENTATION_RESULT: (mobilekd_\w+)=(.*)$", text, re.MULTILINE)
        )
        if "mobilekd_error" in results:
            raise DeviceError(
                f"{self.adb.name}: the app says: {printable(results['mobilekd_error'], 300)}"
            )
        if "mobilekd_json" in results:
            return self._document(_decoded(results["mobilekd_json"]))
        if "mobilekd_file" in results:
            file = shlex.quote(results["mobilekd_file"].strip())
            return self._document(self.adb.shell(f"cat {file}", limit=most_said(seconds)).stdout)
        if "Process crashed" in text or "INSTRUMENTATION_ABORTED" in text:
            raise DeviceError(
                f"{self.adb.name}: the app crashed while it measured; send us adb logcat -d"
            )
        return self._ask_activity(extras, seconds)

    def _ask_activity(self, extras: dict[str, str], seconds: float) -> dict[str, Any]:
        words = " ".join(f"--es {key} {shlex.quote(value)}" for key, value in extras.items())
        timeout = RUN + seconds
        tries = max(1, int(timeout))
        wait = f"for i in $(seq {tries}); do [ -f {FILE} ] && break; sleep 1; done"
        command = (
            f"rm -f {FILE}; am start -W -n {ACTIVITY} {words} >/dev/null && {wait}; cat {FILE};"
            f" code=$?; rm -f {FILE}; exit $code"
        )
        finished = self.adb.shell(command, timeout=timeout + 30, limit=most_said(seconds))
        if finished.code != 0:
            raise DeviceError(
                f"{self.adb.name}: the app's benchmark cannot be started; install it again"
                " (mobilekd apk ARTIFACT --install)"
            )
        return self._document(finished.stdout)

    def _document(self, text: str) -> dict[str, Any]:
        complaint = (
            f"{self.adb.name}: the app's answer cannot be read; install the app of this version"
            " (mobilekd apk --install)"
        )
        answer = json_object(text, complaint)
        if answer.get("mobilekd_app") != CONTRACT or not isinstance(
            answer.get("versions", {}), dict
        ):
            raise DeviceError(complaint)
        if "error" in answer:
            raise DeviceError(
                f"{self.adb.name}: the app says: {printable(str(answer['error']), 300)}"
            )
        return answer


def _decoded(text: str) -> str:
    """Base64 as text; what is no base64 is an empty text, which no document is."""
    try:
        return base64.b64decode(text.strip() + "==").decode(errors="replace")
    except ValueError:
        return ""
