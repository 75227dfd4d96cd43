"""Locks: one command in a folder, others told who holds it, the dead forgotten."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mobilekd.support.errors import UserError
from mobilekd.support.lock import lock_file, locked

HOLDER = """
import sys, time
from pathlib import Path
from mobilekd.support.lock import locked
with locked(Path(sys.argv[1]), "distill demo", shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    time.sleep(600)
"""


def holder(folder: Path, kind: str = "alone") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), kind], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_command_is_told_who_works_there(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "demo"
    with holder(folder) as process:
        try:
            for shared in (False, True):
                with pytest.raises(UserError) as refusal, locked(folder, "evaluate", shared=shared):
                    pass
                wanted = (
                    rf"{re.escape(str(folder))}: mobilekd distill demo \(process {process.pid},"
                    r" since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\) is working on it; wait, or end it"
                )
                assert re.fullmatch(wanted, str(refusal.value))
        finally:
            process.kill()


def test_a_killed_holder_is_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with holder(folder) as process:
        process.send_signal(signal.SIGKILL)
    assert lock_file(folder).exists()
    with locked(folder, "distill"):
        (line,) = lock_file(folder).read_text().splitlines()
        assert json.loads(line)["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_readers_go_together_and_keep_writers_out(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with holder(folder, "shared") as process:
        try:
            with locked(folder, "export", shared=True):
                pass
            with pytest.raises(UserError, match=f"process {process.pid}"), locked(folder, "teach"):
                pass
        finally:
            process.kill()
    with locked(folder, "teach"):
        pass


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "runs" / "demo", "teach"):
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="mine"), locked(tmp_path / "demo", "teach"):
        raise ValueError("mine")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_of_rubbish_locks_nobody_out(tmp_path: Path) -> None:
    lock_file(tmp_path / "demo").write_bytes(b"\xff{]\n[1]\n{}\n")
    with locked(tmp_path / "demo", "teach"):
        pass


def test_other_ranks_leave_the_lock_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path / "demo", "distill"):
        monkeypatch.setenv("RANK", "1")
        with locked(tmp_path / "demo", "distill"):
            pass
