"""What a command prints as next runs as it stands, wherever the runs lie."""

import shlex
from pathlib import Path

import pytest
from fixtures.manifest import manifest_of

from mobilekd.cli import commands, main
from mobilekd.formats.artifact import Artifact
from mobilekd.formats.gates import Stage
from mobilekd.formats.parity_names import StageId, StageName
from mobilekd.formats.runs import DEFAULT_REFERENCE, open_run


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


def test_an_iphones_file_says_what_only_a_mac_can_prove(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    reason = "Apple's processors answer on Apple's systems only; ios_export/check_on_mac.py"
    rows = [
        Stage(
            stage=StageName(one),
            against=StageName(StageId.SAVED_FILE),
            verified=False,
            where="",
            reason=reason if one is StageId.CORE_ML else "none that runs here",
        )
        for one in (StageId.LOWERED_GRAPH, StageId.CORE_ML)
    ]
    run = open_run(f"reference:{DEFAULT_REFERENCE}")
    made = Artifact(tmp_path, manifest_of(run, parity=tuple(rows)))
    monkeypatch.setattr("mobilekd.commands.export.export", lambda *_, **__: made)
    assert main(["export", "--backend", "coreml"]) == 0
    said = capfd.readouterr().out.splitlines()
    assert f"not verified here: saved file on Core ML: {reason}" in said
    assert not any("none that runs here" in line for line in said)
