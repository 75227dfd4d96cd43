"""``.onnx`` and ``.tflite`` files on a phone, by their runtimes' own libraries: interleaved with
each other, by a library that the user names, and every fault of one.
"""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from fixtures.libraries import library_artifact
from test_bench_adb import QUICK, clean, faulted, refused, vanishing

from mobilekd.commands.bench import bench
from mobilekd.commands.report import report
from mobilekd.formats.artifact import open_artifact
from mobilekd.runners import elf, runtimes
from mobilekd.runners.native import build
from mobilekd.support.files import sha256_file

MEASURING = "mobilekd-runner-library measure"
#: As far as a file's probabilities may lie from its source's: the gate's limit.
WITHIN = 0.05
#: A phone is told from an emulator by this property; here it shall count as one.
PHONE = {"ro.kernel.qemu": "0"}

#: What of bionic the runner for Android asks that the C library of the pretend phone lacks.
BIONIC = """
int* __errno_location(void);
void exit(int);
int* __errno(void) { return __errno_location(); }
void __libc_init(void* raw, void (*onexit)(void), int (*program)(int, char**), const void* lists) {
  char** arguments = (char**)raw + 1;
  exit(program(*(long*)raw, arguments));
}
"""
#: The pretend phone's loader: GNU's, which looks for libraries where Android's does.
LINKER = """
static char* words[64];
__attribute__((used)) static void begin(char** stack) {
  words[0] = "/system/lib64/ld-linux-aarch64.so.1";
  words[1] = "--library-path";
  words[2] = "/system/lib64";
  long count = *(long*)stack;
  for (long i = 0; i < count && i < 60; i++) words[3 + i] = stack[1 + i];
  register long call __asm__("x8") = 221;  // execve
  register char* path __asm__("x0") = words[0];
  register char** arguments __asm__("x1") = words;
  register char** environment __asm__("x2") = stack + count + 2;
  __asm__ volatile("svc #0" : "+r"(path) : "r"(call), "r"(arguments), "r"(environment) : "memory");
}
__asm__(".globl _start\\n_start: mov x0, sp\\n bl begin\\n brk #1\\n");
"""
#: A library for the pretend phone's Android: it hands on the one for Linux.
HANDS_ON = """
#include <dlfcn.h>
const void* OrtGetApiBase(void) {
  void* library = dlopen("/system/lib64/linux-onnxruntime.so", RTLD_NOW);
  return ((const void* (*)(void))dlsym(library, "OrtGetApiBase"))();
}
"""


@pytest.fixture(scope="session")
def both(tmp_path_factory):
    """The same network for both runtimes."""
    folder = tmp_path_factory.mktemp("both")
    return [library_artifact(folder / name, name) for name in ("onnx", "litert")]


@pytest.fixture(scope="session")
def ours(tmp_path_factory):
    """The same network for ExecuTorch."""
    return library_artifact(tmp_path_factory.mktemp("ours") / "xnnpack", "xnnpack")


@pytest.fixture
def onnx(both):
    return both[0]


def linux(suffix: str) -> Path:
    return runtimes.linux_library(runtimes.RUNTIMES[suffix]).path


def compiled(text: str, output: Path, *words: str | Path) -> Path:
    """C for the phone's processor, as a library that needs what ``words`` say and nothing else."""
    source = output.with_suffix(".c")
    source.write_text(text)
    line = ["aarch64-linux-gnu-gcc", "-w", "-shared", "-fPIC", "-nostdlib"]
    line += ["-Wl,--no-as-needed", source, *words]
    subprocess.run([*line, "-o", output], check=True)
    output.chmod(0o755)
    return output


def with_pretend_bionic(phone, folder: Path) -> Path:
    """Give the phone a loader and a C library under Android's names, and return a library that is
    built for them. They are GNU's: of bionic itself this proves the names alone.
    """
    system = phone.root / "system"
    (system / "lib64").mkdir()
    for name in build.C_LIBRARIES:
        shutil.copy(build.arm_bundle() / name, system / "lib64")
    compiled(LINKER, system / "bin/linker64", "-Wl,-e,_start")
    gnu = f"-L{system / 'lib64'}"
    made = compiled(BIONIC, system / "lib64/libc.so", gnu, "-l:libc.so.6", "-Wl,-soname,libc.so")
    compiled("", system / "lib64/libdl.so", "-Wl,-soname,libdl.so")
    shutil.copy(linux(".onnx"), system / "lib64/linux-onnxruntime.so")
    library = compiled(HANDS_ON, folder / "libonnxruntime.so", made, gnu, "-l:libc.so.6")
    assert elf.read(library).android
    return library


