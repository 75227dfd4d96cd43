"""calibrate: the network stays bit for bit, and what decides is fitted to a clinic."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures.run import exported
from fixtures.small import contents

from mobilekd.backends import get
from mobilekd.cli import main
from mobilekd.commands.calibrate import calibrate
from mobilekd.commands.predict import predict
from mobilekd.commands.verify import verify
from mobilekd.data import load
from mobilekd.figures.tables import Table
from mobilekd.formats.artifact import Artifact, open_artifact
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.integrity import write_sealed
from mobilekd.formats.interval import Interval
from mobilekd.formats.parity_names import GateId
from mobilekd.graphs import pte
from mobilekd.inference.predictor import open_predictor
from mobilekd.metrics import clinic as clinic_metrics
from mobilekd.metrics.calibrate import rescaled
from mobilekd.metrics.decide import decisions
from mobilekd.page import clinics
from mobilekd.page.inputs import Inputs
from mobilekd.support.errors import GateError, UserError

#: The run's own 160 photographs and 180 that it has not seen.
CLINIC = DataTable(kind="synthetic", count=340, size=32)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    place = tmp_path_factory.mktemp("clinic") / "tiny-xnnpack-fp32"
    shutil.copytree(exported("fp32"), place)
    return open_artifact(place)


@pytest.fixture(scope="module")
def fitted(source: Artifact) -> Artifact:
    before = contents(source.folder)
    result = calibrate(source.folder, data=CLINIC)
    assert contents(source.folder) == before, "the source stays as it was"
    assert result.artifact is not None
    return open_artifact(Path(result.artifact))


def test_the_network_is_bit_equal_and_only_constants_differ(
    source: Artifact, fitted: Artifact
) -> None:
    backend = get("xnnpack")
    assert backend.network_hash(fitted.model) == backend.network_hash(source.model)
    assert pte.read(fitted.model).blobs == pte.read(source.model).blobs
    x = source.golden().inputs.astype(np.float32)
    np.testing.assert_array_equal(backend.run(fitted.model, x)[0], backend.run(source.model, x)[0])
    old, new = backend.constants(source.model), backend.constants(fitted.model)
    assert set(new) - set(old) == {"rescale", "set_coverage", "set_thresholds"}
    changed = {name for name in old if old[name] != new[name]}
    assert changed == {"schema_version", "name", "threshold", "quality", "decision", "card"}
    assert new["schema_version"] == 2, "an app that knows no rescaling must refuse it"


def test_it_has_hashes_gates_and_a_card_of_its_own(source: Artifact, fitted: Artifact) -> None:
    manifest = fitted.manifest
    assert manifest.name == f"{source.manifest.name}-fitted"
    assert manifest.files["model.pte"] != source.manifest.files["model.pte"]
    gates = {gate.name.id: gate for gate in manifest.gates}
    assert gates[GateId.NETWORK].value == 1
    assert gates[GateId.CLINIC_LOSS].passed
    assert gates[GateId.CONSTANTS].value == 0
    clinic = manifest.clinic
    assert clinic is not None
    assert clinic.photographs == sum(clinic.by_class.values())
    assert clinic.photographs < 340 - 90, "what trained it is left out"
    was, now = clinic.before["ece"].value, clinic.after["ece"].value
    assert was is not None
    assert now is not None
    assert now < was
    card = (fitted.folder / "MODEL_CARD.md").read_text()
    assert "## Fitted to a clinic" in card
    assert f"# {manifest.name} (xnnpack, fp32)" in card
    failed = [check for check in verify(fitted.folder).checks if check.passed is False]
    assert not failed


def test_the_report_shows_before_and_after(fitted: Artifact, source: Artifact) -> None:
    found = clinics.section(Inputs(artifacts=(source, fitted)))
    assert found is not None
    text = "\n".join(block.markdown() for block in found.blocks if isinstance(block, Table))
    assert text.count("| figure | before | after |") == 1, "the source was fitted to nothing"
    assert "expected calibration error" in text
    assert clinics.section(Inputs(artifacts=(source,))) is None


def test_every_reader_applies_what_was_fitted(source: Artifact, fitted: Artifact) -> None:
    golden, calibration = fitted.golden(), fitted.manifest.calibration
    pictures = golden.inputs
    given = open_predictor(source.folder).answer(pictures)
    answers = open_predictor(fitted.folder).answer(pictures)
    np.testing.assert_allclose(answers, rescaled(given, calibration.rescale), atol=1e-12)
    assert golden.decisions is not None
    assert list(golden.decisions) == decisions(answers, None, fitted.manifest.labels, calibration)
    (said,) = predict(fitted.folder, [fitted.folder / "golden" / golden.index.images[0]])
    assert said.set == golden.decisions[0].set


def test_photographs_that_fitted_it_do_not_judge_it(fitted: Artifact, tmp_path: Path) -> None:
    from mobilekd.commands.evaluate import evaluate

    with pytest.raises(UserError, match="every labelled photograph"):
        evaluate(fitted.folder, data=CLINIC, output=tmp_path / "evaluation")


def test_a_fit_that_is_proven_worse_is_refused_and_nothing_is_written(
    source: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = clinic_metrics.judge

    def worse(*given: object, **named: object) -> tuple[object, object, Interval]:
        was, now, _ = judge(*given, **named)
        return was, now, Interval(value=0.2, low=0.1, high=0.3)

    monkeypatch.setattr(clinic_metrics, "judge", worse)
    with pytest.raises(GateError, match="nothing was written"):
        calibrate(source.folder, data=CLINIC, output=tmp_path / "worse")
    assert list(tmp_path.iterdir()) == []


def test_a_clinic_without_melanoma_is_refused(source: Artifact, tmp_path: Path) -> None:
    dataset = load(CLINIC)
    melanoma = next(i for i, label in enumerate(dataset.classes) if label.key == "mel")
    few = [dataset.ids[row] for row in (dataset.targets == melanoma).nonzero()[0]]
    data = CLINIC.model_copy(update={"exclude": tuple(few[:-3])})
    with pytest.raises(UserError, match="would learn not to say it"):
        calibrate(source.folder, data=data, output=tmp_path / "no-melanoma")
    assert list(tmp_path.iterdir()) == []


def test_where_it_stands_is_no_matter(
    source: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "tiny"
    shutil.copytree(source.folder, place)
    monkeypatch.chdir(place)
    assert calibrate(Path(), data=CLINIC).artifact == str(tmp_path / "tiny-fitted")


def test_an_artifact_that_does_not_say_what_trained_it_is_refused(
    source: Artifact, tmp_path: Path
) -> None:
    place = tmp_path / "old"
    shutil.copytree(source.folder, place)
    (place / "training_hashes.json").unlink()
    document = json.loads((place / "manifest.json").read_text())
    del document["files"]["training_hashes.json"]
    write_sealed(place / "manifest.json", document)
    with pytest.raises(UserError, match="export it again"):
        calibrate(place, data=CLINIC)


def test_what_cannot_be_fitted_is_refused_in_one_line(
    source: Artifact, fitted: Artifact, tmp_path: Path
) -> None:
    few = DataTable(kind="synthetic", count=45, size=32)
    with pytest.raises(UserError, match="give at least 30"):
        calibrate(source.folder, data=few, output=tmp_path / "few")
    with pytest.raises(UserError, match="fitted to a clinic before"):
        calibrate(fitted.folder, data=CLINIC)
    with pytest.raises(UserError, match="one of them"):
        calibrate(source.folder)
    with pytest.raises(UserError, match="not a share"):
        calibrate(source.folder, data=CLINIC, set_coverage=1.5)
    with pytest.raises(UserError, match="--set-coverage is of no use with --unlabelled"):
        calibrate(source.folder, unlabelled=tmp_path, set_coverage=0.8)
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="move it away"):
        calibrate(source.folder, data=CLINIC, output=tmp_path / "taken")
    assert not (tmp_path / "few").exists()


def test_without_labels_it_tells_and_writes_nothing(
    source: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load(DataTable(kind="synthetic", count=60, size=32))
    (tmp_path / "photographs").mkdir()
    for row in range(60):
        dark = dataset.photograph(row).point(lambda level: level // 8)
        dark.save(tmp_path / "photographs" / f"{row}.png")
    beside = sorted(source.folder.parent.iterdir())
    words = ["calibrate", str(source.folder), "--unlabelled", str(tmp_path / "photographs")]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["artifact"] is None
    assert found["drift"]["text"].startswith("these 60 photographs differ from what this model")
    assert "are too dark" in found["drift"]["text"]
    assert sorted(source.folder.parent.iterdir()) == beside


def test_a_core_ml_package_keeps_its_network(tmp_path: Path) -> None:
    place = tmp_path / "tiny-coreml-fp16"
    shutil.copytree(exported("fp16", "coreml"), place)
    result = calibrate(place, data=CLINIC)
    assert result.artifact is not None
    made, old = open_artifact(Path(result.artifact)), open_artifact(place)
    backend = get("coreml")
    assert backend.network_hash(made.model) == backend.network_hash(old.model)
    assert backend.constants(made.model)["schema_version"] == 2
    assert not [check for check in verify(made.folder).checks if check.passed is False]
