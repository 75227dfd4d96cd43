"""One rule from probabilities to words, and any temperature and priors put on afterwards."""

import numpy as np
import pytest

from mobilekd.formats.calibration import Calibration, Rescale, Sets
from mobilekd.formats.constants import decided_by
from mobilekd.formats.labels import Label
from mobilekd.metrics.calibrate import rescaled, softmax
from mobilekd.metrics.decide import decisions

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


def test_a_calibration_written_before_stays_as_it_was() -> None:
    document = Calibration(threshold=0.4).model_dump(mode="json")
    assert not {"sets", "rescale"} & document.keys()
    assert Calibration.model_validate(document) == Calibration(threshold=0.4)
    with pytest.raises(ValueError, match="power"):
        Rescale(power=0.0, offsets=(0.0, 0.0))
