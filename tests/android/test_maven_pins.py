"""What comes from Maven is what was examined, each time it is used."""

import shutil

import pytest

from mobilekd.android import maven
from mobilekd.support.errors import UserError


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILEKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def flipped(jar, folder):
    """A copy of a jar with one other bit."""
    copy = folder / jar.name
    shutil.copy(jar, copy)
    with copy.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([byte ^ 1]))
    return copy


@pytest.mark.parametrize("profile", ["app", "build", "platform", "test"])
def test_every_library_is_pinned(tools, own_cache, profile):
    jars = maven.classpath(profile, tools)
    assert {jar.name for jar in jars} <= maven.pins().keys()


def test_a_damaged_jar_is_fetched_again(tools, own_cache, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(maven, "say", said.append)
    whole = maven.classpath("app", tools)
    damaged = flipped(whole[-1], tmp_path)
    (remembered,) = own_cache.glob("maven/app-*.txt")
    remembered.write_text("".join(f"{jar}\n" for jar in (*whole[:-1], damaged)))
    assert maven.classpath("app", tools) == whole
    assert said == [f"Maven: {damaged} is not the file that was examined; fetching it again"]
    assert not damaged.exists()


def test_another_file_than_the_examined_one_is_refused(tools, own_cache, monkeypatch):
    monkeypatch.setattr(maven, "pins", lambda: {})
    with pytest.raises(UserError, match=r"not the file that was examined \(sha256 \w{16}\.\.\.\)"):
        maven.classpath("app", tools)
    assert list(own_cache.glob("maven/*.txt")) == []


def test_a_single_file_is_compared_with_its_pin(tools, own_cache, monkeypatch):
    coordinates = "com.facebook.fbjni:fbjni:0.7.0:aar"
    known = maven.pins()
    monkeypatch.setattr(maven, "pins", lambda: known | {"fbjni-0.7.0.aar": "0" * 64})
    with pytest.raises(UserError, match=r"fbjni-0.7.0.aar: not the file that was examined"):
        maven.artifact(coordinates, tools)
    assert not (own_cache / "maven/files/fbjni-0.7.0.aar").exists()
    monkeypatch.setattr(maven, "pins", lambda: known)
    assert maven.artifact(coordinates, tools).is_file()
