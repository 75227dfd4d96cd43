"""What a killed process leaves half written is gone after the next attempt; what it was about to
replace is there again; what a living one writes stays.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mobilekd.support.errors import UserError
from mobilekd.support.files import new_folder, write_text

KILLED = """
import os, signal, sys
from pathlib import Path
from mobilekd.support import files

name, real = sys.argv[2], getattr(os, sys.argv[2])
calls = int(sys.argv[3])

def kill(*arguments, **options):
    global calls
    calls -= 1
    if calls == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)

setattr(os, name, kill)
place = Path(sys.argv[1])
if place.suffix:
    files.write_text(place, "new")
else:
    with files.new_folder(place, replace=True) as folder:
        (folder / "a.txt").write_text("new")
"""


def killed(place: Path, function: str, calls: int = 1) -> None:
    """Write ``place`` in a process that dies before its call number ``calls`` of
    ``os.<function>``.
    """
    done = subprocess.run([sys.executable, "-c", KILLED, str(place), function, str(calls)])
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_file_half_written_by_a_killed_process_goes_with_the_next_attempt(
    tmp_path: Path, function: str
):
    place = tmp_path / "result.json"
    place.write_text("old")
    killed(place, function)
    assert place.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 2
    write_text(place, "whole")
    assert os.listdir(tmp_path) == ["result.json"]


@pytest.mark.parametrize(("function", "calls"), [("fsync", 1), ("rename", 1), ("rename", 2)])
def test_a_folder_half_replaced_by_a_killed_process_is_the_old_one(
    tmp_path: Path, function: str, calls: int
):
    place = tmp_path / "result"
    place.mkdir()
    (place / "a.txt").write_text("old")
    killed(place, function, calls)
    with pytest.raises(UserError, match="exists already"), new_folder(place):
        pass
    assert (place / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["result"]


def test_a_folder_keeps_its_name_when_its_successor_cannot_take_it(tmp_path: Path):
    place = tmp_path / "result"
    place.mkdir()
    (place / "a.txt").write_text("old")
    with (
        pytest.raises(UserError, match="cannot be written"),
        new_folder(place, replace=True) as new,
    ):
        new.rmdir()  # so that the last rename fails
    assert (place / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["result"]


def test_what_a_living_process_writes_stays(tmp_path: Path):
    place = tmp_path / "result"
    with new_folder(place) as first:
        with new_folder(place) as second:
            (second / "a.txt").write_text("second")
        assert first.is_dir()
        assert first != second


def test_a_file_of_the_users_own_is_no_leftover(tmp_path: Path):
    for name in (".result.json.bak", ".result.json.partial", ".result.json.partial.mine"):
        (tmp_path / name).write_text("mine")
    write_text(tmp_path / "result.json", "whole")
    assert len(os.listdir(tmp_path)) == 4
