"""Figures by origin: in the results of evaluate, in the report, in an artifact and its card."""

import json
from pathlib import Path

import numpy as np
import pytest
from fixtures.run import make_run

from mobilekd.cli import main
from mobilekd.commands.compare import compare
from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.report import report
from mobilekd.formats.evaluation import read_evaluation
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.inference.evaluation_set import LabelledImages
from mobilekd.lowering.judgement import accuracy_by_origin
from mobilekd.metrics import metrics
from mobilekd.metrics.predictions import read_origins, read_predictions
from mobilekd.support.errors import UserError

SOURCES = [
    {"kind": "synthetic", "count": 90, "size": 32, "seed": seed, "origin": origin}
    for seed, origin in enumerate(("Vienna", "Graz"))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = {"kind": "several", "sources": SOURCES}
    run = make_run(tmp_path_factory.mktemp("runs"), data=data, steps=10)
    evaluate(run.folder)
    return run.folder


def test_each_origin_has_the_figures_of_its_photographs(folder: Path) -> None:
    found = read_evaluation(folder / "evaluation" / "metrics.json")
    answers = read_predictions(folder / "evaluation" / "predictions.csv")
    origins = read_origins(folder / "evaluation" / "origins.csv", answers.ids)
    assert set(found.origins) == set(origins) == {"Graz", "Vienna"}
    assert sum(one.photographs for one in found.origins.values()) == found.data.photographs
    for name, one in found.origins.items():
        rows = np.array(origins) == name
        right = answers.probabilities.argmax(1) == answers.truth
        assert one.metrics["accuracy"].value == pytest.approx(right[rows].mean())
        assert one.photographs == rows.sum()
        alone = metrics(
            answers.truth[rows],
            answers.probabilities[rows],
            [lesion for lesion, inside in zip(answers.lesions, rows, strict=True) if inside],
            answers.keys,
        )
        for key in ("balanced_accuracy", "ece", "nll"):
            assert one.metrics[key].value == pytest.approx(alone[key].value)
            assert one.metrics[key].low is not None
        assert "coverage" in one.metrics, "and what validation's threshold gives there"


def test_the_report_shows_them(folder: Path, tmp_path: Path) -> None:
    report([folder], tmp_path / "report.html")
    text = (tmp_path / "report.md").read_text()
    part = text[text.index("## Where the photographs come from") :]
    assert "Graz" in part
    assert "like training's" in part
    one = read_evaluation(folder / "evaluation" / "metrics.json").origins["Graz"]
    assert f"{100 * (one.metrics['accuracy'].value or 0):.1f}" in part


def test_data_without_origins_has_none(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=1)
    document = evaluate(run.folder)
    assert "origins" not in document
    assert not (run.folder / "evaluation" / "origins.csv").exists()
    report([run.folder], tmp_path / "report.html")
    assert "Where the photographs come from" not in (tmp_path / "report.md").read_text()


def test_other_data_may_say_its_origin(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = str(folder.parent / "out")
    asked = ["evaluate", str(folder), "--data", "synthetic", "--origin", "Linz", "--output", out]
    assert main([*asked, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert list(found["origins"]) == ["Linz"]
    assert main(["evaluate", str(folder), "--origin", "Linz"]) == 2
    assert "--origin: needs --data" in capfd.readouterr().err


def test_an_export_keeps_the_figures_of_each_origin() -> None:
    truth = np.repeat(np.arange(2), 30)
    answers = np.eye(2)[truth] * 0.8 + 0.1
    answers[:15] = answers[:15, ::-1]  # wrong in the first origin only
    origins = ("A",) * 20 + ("B",) * 37 + ("C",) * 3
    test = LabelledImages(np.empty(0), truth, tuple(map(str, range(60))), origins)
    labels = tuple(Label(key=key, text=key) for key in ("mel", "nv"))
    found = accuracy_by_origin(test, answers, labels)
    assert found["accuracy.A"]["value"] == pytest.approx(0.25)
    assert found["accuracy.B"]["value"] == 1
    assert Interval.model_validate(found["balanced_accuracy.B"]).low == 1
    assert found["accuracy.C"]["value"] is None, "three photographs say nothing"
    plain = LabelledImages(np.empty(0), truth, test.lesions)
    assert accuracy_by_origin(plain, answers, labels) == {}


@pytest.mark.parametrize("text", ["a,b\n", "image,origin\nx\n", "\x00"])
def test_a_broken_file_of_origins_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "origins.csv").write_text(text)
    with pytest.raises(UserError, match=r"origins.csv: not a file of origins"):
        read_origins(tmp_path / "origins.csv", ("x",))


def test_the_report_pools_folds_for_a_reader_who_knows_nothing_of_them(tmp_path: Path) -> None:
    data = {"kind": "several", "sources": SOURCES}
    for fold in range(3):
        split = {"validation": 0.2, "folds": 3, "fold": fold}
        run = make_run(tmp_path, name=f"mine-fold{fold}", data=data, split=split, steps=1)
        document = evaluate(run.folder)
        assert (document["data"]["folds"], document["data"]["fold"]) == (3, fold)
    compared = compare([f"mine-fold{fold}" for fold in range(3)], runs=tmp_path)
    assert (compared.folds, compared.photographs, compared.groups[0].name) == (3, 180, "mine")
    report([tmp_path], tmp_path / "report.html")
    text = (tmp_path / "report.md").read_text()
    part = text[text.index("## Where the photographs come from") :]
    part = part[: part.index("\n## ")]
    assert "every photograph was judged once" in part
    assert part.count("Graz") == part.count("Vienna") > 0
    assert "mine-fold" not in part, "figures of all folds together"
    assert "180 photographs, none of whose lesions it was trained on" in text
    (tmp_path / "mine-fold1" / "evaluation" / "metrics.json").unlink()
    report([tmp_path], tmp_path / "some.html")
    some = (tmp_path / "some.md").read_text()
    assert "folds are not pooled: mine lacks 1 of 3 folds (1)" in some
