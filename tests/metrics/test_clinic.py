"""A clinic's photographs fit temperature, priors and sets, and are judged by what has not seen
them.
"""

import numpy as np
import pytest

from mobilekd.formats.calibration import Calibration, Sets
from mobilekd.formats.guard import GuardSummary
from mobilekd.formats.labels import Label
from mobilekd.metrics import clinic as clinics
from mobilekd.metrics import metrics
from mobilekd.metrics.calibrate import rescaled, softmax
from mobilekd.metrics.clinic import (
    coverage_span,
    cross_fitted,
    enough,
    estimate_shares,
    fit_clinic,
    fit_rescale,
    folds,
    judge,
)
from mobilekd.metrics.drift import drift

ALL = np.ones(3, bool)
LABELS = tuple(Label(key=key, text=key) for key in ("bkl", "mel", "nv"))
BEFORE = Calibration(sets=Sets(coverage=0.9, thresholds={"bkl": 0.3, "mel": 0.3, "nv": 0.3}))


def clinic(
    seed: int, count: int, shares: tuple[float, ...] = (0.3, 0.5, 0.2)
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Answers that are three times too sure, by a model that expects nevi."""
    random = np.random.default_rng(seed)
    targets = random.choice(3, count, p=shares)
    logits = random.normal(size=(count, 3)) + 1.5 * np.eye(3)[targets]
    bias = np.log([0.1, 0.1, 0.8])
    return softmax(3 * logits + bias), targets, [f"lesion {row // 2}" for row in range(count)]


def ece(probabilities: np.ndarray, targets: np.ndarray) -> float:
    found = metrics(targets, probabilities, [""] * len(targets), LABELS, draws=2)["ece"].value
    assert found is not None
    return found


def test_other_photographs_are_calibrated_and_covered() -> None:
    given, targets, lesions = clinic(0, 300)
    fitted = fit_clinic(given, targets, lesions, LABELS, BEFORE, coverage=0.9, set_coverage=0.9)
    assert fitted.rescale is not None
    assert fitted.sets is not None
    assert fitted.temperature == BEFORE.temperature, "what is inside the file stays"
    others, truth, _ = clinic(1, 4000)
    answers = rescaled(others, fitted.rescale)
    assert ece(answers, truth) < ece(others, truth) / 3
    least = np.array([fitted.sets.thresholds[label.key] for label in LABELS])
    for index in range(3):
        held = (answers[truth == index, index] >= least[index]).mean()
        low, high = coverage_span(len({lesions[i] for i in np.flatnonzero(targets == index)}), 0.9)
        assert low - 0.02 <= held <= high + 0.02
    assert fitted.coverage >= 0.9
    assert fitted.shares["mel"] == pytest.approx((targets == 1).mean())


def test_cross_fitting_foretells_what_others_get() -> None:
    given, targets, lesions = clinic(2, 300)
    was, now, added = judge(given, targets, lesions, LABELS, BEFORE, coverage=0.9, set_coverage=0.9)
    assert was["ece"].value == pytest.approx(ece(given, targets))
    others, truth, _ = clinic(3, 4000)
    answers = rescaled(others, fit_rescale(given, targets, ALL))
    low, high = now["ece"].low, now["ece"].high
    assert low is not None
    assert high is not None
    assert low - 0.02 <= ece(answers, truth) <= high + 0.02
    assert added.high is not None
    assert added.high < 0, "log loss fell"
    assert next(name for name in now if name.startswith("set_coverage")) == "set_coverage.mel"
    assert now["set_coverage"].value == pytest.approx(0.9, abs=0.06)


def test_lesions_stay_whole_and_classes_are_dealt_evenly() -> None:
    _, targets, lesions = clinic(4, 200)
    part = folds(targets, lesions)
    for lesion in set(lesions):
        assert len({int(part[row]) for row in range(200) if lesions[row] == lesion}) == 1
    shares = [(targets[part == one] == 1).mean() for one in range(5)]
    assert max(shares) - min(shares) < 0.25
    np.testing.assert_array_equal(part, folds(targets, lesions))


def test_nobody_answers_by_what_their_own_lesion_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other labels of a fold change the answers to all others, and none of its own."""
    given, targets, lesions = clinic(5, 120)
    part = folds(targets, lesions)
    monkeypatch.setattr(clinics, "folds", lambda *_: part)
    own = part == part[0]
    changed = np.where(own, (targets + 1) % 3, targets)
    first, second = (cross_fitted(given, one, lesions, ALL) for one in (targets, changed))
    np.testing.assert_array_equal(second[own], first[own])
    assert (np.abs(second[~own] - first[~own]).max(1) > 1e-6).all()


def test_a_few_of_a_rare_class_do_not_run_away() -> None:
    given, targets, _ = clinic(6, 60)
    some = targets != 0
    fitted = fit_rescale(given[some], targets[some], ALL)
    assert np.isfinite(fitted.offsets).all()
    assert abs(fitted.offsets[0]) < 5


def test_what_was_not_photographed_is_no_less_common_for_that() -> None:
    """200 photographs without a melanoma leave its prior beside the others'."""
    given, targets, lesions = clinic(9, 200, (0.6, 0.0, 0.4))
    fitted = fit_clinic(given, targets, lesions, LABELS, BEFORE, coverage=0.9, set_coverage=0.9)
    assert fitted.rescale is not None
    assert fitted.rescale.offsets[1] == 0
    assert sum(fitted.rescale.offsets) == pytest.approx(0, abs=1e-9)
    assert fitted.sets is not None
    assert fitted.sets.thresholds["mel"] == 0, "it cannot be excluded"


def test_how_many_are_enough() -> None:
    count = enough(0.9)
    low, high = coverage_span(count, 0.9)
    assert low >= 0.85
    assert high <= 0.95
    assert coverage_span(8, 0.9) == (1.0, 1.0), "too few to exclude the class at all"
    drawn = []
    random = np.random.default_rng(0)
    for _ in range(2000):
        own = np.sort(random.random(count))
        drawn.append(1 - own[int(0.1 * (count + 1)) - 1])
    assert np.quantile(drawn, [0.025, 0.975]) == pytest.approx([low, high], abs=0.01)


def test_the_mix_of_classes_is_found_without_labels() -> None:
    _, targets, _ = clinic(7, 4000)
    expected = {"bkl": 1 / 3, "mel": 1 / 3, "nv": 1 / 3}
    random = np.random.default_rng(8)
    logits = random.normal(size=(4000, 3)) + 1.5 * np.eye(3)[targets]
    calibrated = softmax(1.5 * logits)  # of three equally common classes
    found = estimate_shares(calibrated, expected)
    np.testing.assert_allclose(found, [0.3, 0.5, 0.2], atol=0.04)


def test_drift_is_told_in_words_and_chance_is_not() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (200, 3, 8, 8)).astype(np.uint8)
    probabilities = np.full((200, 3), 1 / 3)
    calibration = Calibration(threshold=0.5, coverage=0.9)
    outside = np.arange(200) < 90
    guard = GuardSummary(threshold=0.5, refused=0.01)
    found = drift(
        probabilities,
        outside,
        pictures,
        guard,
        calibration,
        LABELS,
        shares={"bkl": 0.3, "mel": 0.1, "nv": 0.6},
        estimated={"bkl": 0.3, "mel": 0.4, "nv": 0.3},
    )
    assert found.text.startswith("these 200 photographs differ from what this model knows by: ")
    for said in ("45% look like none that it knows", "0% get a sure answer", "mel is 40%"):
        assert said in found.text
    sure = np.tile([0.9, 0.05, 0.05], (200, 1))
    sure[:20] = 1 / 3
    same = drift(sure, np.arange(200) < 2, pictures, guard, calibration, LABELS)
    assert not same.differences
    assert "do not differ" in same.text
