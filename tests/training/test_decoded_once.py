"""A photograph is decoded once, over all that teach and distill read of it."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.decoded import count_decoded
from fixtures.experiment import experiment

from mobilekd.data import training_hashes
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.training.experiment import Experiment, prepare, teachers_sizes


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return count_decoded(monkeypatch)


def opened(recipe: Recipe) -> Experiment:
    student = recipe.preprocess.to_preprocess()
    models = teachers_sizes(recipe.teachers, student)
    return prepare(recipe.data, recipe.split, student, recipe.augment, recipe.seed, models=models)


def test_teach_and_distill_decode_each_photograph_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    """Their own calls, in their order, without the training between them; the teacher takes another
    size than the student.
    """
    monkeypatch.setenv("MOBILEKD_STORE", str(tmp_path / "store"))
    recipe = load_recipe(
        str(experiment(tmp_path) / "small.toml"),
        [
            f"data.root={tmp_path / 'photographs'}",
            "preprocess.width=24",
            "preprocess.height=24",
            "teachers.0.width=32",
            "teachers.0.height=32",
        ],
    )
    student, teacher = recipe.preprocess.to_preprocess(), Preprocess(width=32, height=32)
    teaching = opened(recipe)
    first = np.asarray(teaching.images(teacher).storage)
    teaching.validation_of(teacher)
    distilling = opened(recipe)
    images = distilling.training_images
    assert images.storage.shape[1:] == (3, 30, 30)
    assert np.array_equal(distilling.images(teacher).storage[:], first)
    assert distilling.validation.inputs.shape[1:] == (3, 24, 24)
    distilling.validation_of(teacher)
    distilling.inputs(distilling.split.train)  # the guard's
    distilling.inputs(distilling.split.test, teacher)
    distilling.inputs(distilling.split.test, student)  # evaluate's
    training_hashes(distilling.dataset, distilling.split)
    assert sorted(decoded) == sorted(distilling.dataset.ids)
    assert len(decoded) == 60
