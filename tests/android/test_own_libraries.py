"""A user's own libraries in the APK: which are taken, which are refused in one line. No tools."""

import zipfile
from pathlib import Path

import pytest
from own_libraries import library, qualcomm

from mobilekd.android.elf import ARM64, HEXAGON
from mobilekd.android.runtime import Runtime, with_libraries
from mobilekd.support.errors import UserError


@pytest.fixture
def chosen(tmp_path) -> Runtime:
    theirs = tmp_path / "libexecutorch.so"
    theirs.write_bytes(library(ARM64))
    libraries = {"arm64-v8a": {theirs.name: theirs}, "x86_64": {theirs.name: theirs}}
    return Runtime("runtime", "1.5.1", "1.5.1", (), libraries, (), "0" * 64)


def test_they_lie_beside_the_runtime_s(chosen, tmp_path):
    made = with_libraries(chosen, qualcomm(tmp_path / "own"))
    assert sorted(made.libraries["arm64-v8a"]) == [
        "libQnnHtp.so",
        "libQnnHtpV75Skel.so",
        "libexecutorch.so",
    ]
    assert made.libraries["x86_64"] == chosen.libraries["x86_64"]
    assert made.sha256 != chosen.sha256
    assert sorted(made.facts()["libraries"]) == ["libQnnHtp.so", "libQnnHtpV75Skel.so"]
    assert "libraries" not in chosen.facts()


def test_an_aar_gives_those_for_arm64(chosen, tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILEKD_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "qnn-runtime.aar", "w") as archive:
        archive.writestr("classes.jar", b"")
        archive.writestr("jni/arm64-v8a/libQnnSystem.so", library(ARM64))
    made = with_libraries(chosen, tmp_path / "qnn-runtime.aar")
    assert list(made.own) == ["libQnnSystem.so"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no .so file"),
        ({"libA.so": b"text"}, "libA.so is neither for arm64 nor for Hexagon"),
        ({"libA.so": library(62)}, "libA.so is neither for arm64 nor for Hexagon"),
        ({"libA.so": library(ARM64, 4096)}, "libA.so is aligned to 4096 bytes"),
        ({"libexecutorch.so": library(HEXAGON)}, "libexecutorch.so is another one in runtime"),
    ],
)
def test_what_no_phone_could_use_is_refused(chosen, tmp_path, files, words):
    own = tmp_path / "own"
    own.mkdir()
    for name, content in files.items():
        (own / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        with_libraries(chosen, own)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such folder"):
        with_libraries(chosen, Path("nowhere"))
