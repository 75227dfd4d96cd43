"""Progress: a bar where there is one, plain lines elsewhere."""

import sys

import pytest

from mobilekd.support.progress import time_left, track


@pytest.mark.parametrize("installed", [True, False])
def test_a_terminal_without_a_bar_gets_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], installed: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    if not installed:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    assert list(track(range(3), "counting", every=-1.0)) == [0, 1, 2]
    assert ("counting: 3 of 3" in capsys.readouterr().err) is not installed


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "about 0 s left"),
        (119, "about 119 s left"),
        (120, "about 2 min left"),
        (7199, "about 120 min left"),
        (9000, "about 2.5 h left"),
    ],
)
def test_time_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert time_left(seconds) == said


def test_the_time_left_counts_what_later_calls_iterate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("mobilekd.support.progress.time.monotonic", lambda: next(clock))
    list(track(range(3), "epoch 1 of 3", every=15.0, after=6))
    assert capsys.readouterr().err.splitlines() == ["epoch 1 of 3: 2 of 3, about 70 s left"]
