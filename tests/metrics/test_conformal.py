"""The set holds the true class as often as it was asked to, in every class."""

import numpy as np
import pytest

from mobilekd.metrics.conformal import fit_sets, in_sets, members, sentence

KEYS = ("mel", "nv", "bkl")


def answers(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A poor network's probabilities for an unequal mix of classes."""
    random = np.random.default_rng(seed)
    targets = random.choice(3, count, p=[0.1, 0.7, 0.2])
    logits = random.normal(size=(count, 3)) + 1.2 * np.eye(3)[targets] + [-1, 1, 0]
    shifted = np.exp(logits)
    return shifted / shifted.sum(1, keepdims=True), targets


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_each_class_is_covered_as_asked(coverage: float) -> None:
    shares = []
    for seed in range(40):
        thresholds = fit_sets(*answers(seed, 600), [""] * 600, KEYS, coverage).thresholds
        probabilities, targets = answers(seed + 1000, 4000)
        inside = in_sets(probabilities, KEYS, thresholds)
        shares.append([inside[targets == c, c].mean() for c in range(3)])
    mean = np.mean(shares, 0)
    assert (mean > coverage - 0.01).all()
    assert (mean < coverage + 0.03).all(), "and not by sets that are larger than they need be"


def test_the_count_is_that_of_the_theorem() -> None:
    probabilities = np.column_stack([np.arange(1, 20) / 20, 1 - np.arange(1, 20) / 20])
    sets = fit_sets(probabilities, np.zeros(19, int), [""] * 19, ("a", "b"), 0.9)
    assert sets.coverage == 0.9
    assert sets.thresholds == pytest.approx({"a": 2 / 20, "b": 0.0}, rel=1e-5), (
        "two of twenty may be missed; b has no photograph"
    )


def test_a_class_too_rare_to_exclude_is_in_every_set() -> None:
    probabilities, targets = answers(0, 600)
    some = probabilities[targets == 0][:8]
    rare = fit_sets(some, np.zeros(8, int), [""] * 8, KEYS, 0.9).thresholds
    assert rare["mel"] == 0
    assert in_sets(probabilities, KEYS, rare)[:, 0].all()


def test_photographs_of_one_lesion_count_as_one() -> None:
    """Nine of one easy melanoma exclude nothing; of 30 lesions of 4 alike each, later lesions are
    held as often as asked, where 120 photographs counted one by one would promise more than they
    know.
    """
    easy = np.full((9, 3), [0.98, 0.01, 0.01])
    assert fit_sets(easy, np.zeros(9, int), ["one"] * 9, KEYS, 0.9).thresholds["mel"] == 0
    random = np.random.default_rng(0)
    held = []
    for _ in range(400):
        own = np.repeat(random.random(30), 4) + random.normal(0, 1e-3, 120)
        given = np.column_stack([own, 1 - own])
        names = [f"lesion {row // 4}" for row in range(120)]
        least = fit_sets(given, np.zeros(120, int), names, ("a", "b"), 0.9).thresholds["a"]
        held.append(1 - least)
    assert np.mean(held) == pytest.approx(28 / 31, abs=0.012), "by the theorem, 28 of 31 ranks"
    assert np.std(held) > 0.04, "as 30 lesions vary, not as 120 photographs"


def test_sets_in_words() -> None:
    assert sentence(["melanoma"], 3) == "melanoma"
    assert sentence(["nevus", "melanoma"], 3) == "nevus or melanoma"
    assert sentence(["a", "b", "c"], 4) == "a, b or c"
    assert sentence([], 3) == "none of the classes fits"
    assert sentence(["a", "b", "c"], 3) == "no class can be excluded"


def test_members_come_likeliest_first() -> None:
    assert members(np.array([0.2, 0.5, 0.3]), [0.2, 0.1, 0.4]) == [1, 0]
    assert members(np.array([0.2, 0.5, 0.3]), [0.3, 0.6, 0.4]) == []