def test_runtimes_are_interleaved_and_the_report_answers_which(
    connect, both, ours, tmp_path, capsys
):
    """One student's files for three runtimes in one session on one phone; nothing is named, so the
    packages' libraries run. They answer alike, what ran is recorded, and the page sets the three
    side by side.
    """
    phone = connect(PHONE)
    results = tmp_path / "results"
    answers = [open_artifact(folder).golden().probabilities for folder in (*both, ours)]
    assert max(np.abs(one - answers[-1]).max() for one in answers) < WITHIN
    found = bench([*both, ours], device=f"adb:{phone.serial}", output=results, **QUICK)
    said = capsys.readouterr().err
    assert "jni/arm64-v8a/libonnxruntime.so in the .aar of Maven's com.microsoft.onnx" in said
    assert "jni/arm64-v8a/libLiteRt.so in the .aar of Maven's com.google.ai.edge.litert" in said
    assert [one.backend for one in found] == ["onnx", "litert", "xnnpack"]
    assert len({one.session for one in found}) == 1
    orders = [[series.order for series in one.series] for one in found]
    assert sorted(place for order in orders for place in order) == list(
        range(sum(map(len, orders)))
    )
    assert all(max(one[0] for one in orders) < order[1] for order in orders)
    for one in found:
        assert one.golden.passed
        assert len(one.cold) >= 3
        assert one.memory.peak_rss_bytes
        assert one.series[0].threads_in_effect == 1
    for suffix, package in ((".onnx", "onnxruntime"), (".tflite", "ai-edge-litert")):
        assert found[0].versions[package] == runtimes.wheels.release(package)
        assert found[0].versions[f"{package} library sha256"] == sha256_file(linux(suffix))
    report([*both, ours, results], tmp_path / "report.html")
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert page.count("Which runtime for this file? With 1 thread") == 1
    table = page[page.index("The same student, measured in turn") :]
    for runtime, file in (
        ("ExecuTorch (XNNPACK)", "model.pte"),
        ("ONNX Runtime", "model.onnx"),
        ("LiteRT (XNNPACK)", "model.tflite"),
    ):
        (row,) = [line for line in table.splitlines() if line.startswith(f"| {runtime}")]
        assert file in row
    assert "libonnxruntime.so.1" in page
    assert clean(phone)


def test_a_named_library_is_pushed_recorded_and_used(connect, onnx, tmp_path):
    phone = connect()
    named = Path(shutil.copy(linux(".onnx"), tmp_path / "libonnxruntime.so"))
    (measurement,) = bench(
        [onnx], device="adb", output=tmp_path / "r.json", runtime_libraries=[named], **QUICK
    )
    assert measurement.golden.passed
    assert measurement.versions["onnxruntime"] == runtimes.wheels.release("onnxruntime")
    assert measurement.versions["onnxruntime library"] == "libonnxruntime.so for arm64 Linux"
    assert measurement.versions["onnxruntime library sha256"] == sha256_file(named)
    assert clean(phone)


def test_a_library_for_android_is_opened_by_the_program_for_android(connect, onnx, tmp_path):
    phone = connect()
    library = with_pretend_bionic(phone, tmp_path)
    (measurement,) = bench(
        [onnx], device="adb", output=tmp_path / "r.json", runtime_libraries=[library], **QUICK
    )
    assert measurement.golden.passed
    assert measurement.memory.peak_rss_bytes
    assert "for Android" in measurement.versions["onnxruntime library"]
    assert clean(phone)
    (phone.root / "system/bin/linker64").unlink()  # so it is this one that starts it
    line = refused(onnx, tmp_path / "none.json", runtime_libraries=[library])
    assert "/system/bin/linker64" in line
    assert clean(phone)


def test_libraries_that_nothing_would_use_are_refused_before_anything_is_pushed(
    connect, both, artifact, tmp_path
):
    phone = connect()
    onnx, litert = both
    named, again = linux(".onnx"), Path(shutil.copy(linux(".onnx"), tmp_path / "again.so"))
    here = Path(find_spec("onnxruntime").origin).parent / "capi"
    own = next(iter(sorted(here.glob("libonnxruntime.so.*"))), None)
    refusals = [
        (artifact, [named], "is ONNX Runtime's, and no artifact here has a .onnx file"),
        (litert, [named], "is ONNX Runtime's, and no artifact here has a .onnx file"),
        (onnx, [named, again], f"is ONNX Runtime's, as is {named}; name one"),
        (onnx, [build.arm_bundle() / "libm.so.6"], "has none of OrtGetApiBase"),
        (onnx, [onnx / "model.onnx"], "not a shared library"),
        (onnx, [tmp_path / "none.so"], "missing or not readable"),
    ]
    if own is not None and build.machine() != "aarch64":
        refusals.append((onnx, [own], f"is for {build.machine()}, and the phone needs arm64-v8a"))
    for folder, libraries, words in refusals:
        line = refused(folder, tmp_path / "r.json", runtime_libraries=libraries)
        assert line.startswith("--runtime-library ")
        assert words in line
    for device in ("host", "qemu:cortex-a53"):
        line = refused(onnx, tmp_path / "r.json", device=device, runtime_libraries=[named])
        assert f"--device {device} --via shell is none; leave it out" in line
    assert not (tmp_path / "r.json").exists()
    assert clean(phone)


def test_the_command_line_takes_it_and_ends_with_two(connect, onnx, tmp_path):
    """Exit code 2 and one line, as for every mistake of the user's."""
    connect()
    line = [sys.executable, "-P", "-m", "mobilekd", "bench", onnx, "--device", "adb"]
    done = subprocess.run(
        [*line, "--runtime-library", onnx / "manifest.json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "manifest.json: not a shared library; name jni/arm64-v8a/libonnxrun" in done.stderr


FAULTS = {
    "lost in a push": (
        {"drop_push_after": 12_000_000},
        "connection was lost while a file was pushed",
        False,
    ),
    "vanishes while measuring": vanishing(MEASURING),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line_and_leaves_nothing_of_ours(connect, onnx, tmp_path, name):
    faulted(connect, onnx, tmp_path, *FAULTS[name])


def test_all_phones_are_given_the_library(connect, onnx, tmp_path):
    connect()
    connect({"ro.serialno": "PRETEND0002"})
    named = linux(".onnx")
    place = tmp_path / "results"
    found = bench([onnx], device="adb:all", output=place, runtime_libraries=[named], **QUICK)
    assert len({one.device.id for one in found}) == 2
    told = {one.versions["onnxruntime library sha256"] for one in found}
    assert told == {sha256_file(named)}
