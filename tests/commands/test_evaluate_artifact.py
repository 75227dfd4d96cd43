"""A ``.pte`` is judged by the code that judges its eager student: same photographs, same answers,
same figures.
"""

from pathlib import Path

import numpy as np
import pytest
from fixtures.run import make_run

from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.export import export
from mobilekd.commands.predict import predict
from mobilekd.formats.artifact import Artifact
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.runs import Run
from mobilekd.metrics.predictions import read_predictions


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def artifact(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(
        run.folder,
        precision="fp32",
        output=tmp_path_factory.mktemp("artifacts") / "tiny",
        runs=run.folder.parent,
    )


def test_the_file_gives_the_figures_of_its_student(
    run: Run, artifact: Artifact, tmp_path: Path
) -> None:
    eager = evaluate(run.folder, output=tmp_path / "eager")
    lowered = evaluate(artifact.folder, runs=run.folder.parent, output=tmp_path / "lowered")
    ours, theirs = (
        read_predictions(tmp_path / name / "predictions.csv") for name in ("eager", "lowered")
    )
    assert ours.ids == theirs.ids
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4)
    assert lowered["metrics"]["balanced_accuracy"] == eager["metrics"]["balanced_accuracy"]
    assert (lowered["target"]["backend"], lowered["target"]["precision"]) == ("xnnpack", "fp32")
    assert lowered["target"]["sha256"] == artifact.manifest.files[artifact.manifest.model_file]


def test_it_knows_what_it_was_trained_on_without_the_run(
    run: Run, artifact: Artifact, tmp_path: Path
) -> None:
    document = evaluate(
        artifact.folder,
        data=DataTable(kind="synthetic", count=160, size=32),
        runs=tmp_path,
        output=tmp_path / "out",
    )
    split = run.split
    assert split is not None
    assert document["data"]["left_out"]["overlap"] == len(split.train) + len(split.validation)
    assert document["data"]["photographs"] == len(split.test)


def test_predict_answers_alike(run: Run, artifact: Artifact) -> None:
    picture = artifact.folder / "golden" / artifact.golden().index.images[0]
    (ours,), (theirs,) = predict(run.folder, [picture]), predict(artifact.folder, [picture])
    assert ours.answer == theirs.answer
    assert [ours.probabilities[key] for key in theirs.probabilities] == pytest.approx(
        list(theirs.probabilities.values()), abs=1e-4
    )
