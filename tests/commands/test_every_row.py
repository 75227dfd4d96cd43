"""Every backend with each of its precisions, asked for a file of the default shipped student in an
empty folder, where no data is: it is decided by what was recorded, or said to be undecided in the
same words wherever the file is shown. What was refused where the data was is refused, and so is
what would have to learn from photographs first.
"""

from pathlib import Path

import pytest

from mobilekd.backends import get, names
from mobilekd.cli import main
from mobilekd.formats.artifact import ARTIFACTS, open_artifact
from mobilekd.formats.gates import NOT_DECIDED
from mobilekd.formats.parity_names import GateId
from mobilekd.formats.runs import DEFAULT_REFERENCE, Run, open_run, references
from mobilekd.lowering.prepare import frozen_key
from mobilekd.lowering.record import read_record, record_key
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json

REFERENCE = f"reference:{DEFAULT_REFERENCE}"
#: An iPhone's, made whenever anything is tested; the others take minutes together.
QUICK = "coreml-fp16"
ROWS = [
    pytest.param(
        name,
        precision,
        id=f"{name}-{precision}",
        marks=() if f"{name}-{precision}" == QUICK else pytest.mark.long,
    )
    for name in names()
    for precision in get(name).precisions
]


class Shown:
    """What the program says, command by command."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        """What it writes, errors and progress included."""
        found = main(list(words))
        told = self.capsys.readouterr()
        assert found == code, told.err
        return told.out + told.err


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return Shown(capsys)


def lines_of(text: str, *words: str) -> list[str]:
    return [line for line in text.splitlines() if all(word in line for word in words)]


@pytest.mark.parametrize(("backend", "precision"), ROWS)
def test_a_row_is_made_where_no_data_is(backend, precision, shown):
    run, key = open_run(REFERENCE), record_key(get(backend), precision)
    record = read_record(run.folder).get(key)
    export = ("export", REFERENCE, "--backend", backend, "--precision", precision)
    if missing := missing_here(backend, precision):
        assert missing in shown(*export, code=2)
        return
    if record is not None and record.refused:
        assert f"refused where the data was ({record.refused})" in shown(*export, code=2)
        return
    if learns(backend, precision) and frozen_key(get(backend), precision) not in kept(run):
        told = shown(*export, code=2)
        assert f"{precision} needs training photographs to calibrate on" in told
        assert "--set data.root=FOLDER" in told
        return
    told = shown(*export)
    [folder] = ARTIFACTS.iterdir()
    manifest = open_artifact(folder).manifest
    assert (manifest.backend, manifest.precision) == (backend, precision)
    assert all(gate.passed for gate in manifest.gates)
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    verified, inspected = shown("verify", str(folder)), shown("inspect", str(folder))
    shown("report", str(folder), "--output", "page.html")
    page = Path("page.md").read_text(encoding="utf-8")
    recorded = [gate for gate in manifest.gates if gate.recorded]
    guarded = any(gate.name.id is GateId.GUARD for gate in manifest.gates)
    decisions = [lines_of(text, ", decisions")[0] for text in (card, inspected, page)]
    if record is None:
        assert recorded == []
        assert manifest.accuracy == {}
        assert manifest.notes[0] == manifest.open_decisions[0]
        assert manifest.open_decisions[0].startswith(NOT_DECIDED)
        for text in (told, verified, *decisions):
            assert manifest.open_decisions[0] in text
        return
    assert manifest.open_decisions == ()
    assert [gate.model_copy(update={"recorded": False}) for gate in recorded] == [
        gate for gate in record.gates if guarded or gate.name.id is not GateId.GUARD_AGREEMENT
    ]
    assert manifest.accuracy == record.accuracy
    for line in decisions:
        assert "recorded" in line
    for gate in recorded:
        for text in (told, inspected, page):
            assert lines_of(text, gate.name.title, gate.measured, "recorded"), text
    assert f"{len(recorded)} of them recorded" in verified
    assert NOT_DECIDED not in told + verified + inspected + card


def missing_here(backend: str, precision: str) -> str:
    """Why this machine cannot lower so, in the backend's words; empty where it can."""
    try:
        get(backend).refuse_missing(precision)
    except UserError as reason:
        return str(reason)
    return ""


def learns(backend: str, precision: str) -> bool:
    """Whether a precision's ranges come from photographs."""
    return precision not in ("fp32", "fp16") and get(backend).weights_in(precision) is None


def kept(run: Run) -> dict[str, object]:
    """What a shipped student has learnt from photographs, by its key."""
    found = read_json(run.folder / "quantization.json", "parameters")
    assert isinstance(found, dict)
    return found


def test_no_record_is_of_a_row_that_there_is_not():
    rows = {record_key(get(name), one) for name in names() for one in get(name).precisions}
    for name in references():
        assert set(read_record(open_run(f"reference:{name}").folder)) <= rows


def test_no_parameters_are_kept_for_a_row_that_there_is_not():
    keys = {frozen_key(get(name), one) for name in names() for one in get(name).precisions}
    for name in references():
        assert set(kept(open_run(f"reference:{name}"))) <= keys
