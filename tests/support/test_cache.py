"""Parts of the cache are checked whenever they are used; what killed processes left is removed."""

import os
import signal
import subprocess
import sys

import pytest

from mobilekd.support import cache
from mobilekd.support.errors import UserError
from mobilekd.support.files import cache_folder


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILEKD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def said(monkeypatch):
    """What is told to the user."""
    lines = []
    monkeypatch.setattr(cache, "say", lines.append)
    return lines


class Part:
    """A folder of two files, and how often it was made."""

    def __init__(self):
        self.made = 0

    def fill(self, folder):
        self.made += 1
        (folder / "inner").mkdir()
        (folder / "inner/classes.dex").write_bytes(bytes(range(256)))
        (folder / "list.txt").write_text("a")

    def get(self):
        return cache.kept_folder("android/part", self.fill)


def test_a_part_is_made_once(said):
    part = Part()
    assert part.get() == part.get()
    assert part.made == 1
    assert (part.get() / "inner/classes.dex").read_bytes() == bytes(range(256))
    assert said == []


def flip(file, place=100):
    data = bytearray(file.read_bytes())
    data[place % len(data)] ^= 1
    file.write_bytes(data)


DAMAGES = {
    "a flipped bit": (lambda at: flip(at / "inner/classes.dex"), "inner/classes.dex differs"),
    "one in the other file": (lambda at: flip(at / "list.txt"), "list.txt differs"),
    "a missing file": (lambda at: (at / "list.txt").unlink(), "list.txt differs"),
    "a file too many": (lambda at: (at / "evil.so").write_text(""), "evil.so differs"),
    "two": (
        lambda at: (flip(at / "list.txt"), flip(at / "inner/classes.dex")),
        "inner/classes.dex differs and 1 more",
    ),
    "no hashes": (
        lambda at: at.with_name("part.sha256.json").unlink(),
        "its hashes are missing",
    ),
    "broken hashes": (
        lambda at: at.with_name("part.sha256.json").write_text("{"),
        "its hashes cannot be read",
    ),
    "hashes of another kind": (
        lambda at: at.with_name("part.sha256.json").write_text("[1]"),
        "its hashes cannot be read",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_part_is_made_again_and_that_is_said(said, name):
    damage, words = DAMAGES[name]
    part = Part()
    damage(part.get())
    place = part.get()
    assert part.made == 2
    (line,) = said
    assert line == f"cache: {place} is not as it was made ({words}); making it again"
    assert (place / "inner/classes.dex").read_bytes() == bytes(range(256))
    assert not (place / "evil.so").exists()
    part.get()
    assert part.made == 2


def test_every_bit_of_the_hashes_counts(said):
    """A record that was damaged cannot vouch for a damaged part."""
    part = Part()
    record = part.get().with_name("part.sha256.json")
    for place in range(0, record.stat().st_size, 7):
        flip(record, place)
        flip(part.get() / "list.txt")
        assert (part.get() / "list.txt").read_text() == "a"


def test_what_cannot_be_made_again_leaves_everything(said):
    part = Part()
    flip(part.get() / "list.txt")

    def fail(folder):
        (folder / "half").write_text("")
        raise UserError("no network")

    with pytest.raises(UserError, match="no network"):
        cache.kept_folder("android/part", fail)
    names = sorted(path.name for path in cache_folder().rglob("*"))
    assert "half" not in names
    assert not [name for name in names if name.startswith(".work")]
    part.get()
    assert part.made == 2


def test_a_single_file_is_a_part_too(said):
    made = []

    def make(place):
        made.append(place)
        place.write_text("key")

    file = cache.kept_file("debug.p12", make)
    assert cache.kept_file("debug.p12", make) == file
    flip(file)
    assert cache.kept_file("debug.p12", make).read_text() == "key"
    assert len(made) == 2


def test_a_key_that_changed_is_refused_and_not_made_again(said):
    """Phones keep an app's key in mind: another one in its place would go unsaid."""
    file = cache.kept_file("key.p12", lambda place: place.write_text("key"), once="put it back")
    flip(file)
    changed = file.read_bytes()
    with pytest.raises(UserError, match=r"key\.p12: is not as it was made \(.+\); put it back"):
        cache.kept_file("key.p12", lambda place: place.write_text("new"), once="put it back")
    assert file.read_bytes() == changed
    file.unlink()
    made = cache.kept_file("key.p12", lambda place: place.write_text("new"), once="put it back")
    assert made.read_text() == "new"


def test_an_earlier_versions_part_can_be_adopted(said):
    file = cache_folder() / "debug.p12"
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    cache.adopt("debug.p12")
    assert cache.kept_file("debug.p12", lambda place: place.write_text("other")) == file
    assert file.read_text() == "mine"


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=r"^cache .*: cannot be made \(.*MOBILEKD_CACHE") as caught:
        Part().get()
    assert "\n" not in str(caught.value)


HOLD = """
import sys, time
from pathlib import Path
from mobilekd.support.cache import scratch
with scratch(Path(sys.argv[1]) / "my.apk") as work:
    (work / "half").write_text("")
    print(work, flush=True)
    time.sleep(1000)
"""


def test_a_killed_process_s_folder_goes_with_the_next_start_and_a_living_one_s_stays(
    tmp_path,
):
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    dead, living = ((holder, holder.stdout.readline().strip()) for holder in holders)
    try:
        dead[0].send_signal(signal.SIGKILL)
        dead[0].wait()
        with cache.scratch(tmp_path / "other.apk"):
            assert os.path.exists(dead[1])
        with cache.scratch(tmp_path / "my.apk") as work:
            assert work.is_dir()
            assert not os.path.exists(dead[1])
            assert os.path.exists(living[1])
    finally:
        living[0].kill()
        living[0].wait()
    with cache.scratch(tmp_path / "my.apk"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_cache_s_own_work_is_cleared():
    place = cache_folder() / ".work.partial.abcd1234"
    place.mkdir(parents=True, exist_ok=True)
    cache.clear_work()
    assert not place.exists()


BUILD = """
import sys, time
from mobilekd.support.cache import kept_folder
def fill(folder):
    print("made", flush=True)
    time.sleep(1)
    (folder / "a").write_text("")
kept_folder("slow", fill)
"""


def test_two_processes_make_a_part_once():
    both = [
        subprocess.Popen([sys.executable, "-c", BUILD], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert "".join(process.communicate()[0] for process in both) == "made\n"
    assert all(process.returncode == 0 for process in both)
