"""Predictions: the same answer as the evaluation gives, "not sure" below the threshold, and words
for a bad picture.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from fixtures.evaluation import make_run
from PIL import Image, ImageFilter

from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.predict import NOT_SURE, predict, quality_words
from mobilekd.data import load
from mobilekd.formats.recipe import DataTable
from mobilekd.metrics.predictions import read_predictions
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset = load(DataTable(kind="synthetic", count=120, size=32))
    path = tmp_path_factory.mktemp("photos") / "lesion.png"
    by_brightness = sorted(range(21), key=lambda i: float(np.asarray(dataset.photograph(i)).mean()))
    dataset.photograph(by_brightness[10]).save(path)  # in the middle, well inside the limits
    return path


def test_a_prediction_equals_the_evaluation(run: Path, tmp_path: Path) -> None:
    evaluate(run)
    answers = read_predictions(run / "evaluation" / "predictions.csv")
    dataset = load(DataTable(kind="synthetic", count=120, size=32))
    paths = []
    for name, row in zip(answers.ids[:3], dataset.rows(answers.ids[:3]), strict=True):
        paths.append(tmp_path / f"{name}.png")
        dataset.photograph(int(row)).save(paths[-1])
    for found, row in zip(predict(run, paths), answers.probabilities, strict=False):
        assert [found.probabilities[key] for key in answers.keys] == pytest.approx(
            row.tolist(), abs=1e-6
        )
        assert list(found.probabilities.values()) == sorted(
            found.probabilities.values(), reverse=True
        )
        assert found.sure
        assert found.answer == answers.keys[row.argmax()]


def test_below_the_threshold_it_is_not_sure(run: Path, photograph: Path) -> None:
    path = run / "calibration.json"
    fitted = json.loads(path.read_text())
    write_json(path, fitted | {"threshold": 1.0})
    try:
        (found,) = predict(run, [photograph])
    finally:
        write_json(path, fitted)
    assert (found.answer, found.sure) == (NOT_SURE, False)


def test_bad_pictures_are_told(run: Path, photograph: Path, tmp_path: Path) -> None:
    image = Image.open(photograph)
    image.filter(ImageFilter.GaussianBlur(8)).save(tmp_path / "blurred.png")
    Image.new("RGB", image.size, (2, 2, 2)).save(tmp_path / "dark.png")
    good, blurred, dark = predict(
        run, [photograph, tmp_path / "blurred.png", tmp_path / "dark.png"]
    )
    assert good.quality == ()
    assert blurred.quality == ("blurred",)
    assert dark.quality == ("blurred", "too dark")


def test_without_limits_nothing_is_said() -> None:
    assert quality_words(np.zeros((2, 3, 8, 8), np.uint8), None) == [(), ()]


def test_unreadable_photographs_end_in_one_line(
    run: Path, photograph: Path, tmp_path: Path
) -> None:
    (tmp_path / "cut.png").write_bytes(photograph.read_bytes()[:200])
    with pytest.raises(UserError, match=r"cut\.png: not a readable photograph"):
        predict(run, [tmp_path / "cut.png"])
    with pytest.raises(UserError, match="no such photograph"):
        predict(run, [tmp_path / "gone.png"])
    with pytest.raises(UserError, match="no photographs"):
        predict(run, [])
