"""Evaluation of a run on its own test split and on other data: one code path, nothing seen in
training, nothing left out silently.
"""

import csv
import json
import shutil
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fixtures.evaluation import keep_teacher, make_run
from safetensors.torch import load_file, save_file

from mobilekd.commands.evaluate import evaluate
from mobilekd.data import inputs, load
from mobilekd.formats.data_tables import DataTable
from mobilekd.inference.predictor import open_predictor
from mobilekd.metrics.predictions import read_predictions
from mobilekd.metrics.shapes import risk_coverage_points, subgroups
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs"))


def test_a_run_is_judged_on_its_test_split(run: Path) -> None:
    document = evaluate(run)
    split = json.loads((run / "split.json").read_text())
    answers = read_predictions(run / "evaluation" / "predictions.csv")
    assert sorted(answers.ids) == sorted(split["test"])
    np.testing.assert_allclose(answers.probabilities.sum(1), 1, atol=1e-5)
    assert json.loads((run / "evaluation" / "metrics.json").read_text()) == document
    right = np.mean(answers.probabilities.argmax(1) == answers.truth)
    assert document["metrics"]["accuracy"]["value"] == pytest.approx(right)
    assert np.trace(np.array(document["confusion"])) == round(right * len(answers.ids))
    assert sum(one["n"] for one in document["reliability"]) == len(answers.ids)
    assert document["data"]["leaky"] is False
    for name in ("confusion", "reliability", "risk_coverage"):
        assert ET.parse(run / "evaluation" / f"{name}.svg").getroot().tag.endswith("svg")


def test_the_csv_has_the_stated_columns(run: Path) -> None:
    evaluate(run)
    with (run / "evaluation" / "predictions.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert header == ["image", "lesion", "truth", "akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]


def test_the_answers_are_those_of_the_student_and_do_not_depend_on_the_batch(run: Path) -> None:
    predictor = open_predictor(run)
    dataset = load(predictor.recipe.data)
    pictures = inputs(dataset, dataset.ids[:70], predictor.preprocess)
    together = predictor.answer(pictures)
    alone = np.concatenate([predictor.answer(pictures[i : i + 1]) for i in range(0, 70, 23)])
    np.testing.assert_allclose(together[::23], alone, atol=1e-5)


def test_photographs_seen_in_training_are_left_out_and_counted(run: Path, tmp_path: Path) -> None:
    split = json.loads((run / "split.json").read_text())
    same = DataTable(kind="synthetic", count=120, size=32)
    document = evaluate(run, data=same, output=tmp_path / "same")
    used = len(split["train"]) + len(split["validation"])
    assert document["data"]["left_out"]["overlap"] == used
    assert document["data"]["photographs"] == len(split["test"])
    other = evaluate(
        run, data=DataTable(kind="synthetic", count=80, size=32, seed=7), output=tmp_path / "other"
    )
    assert other["data"]["left_out"]["overlap"] == 0
    assert other["data"]["photographs"] == 80


def test_classes_without_a_place_are_counted(run: Path, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    dataset = load(DataTable(kind="synthetic", count=60, size=32, seed=9))
    for i in range(60):
        key = dataset.classes[dataset.targets[i]].key
        folder = root / {"nv": "nevus", "df": "wart"}.get(key, key)
        folder.mkdir(parents=True, exist_ok=True)
        dataset.photograph(i).save(folder / f"{dataset.ids[i]}.png")
    document = evaluate(
        run,
        data=DataTable(kind="folder", root=str(root)),
        mapping={"nevus": "nv"},
        output=tmp_path / "out",
    )
    counts = dataset.counts()
    assert document["data"]["left_out"]["unmapped"] == {"wart": counts["df"]}
    assert document["data"]["by_class"]["nv"] == counts["nv"]
    assert document["metrics"]["recall.df"]["value"] is None
    assert "no example" in document["metrics"]["recall.df"]["reason"]


def test_a_leaky_split_is_labelled(tmp_path: Path) -> None:
    assert evaluate(make_run(tmp_path, split="photograph"))["data"]["leaky"] is True


def test_the_teachers_stand_beside_the_student(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    split = json.loads((folder / "split.json").read_text())
    dataset = load(open_predictor(folder).recipe.data)
    truth = dataset.targets[dataset.rows(split["test"])]
    keep_teacher(folder, np.eye(7)[truth] * 9)
    document = evaluate(folder)
    assert document["teacher"]["metrics"]["accuracy"]["value"] == 1
    assert document["metrics"]["teacher_agreement"]["value"] == pytest.approx(
        document["metrics"]["accuracy"]["value"]
    )
    assert read_predictions(folder / "evaluation" / "teacher_predictions.csv").ids == tuple(
        split["test"]
    )
    elsewhere = evaluate(folder, data=DataTable(kind="synthetic", count=70, size=32, seed=5))
    assert elsewhere["metrics"]["teacher_agreement"]["value"] is None
    assert "own test split" in elsewhere["metrics"]["teacher_agreement"]["reason"]
    keep_teacher(folder, np.zeros((3, 7)))
    with pytest.raises(UserError, match="one row of logits per test photograph"):
        evaluate(folder)


def test_broken_weights_end_in_one_line(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    state = load_file(folder / "student.safetensors")
    save_file(
        {
            key: value * np.nan if value.is_floating_point() else value
            for key, value in state.items()
        },
        folder / "student.safetensors",
    )
    with pytest.raises(UserError, match="NaN or infinity"):
        evaluate(folder)
    assert not (folder / "evaluation").exists()


def test_a_split_that_cannot_be_made_again_is_refused(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(run, folder)
    (folder / "split.json").unlink()
    evaluate(folder)  # the recipe makes the same split again
    info = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", info | {"split_hash": "0" * 64})
    with pytest.raises(UserError, match="training's was 000000000000"):
        evaluate(folder)


def test_subgroups_hold_every_photograph_once(run: Path) -> None:
    document = evaluate(run)
    for rows in document["subgroups"].values():
        assert sum(row["n"] for row in rows) == document["data"]["photographs"]
    answers = read_predictions(run / "evaluation" / "predictions.csv")
    ages = [None, 12, 44, 45, 80] * (len(answers.ids) // 5)
    found = subgroups(
        answers.aligned(answers.ids[: len(ages)]), {"age": ages, "sex": [None] * len(ages)}
    )
    assert [row["group"] for row in found["age"]] == [
        "0 to 29",
        "30 to 44",
        "45 to 59",
        "75 and over",
        "unknown",
    ]
    assert "sex" not in found


def test_risk_coverage_ends_at_the_error_rate() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(4), 333)
    truth = random.integers(0, 4, 333)
    points = risk_coverage_points(truth, probabilities)
    assert points[-1] == [1.0, pytest.approx(np.mean(probabilities.argmax(1) != truth))]
    assert all(a[0] < b[0] for a, b in pairwise(points))


@pytest.mark.parametrize("target", ["nowhere", "reference:none-such"])
def test_what_is_not_there_is_named(target: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=target):
        evaluate(target, runs=tmp_path)
