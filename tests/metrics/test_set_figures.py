"""How often the set holds the class, by class and by origin, melanoma's first."""

import numpy as np
import pytest

from mobilekd.formats.calibration import Calibration, Sets
from mobilekd.formats.labels import Label
from mobilekd.metrics import metrics
from mobilekd.metrics.predictions import Predictions
from mobilekd.metrics.shapes import by_origin

LABELS = (
    Label(key="bkl", text="benign keratosis"),
    Label(key="mel", text="melanoma"),
    Label(key="nv", text="nevus"),
)
CALIBRATION = Calibration(
    threshold=0.5, sets=Sets(coverage=0.9, thresholds={"bkl": 0.3, "mel": 0.1, "nv": 0.5})
)


def answers(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return np.arange(count) % 3, random.dirichlet([1, 1, 1], count)


def test_figures_are_what_counting_gives() -> None:
    truth, probabilities = answers(90)
    found = metrics(truth, probabilities, [""] * 90, LABELS, calibration=CALIBRATION, draws=50)
    inside = probabilities >= np.array([0.3, 0.1, 0.5])
    for index, label in enumerate(LABELS):
        figure = found[f"set_coverage.{label.key}"]
        assert figure.value == pytest.approx(inside[truth == index, index].mean())
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
    assert found["set_coverage"].value == pytest.approx(inside[np.arange(90), truth].mean())
    assert found["set_size"].value == pytest.approx(inside.sum(1).mean())
    assert found["set_of_one"].value == pytest.approx((inside.sum(1) == 1).mean())
    assert found["set_empty"].value == pytest.approx((inside.sum(1) == 0).mean())
    names = [name for name in found if name.startswith("set_coverage.")]
    assert names[0] == "set_coverage.mel"


def test_a_class_without_photographs_and_a_model_without_sets() -> None:
    truth, probabilities = answers(60)
    some = truth != 2
    found = metrics(truth[some], probabilities[some], [""] * 40, LABELS, calibration=CALIBRATION)
    assert found["set_coverage.nv"].reason == "no example of nv in this set"
    plain = metrics(truth, probabilities, [""] * 60, LABELS, calibration=Calibration(), draws=5)
    assert not [name for name in plain if name.startswith("set_")]


def test_each_origin_has_its_own() -> None:
    truth, probabilities = answers(90)
    names = tuple(map(str, range(90)))
    judged = Predictions(("bkl", "mel", "nv"), names, names, truth, probabilities)
    origins = ["A" if row < 60 else "B" for row in range(90)]
    found = by_origin(judged, origins, LABELS, CALIBRATION)
    held = (probabilities[:, 1] >= 0.1)[(truth == 1) & (np.arange(90) >= 60)].mean()
    assert found["B"]["metrics"]["set_coverage.mel"]["value"] == pytest.approx(held)
