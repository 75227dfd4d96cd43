"""Predictions: the same answer as the evaluation gives, "not sure" below the threshold, and words
for a bad picture.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from fixtures.evaluation import make_run
from PIL import Image, ImageFilter

from mobilekd.cli import main
from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.predict import NOT_READ, NOT_SURE, predict, quality_words
from mobilekd.data import load
from mobilekd.formats.data_tables import DataTable
from mobilekd.metrics.predictions import read_predictions
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_tree, write_json


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


def test_the_good_are_answered_and_the_bad_are_named(
    run: Path, photograph: Path, tmp_path: Path
) -> None:
    (tmp_path / "cut.png").write_bytes(photograph.read_bytes()[:200])
    alone = predict(run, [photograph])
    found = predict(run, [tmp_path / "cut.png", photograph, tmp_path / "gone.png"])
    assert found[1] == alone[0]
    assert [item.answer for item in found] == [NOT_READ, alone[0].answer, NOT_READ]
    assert "cut.png: not a readable photograph" in (found[0].error or "")
    assert "gone.png: no such photograph" in (found[2].error or "")


def test_a_folder_stands_for_all_that_lie_below_it(
    run: Path, photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name in ("b.png", "a.png", "deep/c.png"):
        (tmp_path / "photos" / name).write_bytes(photograph.read_bytes())
    (tmp_path / "photos" / "d.dng").write_bytes(b"raw")
    (tmp_path / "photos" / "e.png").symlink_to(tmp_path / "nowhere")
    found = predict(run, [tmp_path / "photos"])
    names = [Path(item.image).name for item in found]
    assert names == ["a.png", "b.png", "c.png", "e.png"]
    assert [item.error is None for item in found] == [True, True, True, False]
    assert "1 file (d.dng) left out" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no photographs in this folder"):
        predict(run, [tmp_path / "empty"])


def test_pipes_and_folders_are_no_photographs(run: Path, photograph: Path, tmp_path: Path) -> None:
    """Nobody waits for a pipe, and an empty folder keeps no answer from the others."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty").mkdir()
    found = predict(run, [tmp_path / "pipe.png", tmp_path / "empty", photograph])
    assert [item.error is None for item in found] == [False, False, True]
    assert "not a file" in (found[0].error or "")
    assert "no photographs in this folder" in (found[1].error or "")


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_answers_and_ends_with_2(
    run: Path, photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    (tmp_path / "cut.png").write_bytes(b"")
    words = ["predict", str(run), str(tmp_path / "cut.png"), str(photograph)]
    before = sha256_tree(run)
    assert main([*words, "--json"] if as_json else words) == 2
    out, err = capsys.readouterr()
    assert "1 file" in err
    assert "cut.png" in err
    if as_json:
        document = json.loads(out)
        assert [item["image"] for item in document["predictions"]] == [str(photograph)]
        assert [item["image"] for item in document["unread"]] == [str(tmp_path / "cut.png")]
    else:
        assert str(photograph) in out
    assert main(["predict", str(run), str(photograph)]) == 0
    with pytest.raises(UserError):
        predict(run, [tmp_path / "cut.png"])
    assert sha256_tree(run) == before, "predict writes nothing, refused or not"
