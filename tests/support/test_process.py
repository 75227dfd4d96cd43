"""Other programs cannot take more time, memory or life than they are given."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekd.support.process import Growing, OutOfBoundsError, printable, run_bounded


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition) -> bool:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_what_a_program_says_and_its_code():
    done = run_bounded(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=60)
    assert (done.code, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert run_bounded(["sh", "-c", "kill -9 $$"], timeout=60).code == -9


def test_lines_come_as_they_are_printed():
    lines = []
    run_bounded(["printf", r"a\n\377b\n\nlast"], timeout=60, on_line=lines.append)
    assert lines == ["a", "\ufffdb", "", "last"]


@pytest.mark.parametrize("command", ["yes", "yes >&2", "tr '\\0' x </dev/zero"])
def test_a_flood_is_stopped_at_its_limit(command):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(OutOfBoundsError, match=r"^phone: printed more than 4 MiB and was stopped"):
        run_bounded(["sh", "-c", command], timeout=600, limit=4 << 20, who="phone")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    assert grown < 200, f"{grown} MiB more"


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path):
    command = f"sleep 1000 & echo $! >{tmp_path}/pid; wait"
    with pytest.raises(OutOfBoundsError, match=r"^sh: no end after 1 s; it hangs"):
        run_bounded(["sh", "-c", command], timeout=1)
    assert wait_for(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_one_that_closes_its_streams_and_stays_hangs_too():
    with pytest.raises(OutOfBoundsError, match="no end after 1 s"):
        run_bounded(["sh", "-c", "exec >&- 2>&-; sleep 1000"], timeout=1)


def test_a_child_that_keeps_the_streams_open_is_not_waited_for():
    done = run_bounded(["sh", "-c", "sleep 60 & echo $!"], timeout=50)
    assert done.code == 0
    os.kill(int(done.stdout), signal.SIGKILL)


def test_what_on_line_raises_ends_the_program(tmp_path):
    def stop(line):
        raise KeyboardInterrupt

    command = f"echo $$ >{tmp_path}/pid; echo line; sleep 1000"
    with pytest.raises(KeyboardInterrupt):
        run_bounded(["sh", "-c", command], timeout=600, on_line=stop)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_file_that_grows_beyond_its_bound_is_stopped(tmp_path):
    file = tmp_path / "pulled"
    with pytest.raises(OutOfBoundsError, match="wrote more than 1 MiB into one file"):
        run_bounded(["sh", "-c", f"yes >{file}"], timeout=600, growing=Growing(file, 1 << 20))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot end it at once")
def test_a_killed_process_leaves_no_program_behind(tmp_path):
    """Java would go on compiling for minutes."""
    code = (
        "from mobilekd.support.process import run_bounded\n"
        f"run_bounded(['sh', '-c', 'echo $$ >{tmp_path}/pid; exec sleep 1000'], timeout=600)\n"
    )
    mine = subprocess.Popen([sys.executable, "-c", code])
    assert wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    mine.kill()
    mine.wait()
    assert wait_for(lambda: not alive(pid))


def test_a_missing_program_is_named():
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        run_bounded(["no-such-program"], timeout=1)


@given(st.text())
def test_a_foreign_text_is_one_printable_line(text):
    line = printable(text)
    assert line.isprintable()
    assert len(line) <= 200


def test_escapes_show_what_was_there():
    assert printable("a\x1b[31m\u202eb") == "a\\x1b[31m\\u202eb"
    assert printable("x" * 300) == "x" * 197 + "..."
