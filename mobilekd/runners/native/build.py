"""Build the C++ runner against the ExecuTorch wheel: a folder with the programs and every library
they need.

The folder is called a bundle. For arm64 it brings its own loader and C library, so it depends on
nothing of the phone's or the emulator's. Bundles are cached by a hash over sources, wheel, compiler
and flags; the same inputs give the same bytes.
"""

import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilekd.runners.native import android, wheels
from mobilekd.support.cache import kept_folder
from mobilekd.support.errors import CannotRunHere
from mobilekd.support.files import sha256_file, write_json
from mobilekd.support.process import run_bounded
from mobilekd.support.progress import say

SOURCES = Path(__file__).resolve().parent
#: The program that has ExecuTorch in it, and the one that opens another runtime's library.
PROGRAM, LIBRARY_PROGRAM = "mobilekd-runner", "mobilekd-runner-library"
#: What of the sources a program is made of.
PROTOCOL = ("main.cpp", "measure.cpp", "system.cpp")
LIBRARIES = (*PROTOCOL, "model_library.cpp", "model_onnx.cpp", "model_litert.cpp")
PROGRAMS = {PROGRAM: (*PROTOCOL, "model_executorch.cpp"), LIBRARY_PROGRAM: LIBRARIES}
LOADER = "ld-linux-aarch64.so.1"
# Registration-only libraries export nothing the program names; without --no-as-needed the linker
# drops them.
COMPONENTS = (
    "executorch",
    "executorch_kernels_optimized",
    "executorch_kernels_quantized",
    "executorch_backend_xnnpack",
    "executorch_threadpool",
    "executorch_etdump",
)
C_LIBRARIES = (
    LOADER,
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
    "libgcc_s.so.1",
)
# What the wheel's own CMake config hands to its consumers
# (lib/cmake/executorch/executorch-config.cmake).
FLAGS = (
    "-std=c++17",
    "-O2",
    "-Wall",
    "-Wextra",
    "-DC10_USING_CUSTOM_GENERATED_MACROS",
    "-DET_EVENT_TRACER_ENABLED",
    "-DET_USE_THREADPOOL",
)
INSTALL = "apt-get install g++-aarch64-linux-gnu qemu-user"
COMPILE = 600.0


