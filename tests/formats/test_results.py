"""Evaluations and comparisons: every file written before is read, and written again as it was."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures.evaluation import make_run

import mobilekd
from mobilekd.commands.compare import compare
from mobilekd.commands.evaluate import evaluate
from mobilekd.formats.comparison import parse_comparison, read_comparison
from mobilekd.formats.evaluation import parse_evaluation, read_evaluation
from mobilekd.support.errors import UserError

PACKAGE = Path(mobilekd.__file__).parent
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
PARSERS = {"evaluation": parse_evaluation, "comparison": parse_comparison}


def kept(kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Documents of one kind in the repository: whole files, and parts of a run's record."""
    for path in sorted([*RESULTS.rglob("*.json"), *PACKAGE.glob("reference/*/metrics.json")]):
        document = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(document, dict):
            for part in (document, *document.values()):
                if isinstance(part, dict) and part.get("kind") == kind:
                    yield path, part


@pytest.mark.parametrize(("kind", "least"), [("evaluation", 10), ("comparison", 2)])
def test_every_document_written_before_is_read_and_written_as_it_was(kind: str, least: int) -> None:
    documents = list(kept(kind))
    assert len(documents) >= least
    for path, document in documents:
        again = PARSERS[kind](document, str(path)).model_dump(mode="json")
        for group in document.get("subgroups", {}).values():  # small ones say no more than why
            for row in group:
                for figure in (row["accuracy"], row["balanced_accuracy"]):
                    figure.setdefault("low", None)
                    figure.setdefault("high", None)
        assert again == document, path
        assert list(again) == list(document), path


def test_what_is_written_now_is_what_the_page_reads(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "tiny", is_control=True)
    document = evaluate(folder)
    read = read_evaluation(folder / "evaluation" / "metrics.json")
    assert read.data.photographs == document["data"]["photographs"]
    assert (
        read.metric("balanced_accuracy").value == document["metrics"]["balanced_accuracy"]["value"]
    )
    assert read.metric("nothing").reason == "not in this evaluation"
    assert compare([folder], output=tmp_path / "out") == read_comparison(
        tmp_path / "out" / "comparison.json"
    )


def test_an_evaluation_that_is_valid_and_another_is_refused(tmp_path: Path) -> None:
    """A figure, and an answer in the table beside it: neither is noticed by its form."""
    folder = make_run(tmp_path, "tiny", is_control=True)
    evaluate(folder)
    place = folder / "evaluation"
    document = json.loads((place / "metrics.json").read_text())
    assert set(document["files"]) == {"predictions.csv"}
    table = place / "predictions.csv"
    answers = table.read_text()
    first = answers.splitlines()[1]
    table.write_text(answers.replace(first, first[:-1] + ("1" if first[-1] != "1" else "2"), 1))
    with pytest.raises(UserError, match=r"predictions\.csv: changed since it was written"):
        compare([folder], output=tmp_path / "out")
    table.write_text(answers)
    document["metrics"]["accuracy"]["value"] = 0.999
    (place / "metrics.json").write_text(json.dumps(document))
    for ask in (
        lambda: read_evaluation(place / "metrics.json"),
        lambda: compare([folder], output=tmp_path / "out"),
    ):
        with pytest.raises(UserError, match=r"metrics\.json: changed since it was written"):
            ask()


def test_a_file_that_is_something_else_names_key_and_remedy(tmp_path: Path) -> None:
    _, document = next(kept("evaluation"))
    path = tmp_path / "metrics.json"
    for change, words in (
        ({"data": {**document["data"], "photographs": -3}}, "data.photographs"),
        ({"metrics": {"ece": {"value": "much"}}}, "metrics.ece.value"),
        ({"extra": 1}, "extra"),
    ):
        path.write_text(json.dumps(document | change))
        with pytest.raises(UserError, match=rf"metrics.json: .*{words}.*mobilekd evaluate again"):
            read_evaluation(path)
