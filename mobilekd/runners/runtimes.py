"""Runtimes that come as a library of their own: which files they run, and which library is taken to
an Arm processor.

On emulated processors, and on phones where nobody names another, that is the library of the
package for arm64 Linux, whose C library the runner brings along as it does for ExecuTorch's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilekd.runners import elf
from mobilekd.runners.native import android, build, wheels
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_file
from mobilekd.support.progress import say

ABI = "arm64-v8a"


@dataclass(frozen=True)
class Runtime:
    """One of them."""

    name: str
    backend: str  # of its model files
    suffix: str  # of those files
    package: str  # of Python, which has the library for Linux
    inside: str  # how the library's name begins in that package's wheel
    size: str  # of the wheel for arm64
    function: str  # that the runner needs, by which the library is known
    maven: str  # the package that has the library for Android
    library: str  # its name there

    @property
    def where(self) -> str:
        """Where people get the library for Android."""
        return f"jni/{ABI}/{self.library} in the .aar of Maven's {self.maven}"


RUNTIMES = {
    one.suffix: one
    for one in (
        Runtime(
            name="ONNX Runtime",
            backend="onnx",
            suffix=".onnx",
            package="onnxruntime",
            inside="onnxruntime/capi/libonnxruntime.so.",
            size="23 MB",
            function="OrtGetApiBase",
            maven="com.microsoft.onnxruntime:onnxruntime-android",
            library="libonnxruntime.so",
        ),
        Runtime(
            name="LiteRT",
            backend="litert",
            suffix=".tflite",
            package="ai-edge-litert",
            inside="ai_edge_litert/libLiteRt.so",
            size="14 MB",
            # older releases load a model by a function of the same name with other arguments
            function="LiteRtCreateModelFromFd",
            maven="com.google.ai.edge.litert:litert",
            library="libLiteRt.so",
        ),
    )
}


@dataclass(frozen=True)
class Library:
    """A runtime's library for arm64."""

    runtime: Runtime
    path: Path
    version: str  # empty where the library does not tell
    android: bool = False  # built for Android's C library

    @property
    def pushed(self) -> str:
        """What it is called beside the runner."""
        return f"{self.runtime.package}.so"

    def versions(self) -> dict[str, str]:
        """What a measurement records of it: version, name and SHA-256."""
        kind = "Android" if self.android else "arm64 Linux"
        return {
            self.runtime.package: self.version or "not told by its library",
            f"{self.runtime.package} library": f"{self.path.name} for {kind}",
            f"{self.runtime.package} library sha256": sha256_file(self.path),
        }


def of(model: Path) -> Runtime | None:
    """What runs a model file; None is ExecuTorch, which is part of the runner."""
    return RUNTIMES.get(model.suffix)


def program(library: Library | None) -> str:
    """The program of the bundle that runs a model file with its library; None is ExecuTorch."""
    if library is None:
        return build.PROGRAM
    return android.PROGRAM if library.android else build.LIBRARY_PROGRAM


def linux_library(runtime: Runtime) -> Library:
    """That of the package's wheel for arm64 Linux, in the release that is installed here.

    Raises:
        CannotRunHere: pip cannot fetch it.
    """
    release = wheels.release(runtime.package)
    folder = wheels.arm_wheel(
        runtime.package, release, lambda name: name.startswith(runtime.inside), runtime.size
    )
    (path,) = folder.glob(f"{runtime.inside}*")
    return Library(runtime, path, release)


def libraries(models: Iterable[Path], named: Sequence[Path] = ()) -> dict[str, Library]:
    """What the models need, by their suffixes: of ``named``, else of the packages' wheels."""
    found = {library.runtime.suffix: library for library in map(named_library, named)}
    for suffix in sorted({model.suffix for model in models} & RUNTIMES.keys()):
        if suffix not in found:
            found[suffix] = linux_library(RUNTIMES[suffix])
    return found


def named_library(path: Path) -> Library:
    """A library that the user names, where a phone's runner can use it.

    Raises:
        UserError: for another file, another processor's library, or one without what is needed.
    """
    who = f"--runtime-library {path}"
    places = " or ".join(runtime.where for runtime in RUNTIMES.values())
    try:
        library = elf.read(path)
    except OSError:
        raise UserError(f"{who}: missing or not readable; name {places}") from None
    except ValueError as error:
        raise UserError(f"{who}: {error}; name {places}") from None
    if library.abi != ABI:
        raise UserError(f"{who}: is for {library.abi}, and the phone needs {ABI}; name {places}")
    for runtime in RUNTIMES.values():
        if runtime.function in library.offers:
            return Library(runtime, path, _version(library), library.android)
    raise UserError(
        f"{who}: has none of {', '.join(one.function for one in RUNTIMES.values())}, by which the"
        f" runner uses a runtime; take ONNX Runtime 1.4 or LiteRT 2.1.6 or newer: {places}"
    )


def _version(library: elf.SharedLibrary) -> str:
    """ONNX Runtime versions its functions with its release, as ``VERS_1.32.0``; LiteRT does not."""
    told = [text[5:] for text in library.texts if text.startswith("VERS_") and text.count(".") == 2]
    return told[0] if len(told) == 1 else ""


def check(named: Sequence[Path], models: Sequence[Path], device: str, via: str) -> None:
    """Refuse libraries that nothing would use, before anything is measured; say which runs where a
    phone needs one that nobody names.

    Raises:
        UserError: the device is no phone, the way is the app's, no file needs the library, or two
            are of one runtime.
    """
    phone = device.partition(":")[0] == "adb" and via == "shell"
    if named and not phone:
        raise UserError(
            f"--runtime-library {named[0]}: only a phone's runner opens a library that is named,"
            f" and --device {device} --via {via} is none; leave it out"
        )
    used: dict[str, Path] = {}
    for library in map(named_library, named):
        runtime = library.runtime
        if not any(of(model) is runtime for model in models):
            raise UserError(
                f"--runtime-library {library.path}: is {runtime.name}'s, and no artifact here has a"
                f" {runtime.suffix} file; leave it out"
            )
        if runtime.suffix in used:
            raise UserError(
                f"--runtime-library {library.path}: is {runtime.name}'s, as is"
                f" {used[runtime.suffix]}; name one"
            )
        used[runtime.suffix] = library.path
    for runtime in {found for model in models if phone and (found := of(model))}:
        if runtime.suffix not in used:
            say(
                f"bench: {runtime.name} {wheels.release(runtime.package)} for arm64 Linux, of its"
                " Python package; --runtime-library FILE measures the one for Android, which is"
                f" {runtime.where}"
            )
