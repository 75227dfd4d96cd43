"""What a shared library says of itself, read from files that nobody vouches for."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilekd.runners import elf, runtimes
from mobilekd.runners.native import build
from mobilekd.support.errors import UserError

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="macOS has libraries of another format"
)
#: Where a 64-bit file says its processor.
MACHINE = 18


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """Two functions and a libc, compiled here."""
    folder = tmp_path_factory.mktemp("elf")
    source = folder / "two.c"
    source.write_text('#include <stdio.h>\nint one(void) { return puts("1"); }\nint two;\n')
    compiler = shutil.which("gcc") or shutil.which("cc") or "g++"
    line = [compiler, "-shared", "-fPIC", source, "-o", folder / "libtwo.so"]
    subprocess.run(line, check=True)
    return folder / "libtwo.so"


def changed(library: Path, place: Path, edit) -> Path:
    data = bytearray(library.read_bytes())
    edit(data)
    place.write_bytes(data)
    return place


def for_arm(data: bytearray) -> None:
    data[MACHINE : MACHINE + 2] = struct.pack("<H", 183)


def test_it_says_what_it_offers_needs_and_is_for(library):
    found = elf.read(library)
    assert {"one", "two"} <= found.offers
    assert "puts" not in found.offers
    assert any(name.startswith("libc.so.") for name in found.needs)
    assert not found.android
    assert found.abi == {"x86_64": "x86_64", "aarch64": "arm64-v8a"}[build.machine()]


def test_a_damaged_file_is_said_to_be_one_or_read(library, tmp_path):
    """Any byte of the tables may be anything."""
    random = np.random.default_rng(0)
    whole = library.read_bytes()
    damaged = 0
    for _ in range(300):

        def flip(data: bytearray) -> None:
            where = (0, 64) if random.random() < 0.5 else (len(data) - 2500, len(data))
            data[int(random.integers(*where))] = int(random.integers(256))

        place = changed(library, tmp_path / "damaged.so", flip)
        try:
            elf.read(place)
        except ValueError:
            damaged += 1
    assert damaged > 20
    for length in range(0, len(whole), 997):
        cut = tmp_path / "cut.so"
        cut.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="shared library"):
            elf.read(cut)


def test_what_cannot_run_on_a_phone_is_refused_with_what_to_name(library, tmp_path):
    other = changed(library, tmp_path / "x86.so", lambda data: data.__setitem__(MACHINE, 3))
    arm = changed(library, tmp_path / "arm.so", for_arm)
    text = tmp_path / "text.so"
    text.write_text("no library")
    for path, words in {
        other: "is for x86, and the phone needs arm64-v8a",
        arm: "has none of OrtGetApiBase, LiteRtCreateModelFromFd",
        text: "not a shared library",
        tmp_path / "none.so": "missing or not readable",
        changed(arm, tmp_path / "cut.so", lambda data: data.__delitem__(slice(500, None))): (
            "a damaged shared library"
        ),
    }.items():
        with pytest.raises(UserError) as caught:
            runtimes.named_library(path)
        line = str(caught.value)
        assert "\n" not in line
        assert line.startswith(f"--runtime-library {path}: ")
        assert words in line
        assert "com.microsoft.onnxruntime:onnxruntime-android" in line
        assert "jni/arm64-v8a/libLiteRt.so" in line
        assert "com.google.ai.edge.litert:litert" in line
