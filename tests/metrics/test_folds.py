"""Folds pooled: every lesion judged once, by the student that was trained without it."""

from dataclasses import replace

import numpy as np
import pytest

from mobilekd.figures import comparison as pictures
from mobilekd.formats.comparison import Comparison, parse_comparison
from mobilekd.metrics.entries import Entry
from mobilekd.metrics.folds import pool_folds
from mobilekd.metrics.paired import compare_entries
from mobilekd.metrics.predictions import Predictions
from mobilekd.support.errors import UserError

KEYS = ("bkl", "mel", "nv")
FOLDS, PHOTOGRAPHS = 5, 600


def answers(skill: float, seed: int) -> Predictions:
    truth = np.arange(PHOTOGRAPHS) // 2 % 3
    logits = np.random.default_rng(seed).normal(size=(PHOTOGRAPHS, 3)) + skill * np.eye(3)[truth]
    odds = np.exp(logits)
    ids = tuple(f"p{i:03d}" for i in range(PHOTOGRAPHS))
    lesions = tuple(f"l{i // 2}" for i in range(PHOTOGRAPHS))
    return Predictions(KEYS, ids, lesions, truth, odds / odds.sum(1, keepdims=True))


def folds(recipe: str, skill: float, seed: int = 0, *, control: bool = False) -> list[Entry]:
    """What the five students of ``recipe`` said of all photographs, each of its own part."""
    whole, teacher = answers(skill, 100 * seed + len(recipe)), answers(3.0, 99)
    made = []
    for fold in range(FOLDS):
        ids = [name for i, name in enumerate(whole.ids) if i // 2 % FOLDS == fold]
        made.append(
            Entry(
                name=f"{recipe}-fold{fold}-s{seed}" + ("-control" if control else ""),
                recipe=recipe,
                seed=seed,
                is_control=control,
                control=None if control else f"ce-fold{fold}-s{seed}-control",
                split_hash=f"{fold:064d}",
                leaky=False,
                predictions=whole.aligned(ids),
                teacher_predictions=None if control else teacher.aligned(ids),
                data_hash="d",
                folds=FOLDS,
                fold=fold,
                origins=tuple("Vienna" if int(name[1:]) < 400 else "Graz" for name in ids),
            )
        )
    return made


def of_seeds(seeds: int = 2) -> list[Entry]:
    return [
        one
        for seed in range(seeds)
        for one in (*folds("kd", 2.4, seed), *folds("ce", 1.2, seed, control=True))
    ]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare_entries(of_seeds(), draws=300)


def test_every_lesion_is_judged_once(comparison: Comparison) -> None:
    assert (comparison.photographs, comparison.lesions) == (PHOTOGRAPHS, PHOTOGRAPHS // 2)
    assert comparison.folds == FOLDS
    student, control = comparison.groups
    assert (student.name, student.control, control.name) == ("kd", "ce-control", "ce-control")
    assert [one.run for one in student.seeds] == ["kd-s0", "kd-s1"]
    whole = [answers(2.4, 100 * seed + 2) for seed in range(2)]
    right = np.mean([(one.probabilities.argmax(1) == one.truth).mean() for one in whole])
    assert student.metrics["accuracy"].value == pytest.approx(right)
    assert [claim.holds for claim in comparison.claims] == [True, True]
    assert student.teacher_agreement is not None
    assert parse_comparison(comparison.model_dump(mode="json"), "it") == comparison


def test_the_interval_is_that_of_all_photographs() -> None:
    pooled = compare_entries(folds("kd", 1.0), draws=500).groups[0].metrics["accuracy"]
    alone = compare_entries(folds("kd", 1.0)[:1], draws=500).groups[0].metrics["accuracy"]
    assert None not in (pooled.low, pooled.high, alone.low, alone.high)
    assert pooled.high - pooled.low < 0.6 * (alone.high - alone.low)


def test_each_origin_stands_beside_its_control(comparison: Comparison) -> None:
    assert {name: one.photographs for name, one in comparison.origins.items()} == {
        "Graz": 200,
        "Vienna": 400,
    }
    student, control = comparison.groups
    for origin in comparison.origins:
        gain = student.origin_difference[origin]
        values = [one.origins[origin]["balanced_accuracy"].value or 0 for one in (student, control)]
        assert gain.value == pytest.approx(values[0] - values[1])
        assert gain.low is not None
        assert gain.low > 0
    assert control.origin_difference == {}
    text = pictures.markdown(comparison)
    assert "each answered once, by the one of 5 students that was trained without its" in text
    assert "By origin" in text
    assert text.count("Graz") == 2


def test_one_fold_of_each_is_a_split_like_others() -> None:
    entries = [folds("kd", 2.4)[3], folds("ce", 1.2, control=True)[3]]
    assert pool_folds(entries) == entries
    assert compare_entries(entries, draws=100).folds is None


def test_order_changes_nothing(comparison: Comparison) -> None:
    turned = compare_entries(of_seeds()[::-1], draws=300)
    assert turned.split_hash == comparison.split_hash
    assert (
        turned.groups[0].metrics["accuracy"].value == comparison.groups[0].metrics["accuracy"].value
    )


def test_folds_that_do_not_make_a_whole_are_refused() -> None:
    whole = folds("kd", 2.4)
    with pytest.raises(UserError, match=r"kd-s0 lacks 2 of 5 folds \(1, 3\); train them"):
        compare_entries([whole[0], whole[2], whole[4]])
    with pytest.raises(UserError, match="kd-fold2-s0 and again are both fold 2 of"):
        compare_entries([*whole, replace(whole[2], name="again")])
    with pytest.raises(UserError, match="are folds of different data"):
        compare_entries([*whole[:4], replace(whole[4], data_hash="e")])
    with pytest.raises(UserError, match="120 photographs are judged in several folds"):
        compare_entries([*whole[:4], replace(whole[4], predictions=whole[0].predictions)])
    with pytest.raises(UserError, match="another split"):
        compare_entries([*whole, replace(whole[0], name="x", recipe="x", folds=0)])
