"""One rule from probabilities to words, and any temperature and priors put on afterwards."""

import numpy as np
import pytest

from mobilekd.formats.calibration import Calibration, Rescale, Sets
from mobilekd.formats.constants import constants, decided_by
from mobilekd.formats.guard import GuardSummary
from mobilekd.formats.labels import Label
from mobilekd.formats.preprocess import Preprocess
from mobilekd.metrics.calibrate import rescaled, softmax
from mobilekd.metrics.decide import decided, decisions

LABELS = tuple(Label(key=key, text=key) for key in ("mel", "nv", "bkl"))
SETS = Sets(coverage=0.9, thresholds={"mel": 0.2, "nv": 0.5, "bkl": 0.4})


def test_answer_set_and_outside() -> None:
    probabilities = np.array([[0.3, 0.6, 0.1], [0.19, 0.45, 0.36], [0.25, 0.35, 0.4]])
    calibration = Calibration(threshold=0.5, sets=SETS)
    first, empty, outside = decisions(
        probabilities, np.array([False, False, True]), LABELS, calibration
    )
    assert (first.answer, first.set, first.outside) == ("nv", ("nv", "mel"), False)
    assert (empty.answer, empty.set) == ("not sure", ())
    assert (outside.answer, outside.set, outside.outside) == ("outside", None, True)


def test_the_one_word_is_never_a_class_that_the_set_excludes() -> None:
    sets = Sets(coverage=0.9, thresholds={"mel": 0.1, "nv": 0.6, "bkl": 0.3})
    probabilities = np.array([[0.25, 0.55, 0.2], [0.25, 0.41, 0.34], [0.2, 0.6, 0.2]])
    one, two, nevus = decisions(probabilities, None, LABELS, Calibration(threshold=0.4, sets=sets))
    assert (one.answer, one.set) == ("not sure", ("mel",))
    assert (two.answer, two.set) == ("not sure", ("bkl", "mel"))
    assert (nevus.answer, nevus.set) == ("nv", ("nv", "mel"))
    (said,) = decisions(probabilities[:1], None, LABELS, Calibration(threshold=0.4))
    assert said.answer == "nv", "without sets the threshold alone decides"


def test_what_a_file_gives_is_rescaled_guarded_and_decided() -> None:
    """Scores and threshold are compared in float64, as in both apps: rounded to float32 they would
    be equal.
    """
    fitted = Calibration(threshold=0.5, rescale=Rescale(power=2.0, offsets=(3.0, 0.0, 0.0)))
    file = np.array([[0.3, 0.6, 0.1]] * 3, np.float32)
    scores = np.array([[0.2], [0.7], [0.9]], np.float32)
    guard = GuardSummary(threshold=float(np.float64(scores[1, 0]) - 1e-9), refused=0.01)
    said = decided(file, scores, LABELS, fitted, guard)
    assert [one.answer for one in said] == ["mel", "outside", "outside"]
    assert said == decisions(
        rescaled(file, fitted.rescale), np.array([False, True, True]), LABELS, fitted
    )
    assert [one.answer for one in decided(file, None, LABELS, fitted, None)] == ["mel"] * 3
    assert [one.answer for one in decided(file, scores, LABELS, Calibration(), None)] == ["nv"] * 3


def test_without_sets_and_guard_it_says_what_it_said() -> None:
    (said,) = decisions(np.array([[0.3, 0.6, 0.1]]), None, LABELS, Calibration(threshold=0.5))
    assert (said.answer, said.set, said.outside) == ("nv", None, None)


def test_rescaling_is_another_temperature_with_other_priors() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3)) * 4
    inside = np.array([0.3, -0.2, 0.0])
    file = softmax(logits / 1.7 + inside).astype(np.float32)
    wanted, priors = softmax(logits / 2.4 + np.array([1.0, 0.0, -0.5])), np.array([1.0, 0, -0.5])
    power = 1.7 / 2.4
    change = Rescale(power=power, offsets=tuple(priors - power * inside))
    np.testing.assert_allclose(rescaled(file, change), wanted, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(rescaled(file, None), file)
    assert np.isfinite(rescaled(np.array([[1.0, 0.0, 0.0]]), change)).all()


def test_a_file_whose_probabilities_are_not_final_has_another_version() -> None:
    assert decided_by(Calibration(), LABELS) == {}
    said = decided_by(
        Calibration(sets=SETS, rescale=Rescale(power=0.5, offsets=(0.0, 1.0, 2.0))), LABELS
    )
    assert said == {
        "set_coverage": 0.9,
        "set_thresholds": [0.2, 0.5, 0.4],
        "schema_version": 2,
        "rescale": [0.5, 0.0, 1.0, 2.0],
    }


def test_a_file_says_which_priors_are_in_its_answer() -> None:
    def decision(calibration: Calibration) -> object:
        return constants(
            name="x",
            backend="xnnpack",
            precision="fp32",
            labels=LABELS,
            preprocess=Preprocess(width=32, height=32),
            calibration=calibration,
            outputs=("probabilities",),
            card="",
            student="",
            versions={},
        )["decision"]

    fitted = Rescale(power=0.5, offsets=(0.0, 1.0, 2.0))
    assert decision(Calibration()) == "The likeliest class"
    of_clinic = "The likeliest class, adjusted for how often one clinic sees each"
    assert decision(Calibration(rescale=fitted)) == of_clinic
    assert decision(Calibration(bias=(0.1, 0.0, 0.0), rescale=fitted)) == of_clinic
    before = "The likeliest class, adjusted for how often each is seen"
    assert decision(Calibration(bias=(0.1, 0.0, 0.0))) == before


def test_the_final_temperature_is_that_of_the_rescaled_probabilities() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3)) * 4
    fitted = Calibration(temperature=1.7, rescale=Rescale(power=0.5, offsets=(0.0, 0.0, 0.0)))
    given = rescaled(softmax(logits / fitted.temperature), fitted.rescale)
    np.testing.assert_allclose(given, softmax(logits / fitted.final_temperature), atol=1e-9)
    assert fitted.final_temperature == pytest.approx(3.4)
    assert Calibration(temperature=1.7).final_temperature == 1.7


def test_a_calibration_written_before_stays_as_it_was() -> None:
    document = Calibration(threshold=0.4).model_dump(mode="json")
    assert not {"sets", "rescale"} & document.keys()
    assert Calibration.model_validate(document) == Calibration(threshold=0.4)
    with pytest.raises(ValueError, match="power"):
        Rescale(power=0.0, offsets=(0.0, 0.0))
