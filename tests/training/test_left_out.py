"""An origin left out of training is seen by nobody: not by teacher, student, calibration, threshold
or int8's calibration set. Whatever its photographs show and are called, all of these stay as they
are, to the bit; only the judgement changes.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fixtures.small import CLASSES, photographs, small
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mobilekd.commands.distill import distill
from mobilekd.commands.teach import teach
from mobilekd.data import load
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import Run
from mobilekd.inference.evaluation_set import open_evaluation_set
from mobilekd.support.errors import UserError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("left-out")
    photographs(place / "here")
    return place


def elsewhere(root: Path, seed: int, each: int) -> Path:
    """Photographs of the left-out origin: noise of any brightness under any label."""
    random = np.random.default_rng(seed)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for n in range(each):
            noise = random.integers(0, 120, (32, 32, 3)) + random.integers(0, 136)
            Image.fromarray(noise.astype(np.uint8)).save(root / name / f"there_{n}.png")
    return root


def recipe_of(place: Path, there: Path, *overrides: str) -> Recipe:
    sources = ", ".join(
        f"{{kind = 'folder', root = '{root}', origin = '{origin}'}}"
        for root, origin in ((place / "here", "here"), (there, "there"))
    )
    told = (f"data=[{sources}]", "split.test_origin=there", *overrides)
    return small(place, *told)


def trained(place: Path, seed: int, each: int) -> tuple[Run, dict[str, bytes]]:
    """A run whose data hold ``each`` photographs of the left-out origin in each class, and all of
    its files that training or choosing made.
    """
    name = f"{seed}-{each}"
    recipe = recipe_of(place, elsewhere(place / f"there-{name}", seed, each))
    runs = place / f"runs-{name}"
    teach(recipe, runs)
    run = distill(recipe, runs)
    control = runs / f"{recipe.name}-control"
    files = [
        run.folder / "teachers/0/weights.safetensors",
        *(folder / file for folder in (run.folder, control) for file in OUTCOMES),
    ]
    return run, {str(path.relative_to(runs)): path.read_bytes() for path in files}


OUTCOMES = ("student.safetensors", "calibration.json")


@cache
def first(place: Path) -> tuple[Run, dict[str, bytes]]:
    return trained(place, 0, 4)


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.integers(1, 2**16), st.integers(1, 9))
def test_nobody_sees_an_origin_that_is_left_out(place: Path, seed: int, each: int) -> None:
    run, outcomes = first(place)
    if (place / f"runs-{seed}-{each}").exists():  # tried already
        return
    other, again = trained(place, seed, each)
    assert again == outcomes
    assert other.split is not None
    assert run.split is not None
    assert len(other.split.test) == each * len(CLASSES) != 0
    assert (other.split.train, other.split.validation) == (run.split.train, run.split.validation)
    sets = [
        open_evaluation_set(one.recipe, one.info.labels, one.split, one.info.split_hash)
        for one in (run, other)
    ]
    for mine, theirs in zip(
        (sets[0].calibration(16), sets[0].training(), sets[0].validation().inputs),
        (sets[1].calibration(16), sets[1].training(), sets[1].validation().inputs),
        strict=True,
    ):
        assert np.array_equal(mine, theirs)
    origins = {sets[1].dataset.origins[row] for row in sets[1].dataset.rows(other.split.test)}
    assert origins == {"there"}


def test_a_teacher_that_saw_the_origin_does_not_teach(place: Path) -> None:
    run, _ = first(place)
    there = place / "there-0-4"
    seen = recipe_of(place, there, "split.test_origin=''", "name=seen", "split.validation=0.2")
    (teacher,) = teach(seen, place / "seen")
    recipe = recipe_of(place, there, "name=told", f"teachers.0.trained='{teacher}'")
    with pytest.raises(UserError, match="split"):
        distill(recipe, place / "seen", control=False)
    assert len(load(run.recipe.data)) == 60 + 12
