"""What export does about a refusal: tries by itself what it knows, keeps what was refused when
asked, and says what no photograph decided.
"""

import shutil

import pytest
from fixtures.kept import kept
from fixtures.run import exported, run_folder

from mobilekd.commands.export import export
from mobilekd.commands.inspect import inspect
from mobilekd.commands.verify import verify
from mobilekd.formats.artifact import open_artifact
from mobilekd.formats.parity_names import Part
from mobilekd.graphs import vulkan_interpreter
from mobilekd.lowering import judgement, pipeline, request
from mobilekd.lowering.decisions import agreement_gate
from mobilekd.lowering.freeze import DECIDED_BY_DATA, freeze_quantisation
from mobilekd.lowering.record import read_record
from mobilekd.support.errors import GateError, UserError
from mobilekd.support.files import read_json


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(request, "get", kept)


def test_a_refused_file_is_kept_only_when_asked_and_under_no_artifacts_name(tmp_path):
    with pytest.raises(GateError, match="nothing was written"):
        export(run_folder(), overrides=["gates.sqnr_db=199"], keep_refused=True)
    kept = tmp_path / "refused" / "tiny-xnnpack-fp32"
    assert not (tmp_path / "artifacts" / "tiny-xnnpack-fp32").exists()
    assert (kept / "refused-model.pte").stat().st_size > 1000
    assert not (kept / "model.pte").exists()
    document = read_json(kept / "refused.json", "refusal")
    assert "sqnr_db" in document["refused"]
    with pytest.raises(UserError):
        open_artifact(kept)
    with pytest.raises(GateError):  # again: what it kept may be replaced
        export(run_folder(), overrides=["gates.sqnr_db=199"], keep_refused=True)
    (kept / "refused.json").unlink()
    with pytest.raises(UserError, match="no refused export; move it away"):
        export(run_folder(), overrides=["gates.sqnr_db=199"], keep_refused=True)


def test_a_refusal_names_value_key_and_next_command(monkeypatch):
    """And where retry is turned off, it is the first judgement that refuses."""
    judged = []

    def counted(*given, **named):
        judged.append(given)
        return agreement_gate(*given, **named)

    monkeypatch.setattr(judgement, "agreement_gate", counted)
    overrides = ["gates.max_error_quantized=1e-9"]
    with pytest.raises(GateError, match=r"must be <= 1e-09") as caught:
        export(run_folder(), precision="int8", overrides=overrides, retry=False)
    said = str(caught.value)
    command = f"next: mobilekd export {run_folder()} --backend xnnpack --precision mixed"
    assert command in said
    assert "the limit is gates.max_error_quantized" in said
    assert len(judged) == 1


def test_refused_int8_is_trained_with_its_rounding_and_tried_once_more(monkeypatch, capsys):
    """The first judgement is refused, whatever it was; the second is the real one."""
    judged = []

    def strict_once(given, wanted, limit, *, exact=False):
        judged.append(limit)
        strict = 1.1 if len(judged) == 1 else limit
        return agreement_gate(given, wanted, strict, exact=exact)

    monkeypatch.setattr(judgement, "agreement_gate", strict_once)
    artifact = export(run_folder(), precision="int8")
    said = capsys.readouterr().err
    assert len(judged) == 2
    assert "int8 is refused (agreement" in said
    assert "at most 300 steps" in said
    assert artifact.manifest.precision == "int8"
    notes = " ".join(artifact.manifest.notes)
    assert "quantisation-aware training" in notes
    assert "second and last try, judged by the same photographs" in notes
    assert sorted(path.name for path in artifact.folder.iterdir()).count("model.pte") == 1


