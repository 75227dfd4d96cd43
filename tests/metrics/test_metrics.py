"""Metrics against scikit-learn and hand-made cases, and the bootstrap against theory."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from mobilekd.formats.calibration import Calibration, Sets
from mobilekd.metrics import (
    lesion_weights,
    metric_draws,
    metrics,
    paired_difference,
    pooled,
    weighted,
)
from mobilekd.metrics.registry import (
    DEFINITIONS,
    Definition,
    Judged,
    all_metrics,
    class_groups,
    definition,
    in_words,
)
from mobilekd.metrics.weighted import Metric
from mobilekd.support.errors import UserError

KEYS = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
FITTED = Calibration(
    threshold=0.4,
    operating_points={"melanoma": 0.3, "malignant": 0.5},
    sets=Sets(coverage=0.9, thresholds=dict.fromkeys(KEYS, 0.1)),
)


def photographs(
    n: int, classes: int = 7, seed: int = 0, skill: float = 2.0
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Truth, probabilities and lesions (two photographs each) with every class present."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.r_[np.arange(classes), random.integers(0, classes, n // 2 - classes)], 2)
    logits = random.normal(size=(len(truth), classes)) + skill * np.eye(classes)[truth]
    odds = np.exp(logits)
    return truth, odds / odds.sum(1, keepdims=True), [f"L{i // 2}" for i in range(len(truth))]


def ones(truth: np.ndarray) -> np.ndarray:
    return np.ones((1, len(truth)))


def registered(teacher: np.ndarray | None = None) -> dict[str, Metric]:
    """Every registered metric of the seven classes."""
    judged = Judged(KEYS, class_groups(KEYS), calibration=FITTED, teacher=teacher)
    return {name: made for name, made in all_metrics(judged) if not isinstance(made, str)}


def test_what_is_registered_is_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """One definition is all that a new metric needs."""
    share = Definition(
        "GROUP_share",
        "share of answers that say GROUP",
        "",
        "share",
        "",
        lambda judged, group: (
            lambda truth, probabilities, weights: weighted.average(
                np.isin(probabilities.argmax(1), judged.groups[group]).astype(float), weights
            )
        ),
    )
    monkeypatch.setattr("mobilekd.metrics.registry.DEFINITIONS", [*DEFINITIONS, share])
    truth, probabilities, lesions = photographs(60)
    found = metrics(truth, probabilities, lesions, KEYS, draws=5)["melanoma_share"]
    assert found.value == np.mean(probabilities.argmax(1) == KEYS.index("mel"))
    drawn = metric_draws(["malignant_share"], truth, probabilities, lesions, KEYS, draws=5)
    assert drawn["malignant_share"].value >= found.value
    assert in_words("melanoma_share") == "share of answers that say melanoma"


def test_every_metric_has_one_definition_with_words() -> None:
    truth, probabilities, lesions = photographs(60)
    found = metrics(
        truth, probabilities, lesions, KEYS, calibration=FITTED, teacher=probabilities, draws=5
    )
    assert {definition(name).key for name in found} == {one.key for one in DEFINITIONS}
    assert found.keys() == registered(probabilities).keys()
    for name in found:
        one = definition(name)
        assert one.meaning.endswith(".")
        assert one.unit
        assert not {"GROUP", "CLASS"} & set(in_words(name).split()), in_words(name)
    assert in_words("malignant_specificity") == "malignant's specificity at that threshold"
    assert in_words("recall.nv") == "recall of nv"
    texts = {"a": "Angioma", "set": "Setosum", "melanoma": "Melanoma"}
    assert in_words("recall.a", texts) == "recall of Angioma"
    assert in_words("set_coverage.set", texts) == "share of Setosum whose set holds it"
    assert in_words("recall.nv", texts) == "recall of nv"
    assert in_words("melanoma_specificity", texts).startswith("melanoma's"), "a group, no class"
    with pytest.raises(UserError, match=r"metric acuracy.*accuracy"):
        definition("acuracy")


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_metrics_equal_scikit_learn(seed: int, ties: bool) -> None:
    truth, probabilities, _ = photographs(60, seed=seed)
    if ties:  # coarse scores: many photographs share one
        places = probabilities.argsort(1).argsort(1)
        probabilities = np.array([0.01, 0.02, 0.03, 0.04, 0.1, 0.2, 0.6])[places]
    said = probabilities.argmax(1)
    found = {
        name: metric(truth, probabilities, ones(truth))[0] for name, metric in registered().items()
    }
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, said))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, said))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(truth, said, average="macro"))
    assert found["macro_auc"] == pytest.approx(
        sk.roc_auc_score(truth, probabilities, multi_class="ovr")
    )
    assert found["nll"] == pytest.approx(sk.log_loss(truth, probabilities, labels=range(7)))
    brier = np.mean(((probabilities - np.eye(7)[truth]) ** 2).sum(1))
    assert found["brier"] == pytest.approx(brier)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_weight_counts_like_that_many_copies(seed: int) -> None:
    truth, probabilities, _ = photographs(40, seed=seed)
    weights = np.random.default_rng(seed).integers(1, 4, len(truth))
    copies = np.repeat(np.arange(len(truth)), weights)
    for name, metric in registered(probabilities).items():
        if name == "ece":  # its bins are those of the set as given
            continue
        if name == "teacher_agreement":  # a teacher has one answer for each photograph
            continue
        once = metric(truth, probabilities, weights[None].astype(float))
        many = metric(truth[copies], probabilities[copies], np.ones((1, len(copies))))
        assert once == pytest.approx(many), name


def test_sensitivity_at_95_specificity_equals_the_roc_curve() -> None:
    truth, probabilities, _ = photographs(400, seed=3, skill=1.0)
    fpr, tpr, _ = sk.roc_curve(truth == 4, probabilities[:, 4], drop_intermediate=False)
    expected = tpr[fpr <= 0.05 + 1e-12].max()
    assert weighted.sensitivity_at_specificity((4,))(truth, probabilities, ones(truth))[
        0
    ] == pytest.approx(expected)


def test_calibration_error_of_a_known_gap() -> None:
    # Always 80% sure, right half of the time: the gap is 0.3 whatever the bins.
    truth = np.tile([0, 1], 50)
    probabilities = np.tile([0.8, 0.2], (100, 1))
    assert weighted.ece(truth, probabilities, ones(truth))[0] == pytest.approx(0.3)


def test_risk_coverage_area_of_a_perfect_and_a_useless_order() -> None:
    truth = np.zeros(10, int)
    sure = np.linspace(0.99, 0.6, 10)
    right_first = np.stack(
        [np.where(np.arange(10) < 5, sure, 1 - sure), np.where(np.arange(10) < 5, 1 - sure, sure)],
        1,
    )
    wrong_first = right_first[:, ::-1]
    assert (
        weighted.aurc(truth, right_first, ones(truth))[0]
        < weighted.aurc(truth, wrong_first, ones(truth))[0]
    )
    everything_right = np.tile([0.9, 0.1], (10, 1))
    assert weighted.aurc(truth, everything_right, ones(truth))[0] == 0


def test_every_draw_keeps_lesions_together_and_classes_alive() -> None:
    truth, _, lesions = photographs(60, seed=1)
    for weights in lesion_weights(truth, lesions, 200):
        # both photographs of a lesion
        np.testing.assert_array_equal(weights[:, 0::2], weights[:, 1::2])
        for c in range(7):
            assert (weights[:, truth == c].sum(1) == (truth == c).sum()).all()


def test_photographs_without_a_lesion_are_drawn_one_by_one() -> None:
    weights = next(lesion_weights(np.zeros(6, int), [""] * 6, 300))
    assert (weights[:, 0] != weights[:, 1]).any()


def test_interval_covers_the_truth_at_its_stated_rate() -> None:
    # Accuracy of independent photographs: a 95% interval must miss a known 70% in about one set of
    # twenty.
    random = np.random.default_rng(0)
    missed = 0
    for trial in range(300):
        right = random.random(200) < 0.7
        probabilities = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
        found = metrics(
            np.zeros(200, int), probabilities, [""] * 200, ("a", "b"), draws=200, seed=trial
        )["accuracy"]
        missed += not found.low <= 0.7 <= found.high
    assert 0.02 <= missed / 300 <= 0.09


def test_correlated_photographs_widen_the_interval() -> None:
    random = np.random.default_rng(0)
    right = np.repeat(random.random(60) < 0.7, 10)
    probabilities = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    truth = np.zeros(600, int)
    together = metrics(truth, probabilities, [f"{i // 10}" for i in range(600)], ("a", "b"))[
        "accuracy"
    ]
    apart = metrics(truth, probabilities, [""] * 600, ("a", "b"))["accuracy"]
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_the_interval_of_every_metric_holds_its_value_and_is_fast() -> None:
    truth, probabilities, lesions = photographs(2000)
    fitted = Calibration(threshold=0.4, operating_points={"melanoma": 0.3, "malignant": 0.5})
    start = time.process_time()
    found = metrics(
        truth,
        probabilities,
        lesions,
        KEYS,
        calibration=fitted,
        teacher=np.log(probabilities),
        draws=1000,
    )
    seconds = time.process_time() - start
    assert seconds < 10  # about one second on one quiet core; the bound is for a crowded machine
    for name, figure in found.items():
        assert figure.reason is None, name
        assert figure.low <= figure.value <= figure.high, name
    assert found["teacher_agreement"].value == 1
    for key in (
        "melanoma_sensitivity",
        "malignant_specificity",
        "recall.nv",
        "coverage",
        "selective_accuracy",
        "aurc",
    ):
        assert key in found


def test_a_class_without_an_example_is_null_with_the_reason() -> None:
    truth, probabilities, lesions = photographs(80)
    kept = truth != 4
    found = metrics(truth[kept], probabilities[kept], list(np.array(lesions)[kept]), KEYS, draws=50)
    assert found["recall.mel"].value is None
    assert "mel" in found["recall.mel"].reason
    assert found["melanoma_sensitivity_at_95_specificity"].value is None
    assert found["balanced_accuracy"].value == pytest.approx(
        np.mean([found[f"recall.{k}"].value for k in KEYS if k != "mel"])
    )


def test_one_class_alone_has_no_auc() -> None:
    found = metrics(np.zeros(5, int), np.full((5, 2), 0.5), [""] * 5, ("nv", "bkl"), draws=20)
    assert found["macro_auc"].value is None
    assert (
        found["melanoma_sensitivity_at_95_specificity"].reason
        == "no class is known to be melanoma; [data.roles] of the recipe says which is"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_answers_are_refused(bad: float) -> None:
    probabilities = np.full((4, 2), 0.5)
    probabilities[1, 0] = bad
    with pytest.raises(UserError, match="1 of 4 answers hold NaN"):
        metrics(np.array([0, 1, 0, 1]), probabilities, [""] * 4, ("a", "b"))


def test_unlabelled_and_empty_sets_are_refused() -> None:
    with pytest.raises(UserError, match="no labelled photograph"):
        metrics(np.zeros(0, int), np.zeros((0, 2)), [], ("a", "b"))
    with pytest.raises(UserError, match="no class of this model"):
        metrics(np.array([-1]), np.full((1, 2), 0.5), [""], ("a", "b"))


def test_a_paired_difference_is_tighter_than_its_parts_and_signed() -> None:
    truth, better, lesions = photographs(600, seed=5)
    worse = better.copy()
    worse[:40] = worse[:40, ::-1]
    found = paired_difference("balanced_accuracy", truth, better, worse, lesions, KEYS)
    assert 0 < found.low < found.value < found.high
    back = paired_difference("balanced_accuracy", truth, worse, better, lesions, KEYS)
    assert back.value == pytest.approx(-found.value)
    alone = metrics(truth, better, lesions, KEYS)["balanced_accuracy"]
    assert found.high - found.low < alone.high - alone.low
    same = paired_difference("accuracy", truth, better, better, lesions, KEYS)
    assert (same.low, same.value, same.high) == (0, 0, 0)


def test_seeds_add_their_own_spread() -> None:
    truth, one, lesions = photographs(600, seed=5)
    same = [metric_draws(["accuracy"], truth, one, lesions, KEYS)["accuracy"]] * 3
    skills = [photographs(600, seed=5, skill=skill)[1] for skill in (0.5, 2.0, 4.0)]
    apart = [
        metric_draws(["accuracy"], truth, answers, lesions, KEYS)["accuracy"] for answers in skills
    ]
    assert (pooled(same, 1) - same[0]).spread.std() == pytest.approx(0, abs=1e-12)
    spread = (pooled(apart, 1) - same[0]).spread.std()
    expected = np.std([seed.value for seed in apart], ddof=1) / np.sqrt(3)
    assert spread == pytest.approx(expected, rel=0.15)


def test_an_unknown_metric_names_the_known_ones() -> None:
    truth, probabilities, lesions = photographs(40)
    with pytest.raises(UserError, match="balanced_accuracy"):
        paired_difference("acuracy", truth, probabilities, probabilities, lesions, KEYS)
