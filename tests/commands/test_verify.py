"""``verify`` repeats every check, passes what is sound, names what is not, and says what it could
not decide.
"""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures.run import exported, run_folder

from mobilekd.backends import get
from mobilekd.commands.inspect import inspect
from mobilekd.commands.verify import ArtifactCheck, verify
from mobilekd.formats.artifact import hashes, open_artifact
from mobilekd.formats.gates import NOT_DECIDED
from mobilekd.formats.integrity import write_sealed
from mobilekd.formats.runs import open_run, references
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_file

UNDECIDED = {"stage": "saved file, decisions", "against": "eager fp32", "verified": False}


@pytest.fixture
def copy(tmp_path) -> Path:
    return Path(shutil.copytree(exported("int8"), tmp_path / "artifact"))


def seal(folder: Path, **changes: object) -> None:
    """Write the manifest again with right hashes, as somebody would who tampers with care."""
    document = json.loads((folder / "manifest.json").read_text())
    document.update(changes)
    document["files"] = hashes(folder)
    write_sealed(folder / "manifest.json", document)


def _verified(folder: Path) -> tuple[ArtifactCheck, ...]:
    return verify(folder, runs=run_folder().parent).checks


def outcomes(folder: Path) -> dict[str, bool | None]:
    return {check.name: check.passed for check in _verified(folder)}


def test_a_sound_artifact_passes_all(copy):
    result = verify(copy, runs=run_folder().parent)
    assert result.passed
    assert [check.name for check in result.checks] == [
        "files",
        "gates",
        "preprocessing",
        "constants",
        "delegation",
        "golden set",
        "golden decisions",
        "student",
        "decisions",
    ]
    undecided = [check for check in result.checks if check.passed is None]
    assert [check.name for check in undecided] == ["student"]
    assert "decisions below judge them" in undecided[0].detail
    assert "agreement with the student" in result.checks[-1].detail


def test_where_its_data_is_an_undecided_artifact_is_judged(copy):
    """An artifact without a recorded accuracy is held against the student alone."""
    document = json.loads((copy / "manifest.json").read_text())
    judged = ("agreement", "balanced accuracy")
    gates = [gate for gate in document["gates"] if gate["name"] not in judged]
    parity = [row for row in document["parity"] if not row["stage"].endswith("decisions")]
    parity.append({**UNDECIDED, "reason": f"{NOT_DECIDED}: no data"})
    seal(copy, accuracy={}, gates=gates, parity=parity)
    found = {check.name: check for check in _verified(copy)}
    assert found["gates"].detail.endswith(f"failed: none; {NOT_DECIDED}: no data")
    assert found["decisions"].passed
    assert "recorded None, agreement with the student" in found["decisions"].detail
    [alone] = [one for one in verify(copy, runs=copy).checks if one.name == "decisions"]
    assert alone.passed is None
    assert "--runs names the folder of runs" in alone.detail
    assert NOT_DECIDED in repr(open_artifact(copy))
    assert f"{NOT_DECIDED}: no data" in open_artifact(copy)._repr_html_()


