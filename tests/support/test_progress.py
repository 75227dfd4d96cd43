"""Progress: a bar where there is one, plain lines elsewhere."""

import sys

import pytest

from mobilekd.support.progress import track


@pytest.mark.parametrize("installed", [True, False])
def test_a_terminal_without_a_bar_gets_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], installed: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    if not installed:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    assert list(track(range(3), "counting", every=-1.0)) == [0, 1, 2]
    assert ("counting: 3 of 3" in capsys.readouterr().err) is not installed