def test_what_int8_cannot_do_becomes_mixed_under_its_own_name(monkeypatch, capsys):
    judged = []

    def refuse_twice(given, wanted, limit, *, exact=False):
        judged.append(limit)
        return agreement_gate(given, wanted, 1.1 if len(judged) < 3 else limit, exact=exact)

    monkeypatch.setattr(judgement, "agreement_gate", refuse_twice)
    artifact = export(run_folder(), precision="int8")
    assert artifact.manifest.precision == "mixed"
    assert artifact.folder.name == "tiny-xnnpack-mixed"
    assert "int8 was refused" in capsys.readouterr().err
    assert not artifact.folder.with_name("tiny-xnnpack-int8").exists()


def test_few_photographs_leave_a_gate_undecided_and_everything_says_so():
    """Some 60 photographs leave an interval, and a limit just inside it cannot be decided. In
    fp16, which agrees whatever the machine made of the student; 60 decide a limit that is low.
    """
    before = open_artifact(exported("fp16", "coreml")).manifest.gates
    known = next(one for one in before if str(one.name) == "agreement").estimate
    limit = known.high - 0.0005
    artifact = export(
        run_folder(),
        backend="coreml",
        precision="fp16",
        overrides=[f"gates.agreement={limit}", "gates.accuracy_drop=0.5"],
    )
    gate = next(one for one in artifact.manifest.gates if str(one.name) == "agreement")
    assert gate.undecided
    assert gate.samples < 70
    note = artifact.manifest.notes[0]
    assert gate.measured in note
    assert f"{gate.samples} test photographs are too few to decide" in note
    assert note in (artifact.folder / "MODEL_CARD.md").read_text()
    checks_made = verify(artifact.folder, runs=run_folder().parent).checks
    found = {one.name: one for one in checks_made}
    assert "too few photographs to decide: agreement" in found["gates"].detail
    assert found["decisions"].passed
    assert any(one.get("undecided") for one in inspect(artifact.folder)["gates"])


def test_a_shipped_student_without_a_record_says_that_its_decisions_were_not_decided(monkeypatch):
    monkeypatch.setattr(pipeline, "recorded", lambda *_: None)
    artifact = export("reference:ham10000-lesionnet", backend="portable")
    row = next(one for one in artifact.manifest.parity if one.stage.part is Part.DECISIONS)
    assert not row.verified
    assert row.reason.startswith("decisions not decided here")
    assert artifact.manifest.notes[0] == row.reason
    assert "not decided here" in (artifact.folder / "MODEL_CARD.md").read_text()
    assert {"agreement", "balanced accuracy"}.isdisjoint(
        str(gate.name) for gate in artifact.manifest.gates
    )
    assert all(gate.passed for gate in artifact.manifest.gates)


@pytest.fixture
def unknown(monkeypatch):
    """Vulkan's files hold an operator that the interpreter does not know."""
    monkeypatch.delitem(vulkan_interpreter.OWN, "et_vk.conv_with_clamp.default")


@pytest.mark.usefixtures("unknown")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_file_that_runs_nowhere_here_is_not_judged_by_its_student_against_itself(
    precision, tmp_path
):
    """The test photographs are here, and no machine that runs the file."""
    folder = tmp_path / "made"
    export(run_folder(), backend="vulkan", precision=precision, output=folder)
    manifest = open_artifact(folder).manifest
    reason = "decisions not decided here: no machine here runs the file"
    assert manifest.open_decisions == (reason,)
    assert manifest.notes[0] == reason
    assert manifest.accuracy == {}
    assert {gate.name.id for gate in manifest.gates}.isdisjoint(DECIDED_BY_DATA)
    assert reason in (folder / "MODEL_CARD.md").read_text()
    found = {one.name: one for one in verify(folder, runs=run_folder().parent).checks}
    assert reason in found["gates"].detail
    assert found["decisions"].passed is None


@pytest.mark.usefixtures("unknown")
def test_what_nothing_can_judge_is_not_recorded(tmp_path):
    place = tmp_path / "frozen"
    shutil.copytree(run_folder(), place)
    freeze_quantisation(place, [("vulkan", "fp32"), ("portable", "fp32")])
    assert list(read_record(place)) == ["portable-fp32"]