def test_a_changed_file_stops_at_once(copy):
    with (copy / "model.pte").open("r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(UserError, match="does not match its hash"):
        verify(copy)


def test_another_model_behind_right_hashes_is_found(copy):
    shutil.copy(exported("fp32") / "model.pte", copy / "model.pte")
    seal(copy)
    found = outcomes(copy)
    assert found["constants"] is False
    assert found["delegation"] is False
    assert found["golden set"] is False


def test_in_floating_point_the_student_is_asked_again(tmp_path):
    """An artifact without its data is still held against the student that it came from."""
    place = Path(shutil.copytree(exported("fp32"), tmp_path / "artifact"))
    [sound] = [
        check for check in verify(place, runs=run_folder().parent).checks if check.name == "student"
    ]
    assert sound.passed
    assert "from the student in floating point, at most 0.001" in sound.detail
    [without] = [check for check in verify(place, runs=tmp_path).checks if check.name == "student"]
    assert without.passed is None
    assert "is not here" in without.detail


def test_the_student_of_a_shipped_reference_is_found():
    from mobilekd.commands import verify as module

    run = open_run(f"reference:{references()[0]}")
    made = SimpleNamespace(run=run.info.name, source_sha256=sha256_file(run.weights))
    artifact = SimpleNamespace(manifest=SimpleNamespace(provenance=made))
    assert module.source_run(artifact, Path("nowhere")).folder == run.folder
    made.source_sha256 = "0" * 64
    assert module.source_run(artifact, Path("nowhere")) is None


def test_other_labels_in_the_manifest_are_found(copy):
    labels = json.loads((copy / "manifest.json").read_text())["labels"]
    seal(copy, labels=labels[::-1])
    assert outcomes(copy)["constants"] is False


def test_golden_answers_that_were_changed_are_found(copy):
    path = copy / "golden" / "probabilities.f32"
    answers = np.fromfile(path, "<f4")
    answers[0] += 0.01
    answers.tofile(path)
    seal(copy)
    assert outcomes(copy)["golden set"] is False


def test_a_golden_decision_that_was_changed_is_found_by_name(copy):
    path = copy / "golden" / "decisions.json"
    said = json.loads(path.read_text())
    was = said[3]["answer"]
    said[3]["answer"] = next(
        label.key for label in open_artifact(copy).manifest.labels if label.key != was
    )
    path.write_text(json.dumps(said))
    seal(copy)
    [found] = [check for check in _verified(copy) if check.name == "golden decisions"]
    assert found.passed is False
    name = open_artifact(copy).golden().index.images[3]
    assert f"1 photograph ({name} is said to be {said[3]['answer']}" in found.detail
    assert was in found.detail
    path.unlink()
    seal(copy)
    [old] = [check for check in _verified(copy) if check.name == "golden decisions"]
    assert old.passed is None
    assert "made before" in old.detail


def test_golden_inputs_that_were_not_preprocessed_so_are_found(copy):
    path = copy / "golden" / "inputs.u8"
    pixels = np.fromfile(path, np.uint8)
    pixels[:300] = 255 - pixels[:300]
    pixels.tofile(path)
    seal(copy)
    assert outcomes(copy)["preprocessing"] is False


def test_what_needs_data_is_said_to_be_undecided(copy, monkeypatch):
    from mobilekd.commands import verify as module

    def nowhere(*_: object, **__: object) -> None:
        raise UserError("data: no such folder; give it")

    monkeypatch.setattr(module, "open_evaluation_set", nowhere)
    result = verify(copy)
    [decisions] = [check for check in result.checks if check.name == "decisions"]
    assert decisions.passed is None
    assert "no such folder" in decisions.detail
    assert result.passed


def edit(path: Path, **changes: object) -> None:
    """Other values for keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def other_size(folder: Path) -> None:
    edit(folder / "golden" / "golden.json", height=16)


def other_classes(folder: Path) -> None:
    edit(folder / "golden" / "golden.json", classes=3)


def fewer_photographs(folder: Path) -> None:
    edit(folder / "golden" / "golden.json", count=1)


def photographs_elsewhere(folder: Path) -> None:
    images = json.loads((folder / "golden" / "golden.json").read_text())["images"]
    edit(folder / "golden" / "golden.json", images=[f"../{images[0]}", *images[1:]])


def a_map_that_is_none(folder: Path) -> None:
    edit(folder / "golden" / "golden.json", cam=[1, 1])


def answers_cut_short(folder: Path) -> None:
    path = folder / "golden" / "probabilities.f32"
    path.write_bytes(path.read_bytes()[:-4])


def answers_that_are_no_numbers(folder: Path) -> None:
    path = folder / "golden" / "probabilities.f32"
    np.full(path.stat().st_size // 4, np.nan, "<f4").tofile(path)


def no_inputs(folder: Path) -> None:
    (folder / "golden" / "inputs.u8").unlink()


def a_photograph_of_words(folder: Path) -> None:
    next((folder / "golden").glob("*.png")).write_text("no photograph")


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (other_size, "golden.json"),
        (other_classes, "golden.json"),
        (fewer_photographs, "golden.json"),
        (photographs_elsewhere, "golden.json"),
        (a_map_that_is_none, "golden.json"),
        (answers_cut_short, "probabilities.f32"),
        (answers_that_are_no_numbers, "probabilities.f32"),
        (no_inputs, "inputs.u8"),
        (a_photograph_of_words, ".png"),
    ],
)
def test_a_broken_golden_set_is_one_line(copy, fault, named):
    """Sealed again, so that no hash gives it away."""
    fault(copy)
    seal(copy)
    with pytest.raises(UserError, match=named.replace(".", r"\.")) as caught:
        verify(copy, runs=run_folder().parent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"accuracy": {"balanced_accuracy": 0.5}}, "accuracy"),
        ({"accuracy": {"n": "many"}}, "accuracy"),
        ({"model_file": "../model.pte"}, "outside the artifact"),
        ({"model_file": "other.pte"}, "no hash of its model file"),
        ({"outputs": ["probabilities", "cam"]}, "activation maps"),
        ({"backend": "nope"}, "nope"),
        ({"gates": [{"name": "luck"}]}, "gates"),
        ({"parity": [{"stage": "saved in a dream", "against": "saved file"}]}, "parity"),
    ],
)
def test_a_broken_manifest_is_one_line(copy, changes, named):
    seal(copy, **changes)
    with pytest.raises(UserError, match=named) as caught:
        verify(copy, runs=run_folder().parent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("threshold", 0.123), ("temperature", 2.5)])
def test_a_manifest_that_is_valid_and_another_is_refused(copy, key, value):
    """One flipped bit of a number makes another number, which nothing else would notice."""
    document = json.loads((copy / "manifest.json").read_text())
    document["calibration"][key] = value
    (copy / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"manifest\.json: changed since it was written"):
        open_artifact(copy)
    del document["sha256"]  # as artifacts were before they carried it
    document["calibration"][key] = value
    (copy / "manifest.json").write_text(json.dumps(document))
    assert open_artifact(copy).manifest.sha256 is None


def test_hashes_of_files_elsewhere_are_refused(copy):
    seal(copy)
    document = json.loads((copy / "manifest.json").read_text())
    document["files"]["../elsewhere"] = "0" * 64
    write_sealed(copy / "manifest.json", document)
    with pytest.raises(UserError, match="outside the artifact"):
        open_artifact(copy)


@pytest.mark.parametrize(
    ("name", "text"), [("layers.json", '[{"layer": 1}]'), ("sensitivity.json", '["conv"]')]
)
def test_a_broken_table_is_one_line_of_inspect(copy, name, text):
    (copy / name).write_text(text)
    seal(copy)
    with pytest.raises(UserError, match=rf"{name}: not a valid .*export again"):
        inspect(copy)


def test_a_file_that_gives_other_outputs_fails_the_golden_set(copy, monkeypatch):
    backend = type(get("xnnpack"))
    sound = backend.run
    monkeypatch.setattr(backend, "run", lambda *given: [sound(*given)[0][:, :-1]])
    passed = outcomes(copy)
    assert (passed["golden set"], passed["decisions"]) == (False, False)
    monkeypatch.setattr(backend, "run", lambda *given: [sound(*given)[0]] * 2)
    assert outcomes(copy)["golden set"] is False