@dataclass(frozen=True)
class Toolchain:
    """A compiler for one processor, and the unpacked ExecuTorch wheel for it."""

    arch: str  # aarch64 or x86_64
    compiler: str
    wheel: Path  # the folder that holds include/ and lib/
    portable: bool  # bring loader and C library along

    def describe(self) -> str:
        """The compiler's first line of ``--version``."""
        answer = subprocess.run(
            [self.compiler, "--version"], capture_output=True, text=True, check=True
        )
        return answer.stdout.splitlines()[0]

    def library(self, name: str) -> Path:
        """A library of the compiler's own sysroot."""
        answer = subprocess.run(
            [self.compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        )
        path = Path(answer.stdout.strip())
        if not path.is_absolute():
            raise CannotRunHere(f"{name}: {self.compiler} has none to bundle; {INSTALL}")
        return path.resolve()


def machine() -> str:
    """This machine's processor, in Linux's word for it."""
    return {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())


def host_bundle() -> Path:
    """The runner for this machine; its C library is the system's."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise CannotRunHere(
            "runner: no C++ compiler here to build it; apt-get install g++ (macOS: xcode-select"
            " --install)"
        )
    return _bundle(Toolchain(machine(), compiler, _installed_wheel(), portable=False))


def arm_bundle() -> Path:
    """The self-sufficient runner for arm64 Linux and Android."""
    if sys.platform != "linux":
        raise CannotRunHere(
            "arm64 runner: it is built on Linux only; run this command there (a container will do),"
            " or use --via app"
        )
    native = machine() == "aarch64"
    compiler = shutil.which("g++" if native else "aarch64-linux-gnu-g++")
    if compiler is None:
        raise CannotRunHere(f"arm64 runner: no aarch64-linux-gnu-g++ here to build it; {INSTALL}")
    installed = native and importlib.util.find_spec("executorch") is not None
    wheel = _installed_wheel() if installed else arm_wheel()
    return _bundle(Toolchain("aarch64", compiler, wheel, portable=True))


def executorch_version() -> str:
    """ExecuTorch's release that is installed, else the one that a phone is measured with."""
    return wheels.release("executorch")


def _installed_wheel() -> Path:
    spec = importlib.util.find_spec("executorch")
    if spec is None:
        raise CannotRunHere(
            "runner: the executorch package is not installed; pip install 'executorch>=1.5,<1.6'"
        )
    places = list(spec.submodule_search_locations or ())
    if not places or not (Path(places[0]) / "include").is_dir():
        raise CannotRunHere(
            "runner: the installed executorch carries no C++ headers; pip install"
            " 'executorch>=1.5,<1.6'"
        )
    return Path(places[0])


def arm_wheel() -> Path:
    """Headers and libraries of the aarch64 wheel of the installed version, fetched once by pip."""
    unpacked = wheels.arm_wheel("executorch", executorch_version(), _of_use, "18 MB")
    return unpacked / "executorch"


def _of_use(name: str) -> bool:
    return name.startswith(("executorch/lib/lib", "executorch/include/"))


def _shared(wheel: Path, component: str) -> Path:
    suffix = "dylib" if sys.platform == "darwin" else "so"
    return wheel / "lib" / f"lib{component}.{suffix}"


def _link_flags(toolchain: Toolchain, name: str) -> list[str]:
    """ExecuTorch for the program that has it inside, and nothing of it for the other."""
    libraries = [f"-l{component}" for component in COMPONENTS] if name == PROGRAM else ["-ldl"]
    places = [f"-L{toolchain.wheel / 'lib'}"] if name == PROGRAM else []
    if sys.platform == "darwin":
        return [*places, *libraries, "-Wl,-rpath,@loader_path"]
    # 16 kB pages are the largest a phone has; --build-id hashes the content, so it is reproducible.
    return [
        *places,
        "-s",
        "-Wl,--no-as-needed",
        *libraries,
        "-Wl,-rpath,$ORIGIN",
        "-Wl,-z,max-page-size=16384",
        "-Wl,--build-id=sha1",
    ]


def _bundle(toolchain: Toolchain) -> Path:
    total = hashlib.sha256()
    scripts = [Path(__file__), Path(android.__file__)]
    for file in [*sorted(SOURCES.glob("*.cpp")), *sorted(SOURCES.glob("*.h")), *scripts]:
        total.update(f"{file.name} {sha256_file(file)}\n".encode())
    for component in COMPONENTS:
        total.update(f"{component} {sha256_file(_shared(toolchain.wheel, component))}\n".encode())
    total.update(f"{toolchain.arch} {toolchain.describe()} {toolchain.portable}".encode())
    kind = "portable-" if toolchain.portable else ""

    def build(folder: Path) -> None:
        say(f"building the {toolchain.arch} runner (once, about 15 s)")
        # this machine runs other runtimes' files by their Python packages
        for name in PROGRAMS if toolchain.portable else [PROGRAM]:
            _compile(toolchain, name, folder)
        if toolchain.portable:
            sources = ["start_android.cpp", *LIBRARIES]
            android.build(toolchain.compiler, sources, folder / android.PROGRAM, _run)
        _collect(toolchain, folder)

    return kept_folder(f"runner-{toolchain.arch}-{kind}{total.hexdigest()[:16]}", build)


def _compile(toolchain: Toolchain, name: str, folder: Path) -> None:
    include = toolchain.wheel / "include"
    command: list[str | Path] = [toolchain.compiler, *FLAGS]
    command += [f"-ffile-prefix-map={toolchain.wheel}=executorch"]
    command += [
        "-isystem",
        str(include),
        "-isystem",
        str(include / "executorch/runtime/core/portable_type/c10"),
    ]
    # the sources' names are relative, so that no path of this machine gets into the program
    command += [*PROGRAMS[name], "-o", str(folder / name), *_link_flags(toolchain, name)]
    _run(command)


def _run(command: Sequence[str | Path]) -> None:
    """A compiler's command, among the sources."""
    answer = run_bounded(command, timeout=COMPILE, cwd=SOURCES)
    if answer.code != 0:
        lines = answer.stderr.splitlines() or ["no message"]
        errors = [line for line in lines if "error" in line] or lines
        raise CannotRunHere(
            f"runner: {command[0]} fails ({errors[0].strip()}); see that executorch is 1.5 and the"
            " compiler knows C++17"
        )


def _collect(toolchain: Toolchain, folder: Path) -> None:
    """Put the libraries beside the program, with their licences and a list of what is inside."""
    for component in COMPONENTS:
        shutil.copy(_shared(toolchain.wheel, component), folder)
    notices = [_executorch_notice(toolchain.wheel)]
    if toolchain.portable:
        for name in C_LIBRARIES:
            path = toolchain.library(name)
            shutil.copy(path, folder / name)
        notices += [
            _package_notice(toolchain.library(name)) for name in ("libc.so.6", "libstdc++.so.6")
        ]
    (folder / "NOTICES.txt").write_text("\n\n".join(notices), encoding="utf-8")
    hashes = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    description = {
        "arch": toolchain.arch,
        "compiler": toolchain.describe(),
        "executorch": executorch_version(),
        "files": hashes,
    }
    write_json(folder / "bundle.json", description)


def _executorch_notice(wheel: Path) -> str:
    licences = sorted(wheel.parent.glob("executorch-*.dist-info/licenses/LICENSE*"))
    text = (
        licences[0].read_text(encoding="utf-8", errors="replace")
        if licences
        else "BSD 3-Clause; see https://github.com/pytorch/executorch"
    )
    return (
        f"== ExecuTorch {executorch_version()} (with XNNPACK, cpuinfo, pthreadpool"
        f" inside)\n\n{text}"
    )


def _package_notice(library: Path) -> str:
    """The copyright file of the Debian package a library came from; its source is the package of
    the same version.
    """
    owner = (
        subprocess.run(["dpkg", "-S", str(library)], capture_output=True, text=True)
        if shutil.which("dpkg")
        else None
    )
    package = owner.stdout.split(":")[0].strip() if owner and owner.returncode == 0 else ""
    notice = Path("/usr/share/doc") / package / "copyright"
    if not package or not notice.is_file():
        return (
            f"== {library.name}: GNU LGPL 2.1 or later (glibc), or GPL 3 with the GCC runtime"
            " exception (libstdc++, libgcc)"
        )
    text = notice.read_text(encoding="utf-8", errors="replace")
    return (
        f"== {library.name}, from the Debian package {package}; its source is Debian's source"
        f" package of that name\n\n{text}"
    )
