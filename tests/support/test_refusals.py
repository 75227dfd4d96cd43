"""One line and an exit code for every error: the user's mistakes with 2, ours with 1."""

import errno
import re
import subprocess
from pathlib import Path

import pytest

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
