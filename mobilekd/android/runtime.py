"""The ExecuTorch runtime that goes into the APK: the official one, a local AAR, or a community
build asked for by name.
"""

import hashlib
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

from mobilekd.android.elf import ARM64, HEXAGON, machine, unloadable
from mobilekd.android.maven import artifact
from mobilekd.android.toolchain import Toolchain, run
from mobilekd.support.cache import kept_folder
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.files import sha256_file, sha256_tree

OFFICIAL = "org.pytorch:executorch-android"

#: Carries libfbjni.so and libc++_shared.so, which the runtime's JNI layer needs.
_FBJNI = "com.facebook.fbjni:fbjni:0.7.0:aar"

#: The name under which the community build is asked for, and what it is.
COMMUNITY = "community"
_NPM_NAME, _NPM_VERSION = "react-native-executorch", "0.9.3"
_NPM_SHA256 = "70a20a865b82f47ac46c82711d93c2038cf99eccbb9b287494219063f2217622"

#: Built from ExecuTorch 1.2; its answers to files of these exporters were found equal to the Python
#: runtime's.
_COMMUNITY_BASE = "1.2"
_COMMUNITY_MEETS = ("1.5",)

#: ``/proc/cpuinfo`` feature without which the community build's JNI layer dies with SIGILL:
#: Armv8.1's LSE atomics.
_COMMUNITY_NEEDS = ("atomics",)

MIN_SDK = 26

#: The phones that a user's own libraries are for.
OWN_ABI = "arm64-v8a"


@dataclass(frozen=True)
class Runtime:
    """One runtime, unpacked."""

    name: str
    version: str
    executorch: str | None  # the ExecuTorch version it was built from, where known
    jars: tuple[Path, ...]
    libraries: dict[str, dict[str, Path]]  # by ABI, by file name
    needs: tuple[str, ...]
    sha256: str
    own: dict[str, str] = field(default_factory=dict)  # SHA-256 of the user's libraries, by name

    def facts(self) -> dict[str, object]:
        """What the app and the report are told."""
        return {
            "name": self.name,
            "version": self.version,
            "executorch": self.executorch,
            "needs": list(self.needs),
            "sha256": self.sha256,
            **({"libraries": self.own} if self.own else {}),
        }


def with_libraries(chosen: Runtime, given: Path) -> Runtime:
    """``chosen`` and the user's own libraries for arm64 phones, such as those of a chip's maker:
    ``given`` is a folder of ``.so`` files, or an AAR.
    """
    if not given.exists():
        raise UserError(f"--libraries {given}: no such folder or AAR; check the path")
    folder = given if given.is_dir() else _unpacked(given) / "jni" / OWN_ABI
    files = {file.name: file for file in sorted(folder.glob("*.so"))}
    if not files:
        raise UserError(
            f"--libraries {given}: holds no .so file"
            f"{'' if given.is_dir() else f' for {OWN_ABI}'}; give the folder that they lie in"
        )
    theirs = chosen.libraries.get(OWN_ABI, {})
    for name, file in files.items():
        content = file.read_bytes()
        if name in theirs and content != theirs[name].read_bytes():
            raise UserError(
                f"--libraries {given}: {name} is another one in {chosen.name} {chosen.version};"
                " leave it out"
            )
        if machine(content) not in (ARM64, HEXAGON):
            raise UserError(
                f"--libraries {given}: {name} is neither for arm64 nor for Hexagon; take the one"
                " for Android"
            )
        if fault := unloadable(content):
            raise UserError(f"--libraries {given}: {name} {fault}; take a newer version of it")
    own = {name: sha256_file(file) for name, file in files.items()}
    both = hashlib.sha256(json.dumps([chosen.sha256, own]).encode()).hexdigest()
    libraries = {**chosen.libraries, OWN_ABI: {**theirs, **files}}
    return replace(chosen, libraries=libraries, own=own, sha256=both)


def runtime(aar: str | Path | None, exporter: str, tools: Toolchain) -> Runtime:
    """The runtime for a model of ``exporter`` (ExecuTorch's version): ``aar`` is None, a file, or
    ``community``.
    """
    if aar is None:
        version = re.match(r"[0-9]+(\.[0-9]+)*", exporter)
        if version is None:
            raise UserError(
                f"the artifact does not say its ExecuTorch version ({exporter!r}); export it again"
            )
        coordinates = f"{OFFICIAL}:{version[0]}:aar"
        try:
            file = artifact(coordinates, tools)
        except UserError as error:
            raise UserError(
                f"{error}; --aar FILE takes a local one, --aar {COMMUNITY} the community build"
                f" {_NPM_NAME} {_NPM_VERSION}"
            ) from None
        return _from_aar(file, OFFICIAL, version[0], tools)
    if str(aar) in (COMMUNITY, f"{_NPM_NAME}@{_NPM_VERSION}"):
        return _community(tools)
    file = Path(aar)
    if not file.is_file():
        raise UserError(
            f"--aar {aar}: no such file, nor a known community build ({COMMUNITY}); check the path"
        )
    named = re.search(r"executorch-android-(?:[a-z]+-)?([0-9]+(?:\.[0-9]+)+)", file.name)
    return _from_aar(file, f"local file {file.name}", named[1] if named else "unknown", tools)


