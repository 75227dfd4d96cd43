"""What a command prints as next runs as it stands, wherever the runs lie."""

import shlex
from pathlib import Path

import pytest

from mobilekd.cli import commands, main


def test_teach_leads_to_the_runs_that_it_was_given(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "their runs"
    small = ["data.count=40", "data.size=32", "data.without_labels=0", "teachers=[]"]
    alone = 'losses=[{name="cross_entropy"}]'
    given = [word for key in (*small, alone) for word in ("--set", key)]
    assert main(["teach", "demo", *given, "--runs", str(runs)]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("next: ")]
    words = shlex.split(line.removeprefix("next: mobilekd "))
    arguments = commands().parse(words)
    assert (arguments.recipe, arguments.runs) == (str(runs / "demo"), runs)
