"""Android's libraries in a desktop JVM: a glibc with the face of bionic, built from
android_demo/host_jvm (test use only).

The runtime's libraries import symbols of bionic's libc, versioned ``NAME@LIBC``. A shared library
of that name forwards each to glibc's function of the same name by a tail jump; where the two
differ, ``shim.c`` has the function by hand.
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from android_fixtures import JVM, beside_android, compiled_tests

from mobilekd.android.compile import app_classes
from mobilekd.android.maven import classpath
from mobilekd.android.runtime import Runtime
from mobilekd.android.sources import demo_sources
from mobilekd.android.toolchain import Toolchain, run
from mobilekd.support.errors import UserError

ABIS = {"x86_64": "x86_64", "aarch64": "arm64-v8a"}
COMPILERS = {"x86_64": "gcc", "aarch64": "aarch64-linux-gnu-gcc"}
JUMPS = {
    "x86_64": "jmp *{0}@GOTPCREL(%rip)",
    "aarch64": "adrp x16, :got:{0}; ldr x16, [x16, :got_lo12:{0}]; br x16",
}

#: The processor that arm64 is emulated as; the community build needs Armv8.1 or newer.
EMULATED = "neoverse-n1"


@dataclass(frozen=True)
class HostJvm:
    """A JVM that can load the runtime of one architecture."""

    prefix: tuple[str, ...]
    libraries: Path
    classes: tuple[Path, ...]

    def run(self, command: str, *files: Path) -> Any:
        """One command of EngineCheck.kt in a fresh JVM; its answer is the last line of standard
        output.
        """
        words = [
            *self.prefix,
            *JVM,
            f"-Djava.library.path={self.libraries}",
            "-cp",
            os.pathsep.join(map(str, self.classes)),
        ]
        words += [
            "org.mobilekd.demo.host.EngineCheckKt",
            str(self.libraries),
            command,
            *map(str, files),
        ]
        environment = beside_android(self.libraries)
        if len(self.prefix) > 1:  # the emulator is told its own way
            del environment["LD_LIBRARY_PATH"]
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=900, env=environment
        )
        assert done.returncode == 0, (
            f"exit code {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}"
        )
        return json.loads(done.stdout.strip().splitlines()[-1])


def host_jvm(architecture: str, tools: Toolchain, chosen: Runtime, work: Path) -> HostJvm:
    """Build the shim for ``architecture`` beside unmodified copies of the runtime's libraries."""
    libraries = build_shim(architecture, chosen, work)
    log = work / "log"
    log.mkdir()
    run(
        [tools.javac, "-nowarn", "-d", log, demo_sources() / "host_jvm/java/android/util/Log.java"],
        "javac, compiling Log",
    )
    classes = [
        log,
        compiled_tests(tools, chosen) / "classes",
        app_classes(chosen, "0.1.0", tools) / "classes",
    ]
    classes += [*classpath("app", tools), *chosen.jars]
    prefix = (tools.java,) if architecture == "x86_64" else emulated_java(libraries, work)
    return HostJvm(prefix, libraries, tuple(classes))


def build_shim(architecture: str, chosen: Runtime, work: Path) -> Path:
    """libc.so, libm.so, libdl.so, liblog.so and libandroid.so for the libraries of ``chosen``,
    which lie beside them.
    """
    if shutil.which(COMPILERS[architecture]) is None:
        pytest.skip(f"not run: {COMPILERS[architecture]} missing; a machine with it runs this")
    source = demo_sources() / "host_jvm"
    libraries = work / "libraries"
    libraries.mkdir()
    bionic = list(chosen.libraries[ABIS[architecture]].values())
    for library in bionic:
        shutil.copyfile(library, libraries / library.name)
    hand = [source / "shim.c", source / f"shim_{architecture}.c"]
    (work / "forward.S").write_text(forwards(architecture, hand, bionic))
    (work / "libc.map").write_text("LIBC { }; LIBC_N { } LIBC; SHIM { local: *; };\n")
    (work / "other.map").write_text("LIBC { global: JNI_OnLoad; __android_*; local: *; };\n")
    compiler = [
        COMPILERS[architecture],
        "-O2",
        "-Wall",
        "-fPIC",
        "-shared",
        "-Wl,-z,now",
        "-Wl,-z,defs",
    ]

    def build(name: str, version_map: str, *parts: str | Path) -> None:
        words = [
            *compiler,
            f"-Wl,--version-script={work / version_map}",
            f"-Wl,-soname,{name}",
            "-o",
            libraries / name,
            *parts,
        ]
        run(words, f"the C compiler, building {name}")

    build("libc.so", "libc.map", *hand, work / "forward.S", "-l:libm.so.6")
    build("libdl.so", "other.map", source / "load.c")
    build("liblog.so", "other.map", source / "log.c")
    for name in ("libm.so", "libandroid.so"):
        build(name, "other.map", "-x", "c", os.devnull)
    return libraries


