"""Comparison: pairing, pooled seeds, Holm, controls that join by themselves, and honest
verdicts.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fixtures.evaluation import keep_teacher, make_run

from mobilekd.commands.compare import compare
from mobilekd.figures import comparison as pictures
from mobilekd.formats.comparison import Claim, Comparison
from mobilekd.formats.interval import Interval
from mobilekd.formats.runs import open_run
from mobilekd.metrics.entries import Entry, group_name, recipe_group
from mobilekd.metrics.paired import compare_entries
from mobilekd.metrics.predictions import Predictions
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json, write_json

KEYS = ("bkl", "mel", "nv")


def answers(skill: float, seed: int, n: int = 400) -> Predictions:
    """Photographs that are the same for every seed, answered with more or less skill."""
    truth = np.repeat(np.arange(n // 2) % 3, 2)
    logits = np.random.default_rng(seed).normal(size=(n, 3)) + skill * np.eye(3)[truth]
    odds = np.exp(logits)
    ids = tuple(f"p{i}" for i in range(n))
    return Predictions(
        KEYS, ids, tuple(f"l{i // 2}" for i in range(n)), truth, odds / odds.sum(1, keepdims=True)
    )


def entry(
    name: str,
    recipe: str,
    skill: float,
    seed: int,
    control: str | None = None,
    teacher: Predictions | None = None,
) -> Entry:
    return Entry(
        name, recipe, seed, control is None, control, "0" * 64, False, answers(skill, seed), teacher
    )


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    teacher = answers(3.0, 99)
    return compare_entries(
        [
            *(entry(f"kd-s{i}", "kd", 2.4, i, f"ce-s{i}", teacher) for i in range(3)),
            *(entry(f"ce-s{i}", "ce", 1.2, 10 + i) for i in range(3)),
            entry("same", "same", 1.2, 20, "ce-s0"),
        ],
        draws=600,
    )


def test_seeds_are_pooled_and_still_shown(comparison: Comparison) -> None:
    student = comparison.groups[0]
    assert (student.name, len(student.seeds), student.control) == ("kd", 3, "ce")
    mean = np.mean([one.balanced_accuracy for one in student.seeds])
    assert student.metrics["balanced_accuracy"].value == pytest.approx(mean)
    difference = student.difference["balanced_accuracy"]
    control = (
        next(group for group in comparison.groups if group.name == "ce")
        .metrics["balanced_accuracy"]
        .value
    )
    assert difference.value == pytest.approx(mean - control)
    assert 0 < difference.low < difference.value < difference.high


def test_a_real_gain_holds_and_a_made_up_one_does_not(comparison: Comparison) -> None:
    verdict = {(claim.student, claim.metric): claim.holds for claim in comparison.claims}
    assert verdict[("kd", "balanced_accuracy")]
    assert verdict[("kd", "nll")]
    assert not verdict[("same", "balanced_accuracy")]
    assert all(claim.p_holm >= claim.p for claim in comparison.claims)


def test_a_worse_student_is_never_called_better() -> None:
    found = compare_entries([entry("a", "a", 0.5, 0, "b"), entry("b", "b", 3.0, 1)], draws=300)
    assert [claim.holds for claim in found.claims] == [False, False]
    assert found.claims[0].p_holm < 0.05  # significant, in the wrong direction
    assert pictures.markdown(found).count("worse than its control") == 2


def test_the_corrected_p_gives_the_verdict_and_not_the_interval() -> None:
    """As with a difference in NLL of 0.031 (0.005 to 0.056), p 0.056 by Holm."""
    difference = Interval(value=0.031, low=0.005, high=0.056)

    def words(metric: str, p: float) -> str:
        return pictures.claim_verdict(
            Claim(
                student="a",
                control="b",
                metric=metric,
                difference=difference,
                p=p / 2,
                p_holm=p,
                holds=False,
            )
        ).text

    assert [words("nll", p) for p in (0.056, 0.04)] == [
        "not shown to be better",
        "worse than its control",
    ]
    assert words("balanced_accuracy", 0.04) == "better than its control"


def test_not_worse_than_the_teacher_is_a_bound(comparison: Comparison) -> None:
    student = comparison.groups[0]
    assert student.teacher_difference.value < 0
    assert not student.not_inferior
    twin = entry("twin", "twin", 2.0, 5, "none", answers(2.0, 5))
    beside = compare_entries([twin], draws=100).groups[0]
    assert beside.not_inferior
    assert beside.teacher_agreement == 1


def test_other_splits_and_double_names_are_refused() -> None:
    a, b = entry("a", "a", 1, 0), entry("b", "b", 1, 1)
    c = replace(b, name="c")
    with pytest.raises(UserError, match="b was judged on another split"):
        compare_entries([a, replace(b, split_hash="f" * 64)])
    with pytest.raises(UserError, match="two runs are called a"):
        compare_entries([a, a])
    with pytest.raises(UserError, match="two runs are called b"):
        compare_entries([a, b, b])
    with pytest.raises(UserError, match="nothing to compare"):
        compare_entries([])
    with pytest.raises(
        UserError, match=r"c: its predictions lack 2 of 400 photographs: p398, p399"
    ):
        compare_entries(
            [a, b, replace(c, predictions=b.predictions.aligned(b.predictions.ids[:-2]))]
        )


def test_the_same_photographs_have_the_same_labels_and_lesions() -> None:
    a, b = entry("a", "a", 1, 0), entry("b", "b", 1, 1)
    truth = b.predictions.truth.copy()
    truth[3] = (truth[3] + 1) % 3
    for wrong in (
        replace(b.predictions, truth=truth),
        replace(b.predictions, lesions=("x", *b.predictions.lesions[1:])),
    ):
        with pytest.raises(UserError, match=r"b: its predictions have other .* for 1: p[03]"):
            compare_entries([a, replace(b, predictions=wrong)])


def test_a_teacher_that_lacks_photographs_is_one_line() -> None:
    a = entry("a", "a", 1, 0)
    few = a.predictions.aligned(a.predictions.ids[:-1])
    with pytest.raises(UserError, match=r"a's teacher: its predictions lack 1 of 400 .*p399"):
        compare_entries([replace(a, teacher_predictions=few)])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ham-035-s0", "ham-035-s1"], "ham-035"),
        (["ham-035", "ham-035-seed1"], "ham-035"),
        (["only-3"], "only-3"),
        (["x10", "x11"], "x"),
        (["cat", "dog"], "cat"),
        (["ham-control", "ham-s1-control", "ham-s2-control"], "ham-control"),
        (["ham_s0_control", "ham_s1_control"], "ham_control"),
        (["abc1x", "abc2y"], "abc"),
    ],
)
def test_a_group_has_the_name_that_its_seeds_share(names: list[str], expected: str) -> None:
    assert group_name(names) == expected


def test_tables_and_pictures_say_what_the_document_says(comparison: Comparison) -> None:
    text = pictures.markdown(comparison)
    assert "better than its control" in text
    assert "not shown to be better" in text
    assert "may be worse by over 1 point" in text
    assert "Holm-corrected over the 4 claims" in text
    for line in text.splitlines():
        if line.startswith("| kd-s0") or line.startswith("| kd "):
            assert line.count("|") >= 4
    drawn = pictures.charts(comparison)
    assert set(drawn) == {"balanced_accuracy", "differences"}
    assert "kd – control" in drawn["differences"].svg()


def test_runs_are_evaluated_and_their_controls_join(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    control = make_run(root, "tiny-control", is_control=True)
    student = make_run(root, "tiny", control="tiny-control")
    split = json.loads((student / "split.json").read_text())
    keep_teacher(student, np.random.default_rng(0).normal(size=(len(split["test"]), 7)))
    comparison = compare(["tiny"], output=tmp_path / "out", runs=root)
    assert [group.name for group in comparison.groups] == ["tiny", "tiny-control"]
    assert comparison.groups[0].control == "tiny-control"
    assert (control / "evaluation" / "predictions.csv").exists()
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == comparison.model_dump(
        mode="json"
    )
    assert (
        (tmp_path / "out" / "comparison.md")
        .read_text()
        .startswith("**Students, controls and teachers**")
    )
    assert (tmp_path / "out" / "differences.svg").exists()


def test_what_cannot_be_compared_is_refused_before_it_is_evaluated(tmp_path, capsys):
    one = make_run(tmp_path / "runs", "one", control="nowhere")
    other = make_run(tmp_path / "runs", "other", split="photograph")
    twin = Path(shutil.copytree(one, tmp_path / "elsewhere" / "one"))
    with pytest.raises(UserError, match="other has another split"):
        compare([one, other], output=tmp_path / "out")
    with pytest.raises(UserError, match=r"are both called one; give one of them"):
        compare([one, twin], output=tmp_path / "out")
    assert not (one / "evaluation").exists()
    assert not (tmp_path / "out").exists()
    assert "compare: 1 without their control" in capsys.readouterr().err


def test_seeds_pool_by_their_teachers_weights_and_not_by_how_those_were_trained(tmp_path):
    folder = make_run(tmp_path, "taught")
    recipe, info = (
        read_json(folder / "recipe.json", "recipe"),
        read_json(folder / "run.json", "run"),
    )

    def group(*, weights: str = "a", **changes: object) -> str:
        teacher = {
            "model": "mobilenetv2_100",
            "weights_sha256": weights,
            "validation": {},
            "seconds": 1.0,
        }
        write_json(folder / "recipe.json", {**recipe, **changes})
        write_json(folder / "run.json", {**info, "teachers": [teacher]})
        return recipe_group(open_run(folder))

    assert group() == group(seed=1, teach={"epochs": 3}, train={**recipe["train"], "threads": 1})
    assert group() != group(weights="b")
    assert group() != group(train={**recipe["train"], "epochs": 3})
