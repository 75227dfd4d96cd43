"""An unknown word is answered with all that is known, and with a guess only where one is near."""

from pathlib import Path

import pytest

from mobilekd.support.errors import UserError
from mobilekd.support.files import cache_folder
from mobilekd.support.words import MOST, choices, names_by_file, nearest, unknown

BACKENDS = ("coreml", "coreml-pte", "portable", "vulkan", "xnnpack")


@pytest.mark.parametrize(
    ("word", "known", "guess"),
    [
        ("nope", BACKENDS, None),
        ("", BACKENDS, None),
        ("tensorflow", BACKENDS, None),
        ("xnpack", BACKENDS, "xnnpack"),
        ("XNNPACK", BACKENDS, "xnnpack"),
        ("Core-ML", BACKENDS, "coreml"),
        ("coreml_pte", BACKENDS, "coreml-pte"),
        ("vulcan", BACKENDS, "vulkan"),
        ("ham1000", ("demo", "ham10000", "several-teachers"), "ham10000"),
        ("HAM10000", ("demo", "ham10000"), "ham10000"),
        ("NV", ("mel", "nv"), "nv"),
        ("cat", ("mel", "nv"), None),
        ("int4", ("fp32", "int8"), "int8"),
        ("anything", (), None),
    ],
)
def test_a_guess_is_made_only_when_it_is_near(word: str, known: tuple[str, ...], guess: str | None):
    assert nearest(word, known) == guess
    line = unknown(f"--backend {word}", word, known)
    assert line.startswith(f"--backend {word}: unknown; ")
    assert ("did you mean" in line) is (guess is not None)
    assert all(one in line for one in known)


def test_of_many_words_the_nearest_are_listed():
    many = [f"layer.{index}" for index in range(MOST + 1)]
    assert choices("layer.7x", many).startswith("did you mean layer.7? 41 are known, the nearest: ")
    assert "did you mean" not in choices("head", many)
    assert len(choices("head", many)) < 100


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MOBILEKD_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / "home" / ".cache" / "mobilekd"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert cache_folder() == tmp_path / "shared" / "mobilekd"
    monkeypatch.setenv("MOBILEKD_CACHE", "~/own")
    assert cache_folder() == tmp_path / "home" / "own"
    assert cache_folder().is_dir()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOBILEKD_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(UserError, match=r"file/below: cannot be made .*MOBILEKD_CACHE"):
        cache_folder()


def test_a_file_that_begins_with_an_underscore_is_no_name(tmp_path):
    for name in ("__init__.py", "_shared.py", "base.py", "core_ml.py", "xnn.py", "notes.txt"):
        (tmp_path / name).touch()
    assert names_by_file(tmp_path) == ["core-ml", "xnn"]
