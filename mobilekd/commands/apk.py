"""``mobilekd apk``: an exported artifact becomes an installable, signed demo app, taken apart and
proven before it appears.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mobilekd.android.compile import PACKAGE
from mobilekd.android.package import shell, sign, unsigned
from mobilekd.android.proof import Proof, prove
from mobilekd.android.runtime import Runtime, may_meet, runtime
from mobilekd.android.toolchain import find, toolchain
from mobilekd.formats.artifact import Artifact, newest_artifact, open_artifact
from mobilekd.support.cache import clear_work, scratch
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.files import sha256_file, write_json
from mobilekd.support.process import OutOfBoundsError, printable, run_bounded
from mobilekd.support.progress import say
from mobilekd.support.version import VERSION

ABIS = ("arm64-v8a", "x86_64")
INSTALLING = 300.0  # seconds for each step on the phone


def apk(
    artifact: Path | None = None,
    *,
    aar: str | Path | None = None,
    keystore: Path | None = None,
    abi: Sequence[str] = ABIS,
    samples: Path | None = None,
    name: str | None = None,
    output: Path | None = None,
    install: str | None = None,
) -> Path:
    """Build the app with ``artifact``'s model inside; returns the APK, with its report (``.json``)
    beside it.

    Args:
        artifact: the artifact's folder; its model must be a ``.pte``; None takes the newest
        aar: None for the official runtime of the exporter's version, a local AAR, or ``community``
        keystore: key to sign with (password in ``MOBILEKD_KEYSTORE_PASSWORD``); None for the debug
            key
        abi: processor kinds to carry the runtime for
        samples: folder of photographs to build in; None takes the golden set's
        name: the app's name on the phone
        output: the APK; None is ``<artifact's name>.apk`` beside the artifact
        install: serial of a phone to install and start on, "" for the only one

    Raises:
        UserError: what is wrong and the remedy; nothing is left behind then
    """
    clear_work()
    if artifact is None:
        artifact = newest_artifact()
        say(f"apk: the newest artifact, {artifact}")
    tools = toolchain()
    opened = open_artifact(artifact)
    exporter = _exporter(opened)
    chosen = runtime(aar, exporter, tools)
    reason = may_meet(chosen, exporter)
    if reason:
        raise UserError(
            f"{reason}; take the official runtime, --aar FILE of a newer one, or export again"
        )
    apk_file = output or opened.folder.with_name(f"{opened.folder.name}.apk")
    apk_file.parent.mkdir(parents=True, exist_ok=True)
    say(f"apk: {chosen.name} {chosen.version} for {', '.join(abi)}")
    base = shell(chosen, abi, name, VERSION, tools)
    with scratch(apk_file) as folder:
        work = folder / apk_file.name
        unsigned(base, opened, chosen, samples, work, tools)
        unsigned_sha256 = sha256_file(work)
        sign(work, keystore, tools)
        proof = prove(work, opened, abi, tools)
        report = _report(opened, chosen, exporter, proof, unsigned_sha256, sha256_file(work))
        os.replace(work, apk_file)
    write_json(apk_file.with_name(f"{apk_file.name}.json"), report)
    for part, size in proof.sizes.items():
        say(f"  {part:<18}{size / 1e6:8.2f} MB")
    if install is not None:
        _install(apk_file, install)
    return apk_file


def _exporter(artifact: Artifact) -> str:
    manifest = artifact.manifest
    if not manifest.model_file.endswith(".pte"):
        raise UserError(
            f"{artifact.folder}: holds {manifest.model_file}, which the app cannot run; export with"
            " --backend xnnpack"
        )
    if manifest.backend not in ("xnnpack", "portable"):
        raise UserError(
            f"{artifact.folder}: was lowered for {manifest.backend}, which the app's runtime lacks;"
            " export with --backend xnnpack"
        )
    return manifest.provenance.versions.get("executorch", "")


def _report(
    artifact: Artifact,
    chosen: Runtime,
    exporter: str,
    proof: Proof,
    unsigned_sha256: str,
    sha256: str,
) -> dict[str, object]:
    return {
        "schema_version": 1,
        "artifact": artifact.manifest.name,
        "sha256": sha256,
        "unsigned_sha256": unsigned_sha256,
        "runtime": chosen.facts(),
        "exporter": exporter,
        "app": VERSION,
        **asdict(proof),
    }


def _install(apk_file: Path, serial: str) -> None:
    """Install over adb and start the app; adb's own words where it fails."""
    adb = find("adb")
    if adb is None:
        raise CannotRunHere("apk --install: adb not found; apt install adb")
    phone = [adb, *(["-s", serial] if serial else [])]
    start = [
        "shell",
        "am",
        "start",
        "-W",
        "-n",
        f"{PACKAGE}/.ui.MainActivity",
        "&&",
        "echo",
        "mobilekd-started",
    ]
    for step in (["install", "-r", str(apk_file)], start):
        try:
            done = run_bounded([*phone, *step], timeout=INSTALLING, who=f"adb {step[0]}")
        except OutOfBoundsError as error:
            raise UserError(f"apk --install: {error}; look at the phone's screen") from None
        said = (done.stdout + done.stderr).strip()
        wanted = "Success" if step is not start else "mobilekd-started"
        if done.code != 0 or wanted not in said:  # a connection lost in mid-shell ends with 0
            raise UserError(
                f"apk --install: adb {step[0]} failed:"
                f" {printable(said)[-300:] or 'no answer'}; the APK is {apk_file}"
            )
    say(f"apk: installed and started on {serial or 'the phone'}")
