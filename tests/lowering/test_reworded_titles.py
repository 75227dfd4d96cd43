"""Rewording every title drops no gate: the same stages and gates are recorded, located, refused."""

import json
import shutil
from itertools import count
from types import SimpleNamespace

import pytest
from fixtures.kept import kept
from fixtures.run import exported, run_folder

from mobilekd.commands.export import export
from mobilekd.formats.artifact import open_artifact
from mobilekd.formats.gates import Gate, Stage
from mobilekd.formats.parity_names import GateId, GateName, Part, StageId, StageName, Titled
from mobilekd.lowering import locate, pipeline, request
from mobilekd.lowering.exported import ParityReport
from mobilekd.lowering.freeze import freeze_quantisation
from mobilekd.support.errors import GateError, UserError


@pytest.fixture
def reword(monkeypatch):
    """Gives every stage, part and gate a title that says nothing; one file is lowered for all."""
    monkeypatch.setattr(request, "get", kept)

    def run() -> None:
        numbers = count()
        for kind in Titled.__subclasses__():
            for member in kind:
                monkeypatch.setattr(member, "title", f"title {next(numbers)}")

    return run


def test_recorded_and_read_again_under_other_titles(reword, monkeypatch, tmp_path):
    wanted = open_artifact(exported("fp32")).manifest
    place = tmp_path / "frozen"
    shutil.copytree(run_folder(), place)
    reword()
    freeze_quantisation(place, [("xnnpack", "fp32")])
    (record,) = json.loads((place / "recorded_gates.json").read_text()).values()
    assert [gate["name"] for gate in record["gates"]] == ["agreement", "balanced accuracy"]
    assert [stage["stage"] for stage in record["stages"]] == ["saved file, decisions"]

    def nowhere(*_: object, **__: object) -> None:
        raise UserError("data: no such folder; give it")

    monkeypatch.setattr(pipeline, "open_evaluation_set", nowhere)
    made = export(place, output=tmp_path / "out").manifest
    assert {gate.name for gate in made.gates} == {gate.name for gate in wanted.gates}
    assert {row.stage for row in made.parity} == {row.stage for row in wanted.parity}
    assert [gate.name.id for gate in made.gates if gate.recorded] == [
        GateId.AGREEMENT,
        GateId.BALANCED_ACCURACY,
    ]
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert StageName(StageId.SAVED_FILE, Part.DECISIONS).title in card


def test_refused_and_located_under_other_titles(reword, tmp_path):
    reword()
    with pytest.raises(GateError) as caught:
        export(run_folder(), output=tmp_path / "out", overrides=["gates.sqnr_db=199"])
    text = str(caught.value)
    assert text.startswith(f"{GateId.SQNR.title}: ")
    assert f"in stage '{StageId.EAGER.title}'" in text


def row(stage: StageId, sqnr_db: float, part: Part = Part.PROBABILITIES, cpu: str = "") -> Stage:
    name = StageName(stage, part, cpu)
    return Stage(stage=name, against=StageId.EAGER, verified=True, max_error=0, sqnr_db=sqnr_db)


ROWS = [
    row(StageId.EAGER, 90),
    row(StageId.EAGER, 20, Part.MAP),
    row(StageId.EAGER_QUANTISED, 30),
    row(StageId.LOWERED_GRAPH, 60),
    row(StageId.SAVED_FILE, 70),
    row(StageId.SAVED_FILE, 25, Part.DECISIONS),
    row(StageId.ARM, 40, cpu="a64fx"),
]
LOCATED = {
    GateId.PREPROCESSING: StageName(StageId.EAGER),
    GateId.ACTIVATION_MAP: StageName(StageId.EAGER, Part.MAP),
    GateId.GUARD: StageName(StageId.EAGER, Part.GUARD),
    GateId.LOWERED_GRAPH: StageName(StageId.LOWERED_GRAPH),
    GateId.MAX_ERROR: StageName(StageId.SAVED_FILE),
    GateId.SQNR: StageName(StageId.SAVED_FILE),
    GateId.GOLDEN_SET: StageName(StageId.ARM, processor="a64fx"),
    # decisions: the step that moved the numbers most
    GateId.AGREEMENT: StageName(StageId.EAGER_QUANTISED),
    GateId.BALANCED_ACCURACY: StageName(StageId.EAGER_QUANTISED),
    GateId.GUARD_AGREEMENT: StageName(StageId.EAGER_QUANTISED),
}


#: What calibrate judges; it lowers nothing, so no stage is to blame.
OF_CALIBRATE = (GateId.NETWORK, GateId.CLINIC_LOSS)


@pytest.mark.parametrize("other_titles", [False, True])
@pytest.mark.parametrize("gate", [gate for gate in GateId if gate not in OF_CALIBRATE])
def test_every_gate_has_its_stage_or_counts(reword, gate, other_titles):
    if other_titles:
        reword()
    export = SimpleNamespace(
        lowered=SimpleNamespace(reference=StageId.EAGER_QUANTISED),
        gates=SimpleNamespace(sqnr_db=10),
        max_error=1,
    )
    report = ParityReport(stages=ROWS)
    name = GateName(gate, "a64fx" if gate is GateId.GOLDEN_SET else "")
    failed = Gate(name=name, value=1, limit=0, relation="<=", passed=False)
    if gate in locate.COUNTED:
        assert gate not in LOCATED
    else:
        assert locate.first_stage(export, report, failed) == LOCATED[gate]
