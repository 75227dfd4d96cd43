"""One line and an exit code for every error: the user's mistakes with 2, ours with 1."""

import errno
import json
import re
import subprocess
from pathlib import Path

import pytest

from mobilekd.cli import main
from mobilekd.support import files
from mobilekd.support.errors import UserError
from mobilekd.support.refusals import told


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("a.toml:\n no such file"), r"a\.toml: no such file"),
        (OSError(errno.ENOSPC, "No space left", "a"), r"a: no space left; free some space .*"),
        (ModuleNotFoundError("x", name="nowhere.part"), r"nowhere is not installed here.*"),
        (MemoryError(), r"not enough memory \(none left\); ask for less: .*"),
        (RuntimeError("CUDA out of memory. Tried"), r"not enough memory \(CUDA out of .*"),
    ],
)
def test_what_the_user_can_mend_is_one_line_with_2(error: Exception, line: str) -> None:
    said, code = told(error, "export")
    assert re.fullmatch(line, said)
    assert code == 2


@pytest.mark.parametrize("error", [KeyError("a"), OSError("of no number"), RuntimeError("x\ny")])
def test_ours_is_one_line_with_1_and_a_traceback(error: Exception) -> None:
    said, code = told(error, "export")
    found = re.fullmatch(rf"unexpected {type(error).__name__}: .*; traceback saved in (\S+)", said)
    assert found
    saved = Path(found[1])
    assert type(error).__name__ in saved.read_text()
    saved.unlink()
    assert code == 1


def test_a_helper_that_failed_is_the_disks_fault_only_where_the_disk_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = subprocess.CalledProcessError(1, ["/somewhere/flatc", "-o"])
    monkeypatch.setattr(files, "LITTLE", 0)
    said, code = told(error, "export")
    assert said.startswith("unexpected CalledProcessError")
    assert code == 1
    Path(said.split()[-1]).unlink()
    monkeypatch.setattr(files, "LITTLE", 1 << 62)
    said, code = told(error, "export")
    assert re.fullmatch(
        r".+: flatc ended with code 1; [\d,.]+ MB are free there: free some .*", said
    )
    assert code == 2


@pytest.mark.parametrize(
    ("command", "text", "wanted"),
    [
        ("calibrate", "calibrate: give photographs", "give photographs"),
        ("apk", "apk --install: adb failed", "--install: adb failed"),
        ("bench", "bench-a/manifest.json: broken", "bench-a/manifest.json: broken"),
        ("report", "reports: no such folder", "reports: no such folder"),
        ("export", "calibrate: give photographs", "calibrate: give photographs"),
    ],
)
def test_a_command_is_not_named_twice(command: str, text: str, wanted: str) -> None:
    assert told(UserError(text), command) == (wanted, 2)


def test_a_path_that_is_called_like_the_command_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "report: no such file"
    assert told(UserError(text), "report", ["report", "report"]) == (text, 2)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report").mkdir()
    assert told(UserError(text), "report", ["report"]) == (text, 2)


def test_the_terminal_names_a_command_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--json"]) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("mobilekd report: no run, artifact or results")
    assert json.loads(said.out)["error"].startswith("no run, artifact or results")