def forwards(architecture: str, hand: list[Path], libraries: list[Path]) -> str:
    """Assembler: one tail jump per imported libc symbol that is not written by hand."""
    written = {"__write_chk"}.union(
        *(re.findall(r"\bB\((\w+)\)", file.read_text()) for file in hand)
    )
    wanted = set()
    for library in libraries:
        listed = subprocess.run(
            ["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True
        ).stdout
        wanted |= set(re.findall(r"(\w+)@LIBC", listed))
    lines = ['.section .note.GNU-stack,"",%progbits', ".text"]
    for name in sorted(wanted - written):
        jump = JUMPS[architecture].format(name)
        lines.append(
            f".globl f_{name}\n.type f_{name},%function\nf_{name}: {jump}\n.size"
            f" f_{name},.-f_{name}\n.symver f_{name},{name}@LIBC"
        )
    return "\n".join(lines) + "\n"


def emulated_java(libraries: Path, work: Path) -> tuple[str, ...]:
    """Debian's arm64 JRE, unpacked into ``work`` and started by a launcher of ours under
    qemu-user.
    """
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("not run: qemu-aarch64 missing; a machine with qemu-user runs this")
    root = fetch_jre(work / "jre")
    home = root / "usr/lib/jvm/java-17-openjdk-arm64"
    launcher = home / "bin/mobilekd-java"
    words = [
        COMPILERS["aarch64"],
        "-O1",
        "-o",
        launcher,
        demo_sources() / "host_jvm/launcher_aarch64.c",
        f"-L{home}/lib",
        "-ljli",
    ]
    run(
        [*words, f"-Wl,-rpath,{home}/lib", "-Wl,--unresolved-symbols=ignore-in-shared-libs"],
        "the C compiler, building a launcher",
    )
    paths = [libraries, root / "lib/aarch64-linux-gnu", root / "usr/lib/aarch64-linux-gnu"]
    return (
        "qemu-aarch64",
        "-cpu",
        EMULATED,
        "-L",
        str(root),
        "-E",
        f"LD_LIBRARY_PATH={os.pathsep.join(map(str, paths))}",
        str(launcher),
    )


def fetch_jre(folder: Path) -> Path:
    """Unpack arm64 packages with apt's own download; nothing is installed and no architecture is
    added.
    """
    state, packages, root = folder / "apt", folder / "packages", folder / "root"
    for place in (state / "lists/partial", folder / "cache/archives/partial", packages, root):
        place.mkdir(parents=True)
    (state / "status").write_text("")
    given = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    options = [part for key, value in given.items() for part in ("-o", f"{key}={value}")]
    try:
        run(["apt-get", *options, "-qq", "update"], "apt")
        wanted = ["openjdk-17-jre-headless", "libc6", "zlib1g", "libstdc++6", "libgcc-s1"]
        run(["apt-get", *options, "-qq", "download", *wanted], "apt", cwd=packages)
    except UserError as error:
        pytest.skip(f"not run: {error}; a Debian machine that reaches its mirror runs this")
    for package in packages.glob("*.deb"):
        run(["dpkg-deb", "-x", package, root], "dpkg-deb")
    for link in [
        path for path in root.rglob("*") if path.is_symlink() and os.readlink(path).startswith("/")
    ]:
        target = os.readlink(link)  # an absolute one would lead to this machine's own files
        link.unlink()
        link.symlink_to(f"{root}{target}")
    return root