def may_meet(runtime: Runtime, exporter: str) -> str | None:
    """Why ``runtime`` may not load files of ``exporter``; None where it may. Newer runtimes read
    older files.
    """
    if runtime.name == _NPM_NAME:
        if exporter.startswith(tuple(f"{tested}." for tested in _COMMUNITY_MEETS)):
            return None
        return (
            f"{_NPM_NAME} {_NPM_VERSION} was tried with files of ExecuTorch"
            f" {', '.join(_COMMUNITY_MEETS)} only"
        )
    if runtime.executorch is None:
        return None
    have, need = _numbers(runtime.executorch)[:2], _numbers(exporter)[:2]
    if have < need:
        return (
            f"a runtime of ExecuTorch {runtime.executorch} is older than the exporter's {exporter}"
        )
    return None


def newest(exporters: Sequence[str]) -> str:
    """The newest of ExecuTorch's versions, whose runtime reads files of the others."""
    return max(exporters, key=_numbers)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version))


def _from_aar(file: Path, name: str, version: str, tools: Toolchain) -> Runtime:
    folder = _unpacked(file)
    manifest = folder / "AndroidManifest.xml"
    least = _min_sdk(manifest) if manifest.is_file() else 0
    if least > MIN_SDK:
        raise UserError(
            f"{file}: needs Android API {least}, the app promises {MIN_SDK}; take another version"
        )
    libraries = _libraries(folder / "jni")
    if not any("libexecutorch.so" in files for files in libraries.values()):
        raise UserError(f"{file}: holds no libexecutorch.so; is it the AAR of {OFFICIAL}?")
    known = version if version != "unknown" else None
    return _with_fbjni(
        name, version, known, folder / "classes.jar", libraries, (), sha256_file(file), tools
    )


def _community(tools: Toolchain) -> Runtime:
    folder = kept_folder(f"android/{_NPM_NAME}-{_NPM_VERSION}", _fetch_community)
    root = folder / "package"
    libraries = _libraries(root / "third-party/android/libs/executorch")
    jar = root / "android/libs/classes.jar"
    return _with_fbjni(
        _NPM_NAME,
        _NPM_VERSION,
        _COMMUNITY_BASE,
        jar,
        libraries,
        _COMMUNITY_NEEDS,
        sha256_tree(root),
        tools,
    )


def _fetch_community(work: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise CannotRunHere(
            f"--aar {COMMUNITY}: npm not found; apt install npm, or take the official runtime"
        )
    run(
        [npm, "pack", f"{_NPM_NAME}@{_NPM_VERSION}", "--pack-destination", work],
        f"npm, fetching {_NPM_NAME}",
        cwd=work,
    )
    package = work / f"{_NPM_NAME}-{_NPM_VERSION}.tgz"
    digest = sha256_file(package)
    if digest != _NPM_SHA256:
        raise UserError(
            f"{_NPM_NAME} {_NPM_VERSION}: the download is not the one that was examined"
            f" (sha256 {digest[:16]}...); do not use it"
        )
    wanted = ["package/android/libs/classes.jar", "package/third-party/android/libs/executorch"]
    run(
        ["tar", "-xzf", package, "--no-same-owner", *wanted],
        f"tar, unpacking {_NPM_NAME}",
        cwd=work,
    )
    package.unlink()


def _with_fbjni(
    name: str,
    version: str,
    executorch: str | None,
    jar: Path,
    libraries: dict[str, dict[str, Path]],
    needs: tuple[str, ...],
    sha256: str,
    tools: Toolchain,
) -> Runtime:
    fbjni = _unpacked(artifact(_FBJNI, tools))
    helpers = _libraries(fbjni / "jni")
    merged = {abi: {**helpers.get(abi, {}), **files} for abi, files in libraries.items()}
    return Runtime(name, version, executorch, (jar, fbjni / "classes.jar"), merged, needs, sha256)


def _unpacked(aar: Path) -> Path:
    def unpack(folder: Path) -> None:
        try:
            with zipfile.ZipFile(aar) as archive:
                archive.extractall(folder)
        except (zipfile.BadZipFile, zlib.error):
            raise UserError(f"{aar}: not an AAR (no whole zip archive); fetch it again") from None

    folder = kept_folder(f"android/{aar.stem}-{sha256_file(aar)[:16]}", unpack)
    if not (folder / "classes.jar").is_file():
        raise UserError(f"{aar}: not an AAR (no classes.jar); check the file")
    return folder


def _libraries(folder: Path) -> dict[str, dict[str, Path]]:
    return {
        abi.name: {file.name: file for file in sorted(abi.glob("*.so"))}
        for abi in sorted(folder.glob("*"))
        if abi.is_dir()
    }


def _min_sdk(manifest: Path) -> int:
    uses = ElementTree.parse(manifest).getroot().find("uses-sdk")
    value = (
        uses.get("{http://schemas.android.com/apk/res/android}minSdkVersion")
        if uses is not None
        else None
    )
    return int(value) if value and value.isdigit() else 0
