"""[data.roles]: classes of any name get the metrics of what must not be missed."""

import numpy as np
import pytest
from PIL import Image

from mobilekd.data import load
from mobilekd.formats.data_tables import DataTable
from mobilekd.metrics import metrics
from mobilekd.metrics.calibrate import operating_points
from mobilekd.support.errors import UserError


@pytest.fixture
def root(tmp_path):
    for name in ("A", "B", "Melanom"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "1.png")
    return tmp_path


def judged(classes):
    truth = np.arange(30) % 3
    answers = np.eye(3)[truth] * 0.8 + 0.1
    return metrics(truth, answers, [""] * 30, classes), operating_points(answers, truth, classes)


def table(root, **roles):
    return DataTable.model_validate({"kind": "folder", "root": str(root), "roles": roles})


def test_roles_are_guessed_where_none_are_given(root):
    found, points = judged(load(table(root)).classes)
    assert found["melanoma_sensitivity_at_95_specificity"].value == 1
    assert set(points) == {"melanoma", "malignant"}


def test_given_roles_win_over_names(root):
    dataset = load(table(root, malignant=["b"]))
    assert [label.role for label in dataset.classes] == ["benign", "malignant", "benign"]
    found, points = judged(dataset.classes)
    assert found["melanoma_sensitivity_at_95_specificity"].value is None
    assert "[data.roles]" in found["melanoma_sensitivity_at_95_specificity"].reason
    assert found["malignant_sensitivity_at_95_specificity"].value == 1
    assert set(points) == {"malignant"}


def test_a_class_that_is_not_there_is_named(root):
    with pytest.raises(UserError, match=r"data.roles.melanoma: no class is called mel; .* Melanom"):
        load(table(root, melanoma=["mel"]))


def test_roles_do_not_change_what_the_data_is(root):
    assert load(table(root, malignant=["B"])).hash == load(table(root)).hash
