"""``mobilekd apk``: exported artifacts of one student become an installable, signed demo app, taken
apart and proven before it appears.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from mobilekd.android.compile import PACKAGE
from mobilekd.android.package import shell, sign, unsigned
from mobilekd.android.proof import Proof, prove
from mobilekd.android.runtime import OWN_ABI, Runtime, may_meet, newest, runtime, with_libraries
from mobilekd.android.several import places, refusal, together, without_guard
from mobilekd.android.toolchain import find, toolchain
from mobilekd.formats.artifact import Artifact, newest_artifact, open_artifact
from mobilekd.support.cache import clear_work, scratch
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.files import check_writable, sha256_file, write_json
from mobilekd.support.process import OutOfBoundsError, printable, run_bounded
from mobilekd.support.progress import say
from mobilekd.support.version import VERSION

ABIS = ("arm64-v8a", "x86_64")
INSTALLING = 300.0  # seconds for each step on the phone


def apk(
    artifact: Path | Sequence[Path] | None = None,
    *,
    aar: str | Path | None = None,
    keystore: Path | None = None,
    abi: Sequence[str] = ABIS,
    samples: Path | None = None,
    name: str | None = None,
    output: Path | None = None,
    install: str | None = None,
    libraries: Path | None = None,
) -> Path:
    """Build the app with ``artifact``'s model inside, or with those of several artifacts of one
    student, of which it takes the one for its phone's chip, else the first for any phone; returns
    the APK, with its report (``.json``) beside it.

    Args:
        artifact: the artifact's folder, or several; a model must be a ``.pte``, and one of them
            must run on any phone; None takes the newest such
        aar: None for the official runtime of the exporter's version, a local AAR, or ``community``
        keystore: key to sign with (password in ``MOBILEKD_KEYSTORE_PASSWORD``); None for the debug
            key
        abi: processor kinds to carry the runtime for
        samples: folder of photographs to build in; None takes those of the first golden set
        name: the app's name on the phone
        output: the APK; None is ``<artifact's name>.apk`` beside the first artifact
        install: serial of a phone to install and start on, "" for the only one
        libraries: folder or AAR with your own libraries for arm64 phones, such as Qualcomm's

    Raises:
        UserError: what is wrong and the remedy; nothing is left behind then
    """
    clear_work()
    folders = [artifact] if isinstance(artifact, Path) else list(artifact or ())
    if not folders:
        folders = [newest_artifact(fits=lambda one: not refusal(one))]
        say(f"apk: the newest artifact that the app runs, {folders[0]}")
    first = folders[0]
    apk_file = output or first.with_name(f"{first.name}.apk")
    for file in (apk_file, apk_file.with_name(f"{apk_file.name}.json")):
        check_writable(file)
    tools = toolchain()
    opened = [open_artifact(folder) for folder in folders]
    together(opened)
    for lacking in without_guard(opened):
        say(
            f"apk: {lacking.folder} has no guard: where it answers, the app does not say that a"
            " photograph is of another kind"
        )
    placed = places(opened)
    exporters = [one.manifest.provenance.versions.get("executorch", "") for one in opened]
    exporter = newest(exporters)
    chosen = runtime(aar, exporter, tools)
    for needed in exporters:
        reason = may_meet(chosen, needed)
        if reason:
            raise UserError(
                f"{reason}; take the official runtime, --aar FILE of a newer one, or export again"
            )
    if libraries is not None:
        if OWN_ABI not in abi:
            raise UserError(f"--libraries: they are for {OWN_ABI}, which --abi leaves out; add it")
        chosen = with_libraries(chosen, libraries)
    apk_file.parent.mkdir(parents=True, exist_ok=True)
    say(f"apk: {chosen.name} {chosen.version} for {', '.join(abi)}")
    base = shell(chosen, abi, name, VERSION, tools)
    with scratch(apk_file) as folder:
        work = folder / apk_file.name
        unsigned(base, placed, chosen, samples, work, tools)
        unsigned_sha256 = sha256_file(work)
        sign(work, keystore, tools)
        proof = prove(work, placed, abi, tools)
        report = _report(placed, chosen, exporter, proof, unsigned_sha256, sha256_file(work))
        os.replace(work, apk_file)
    write_json(apk_file.with_name(f"{apk_file.name}.json"), report)
    for part, size in proof.sizes.items():
        say(f"  {part:<18}{size / 1e6:8.2f} MB")
    if install is not None:
        _install(apk_file, install)
    return apk_file


def _report(
    placed: Mapping[str, Artifact],
    chosen: Runtime,
    exporter: str,
    proof: Proof,
    unsigned_sha256: str,
    sha256: str,
) -> dict[str, object]:
    files = {
        folder: {
            "artifact": artifact.title,
            "model_sha256": artifact.manifest.files[artifact.manifest.model_file],
        }
        for folder, artifact in placed.items()
    }
    return {
        "schema_version": 1,
        "artifact": placed["artifact"].manifest.name,
        **({"files": files} if len(files) > 1 else {}),
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
