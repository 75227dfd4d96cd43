"""A teacher sees the student's view at its own resolution; unlabelled photographs reach students
alone.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures.recipes import PLAIN
from fixtures.run import prepared
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mobilekd.formats.data_tables import AugmentTable, UnlabelledTable
from mobilekd.formats.interval import Interval
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.teacher import TeacherRecord
from mobilekd.formats.training_tables import EnsembleTable, LossTable, TeacherTable, TrainTable
from mobilekd.losses import Objective
from mobilekd.support.errors import UserError
from mobilekd.teachers.network import Teacher, build_teacher, teacher_preprocess
from mobilekd.training.ensemble import TeacherEnsemble
from mobilekd.training.experiment import Experiment
from mobilekd.training.loop import DrawnBatch
from mobilekd.training.member import Member, own_preprocess
from mobilekd.training.parallel import World
from mobilekd.training.pixels import Drawer, draw_all
from mobilekd.training.schedule import TrainingImages, epoch_order

STUDENT = Preprocess(width=24, height=24)
TABLE = TeacherTable(model="test_resnet")


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    recipe = load_recipe(PLAIN, ["data.count=60", "data.size=32"])
    return replace(prepared(recipe), preprocess=STUDENT, augment=AugmentTable())


def record(preprocess: Preprocess, experiment: Experiment) -> TeacherRecord:
    return TeacherRecord(
        model="test_resnet",
        labels=experiment.dataset.classes,
        preprocess=preprocess.to_dict(),
        split_hash=experiment.split.hash(),
        split_by="lesion",
        data_hash="",
        recipe_hash="",
        identity="",
        weights_sha256="0" * 64,
        validation={
            f"recall.{label.key}": Interval(value=0.5) for label in experiment.dataset.classes
        },
        seconds=1.0,
        created_utc="",
        versions={},
    )


def ensemble(
    experiment: Experiment, own: Preprocess, train: TrainTable, caches: Path
) -> TeacherEnsemble:
    """One teacher of random weights, always the same, that takes ``own``."""
    torch.manual_seed(0)
    network = Teacher(build_teacher(TABLE, experiment.classes))
    member = Member(TABLE, record(own, experiment), network, own)
    return TeacherEnsemble([member], EnsembleTable(), train, experiment, caches, World())


def batch(experiment: Experiment, rows: np.ndarray, view: int, mixed: float) -> DrawnBatch:
    drawer = Drawer(experiment.training_images, experiment.views, 0, torch.device("cpu"))

    def mix(values: torch.Tensor) -> torch.Tensor:
        return mixed * values + (1 - mixed) * values.flip(0)

    x = mix(experiment.views.normalise(drawer.draw(rows, view)))
    return DrawnBatch(rows, view, 0, x, mix)


def test_a_teacher_of_the_students_size_is_given_the_students_own_input(
    experiment: Experiment, tmp_path: Path
) -> None:
    """And its cache has the name that it had before teachers had sizes of their own."""
    train = TrainTable(views=2, epochs=2)
    same = ensemble(experiment, STUDENT, train, tmp_path)
    one = batch(experiment, np.arange(8), 1, 0.3)
    assert same._seen_by(0, one) is one.x
    storage = Preprocess(width=30, height=30).to_dict()
    assert same.caches()[0].depends_on == {
        "weights": "0" * 64,
        "data": experiment.dataset.hash,
        "unlabelled": None,
        "storage": storage,
        "preprocess": STUDENT.to_dict(),
        "augment": AugmentTable().model_dump(mode="json"),
        "seed": 0,
        "views_version": 1,
    }


def test_a_teacher_with_its_own_normalisation_sees_the_same_pixels(
    experiment: Experiment, tmp_path: Path
) -> None:
    """Its input is the student's under another mean and deviation, mixed alike."""
    own = Preprocess(width=24, height=24, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    taught = ensemble(experiment, own, TrainTable(views=0), tmp_path)
    one = batch(experiment, np.arange(8), 3, 0.3)

    def channels(values: tuple[float, float, float]) -> torch.Tensor:
        return torch.tensor(values).view(1, 3, 1, 1)

    pixels = one.x * channels(STUDENT.std) + channels(STUDENT.mean)
    expected = (pixels - channels(own.mean)) / channels(own.std)
    assert torch.allclose(taught._seen_by(0, one), expected, atol=1e-5)


def test_a_larger_teacher_sees_the_same_view(experiment: Experiment, tmp_path: Path) -> None:
    """Reduced to the student's size, its input is the student's but for sharpness."""
    taught = ensemble(experiment, Preprocess(width=48, height=48), TrainTable(views=0), tmp_path)
    one = batch(experiment, np.arange(8), 2, 0.7)
    seen = taught._seen_by(0, one)
    assert seen.shape == (8, 3, 48, 48)
    reduced = torch.nn.functional.avg_pool2d(seen, 2)
    other = batch(experiment, np.arange(8), 5, 0.7).x
    near, far = ((reduced - x).abs().mean() for x in (one.x, other))
    assert near < 0.3 * far


def test_cached_and_fresh_answers_are_the_same(experiment: Experiment, tmp_path: Path) -> None:
    own = Preprocess(width=40, height=40)
    rows = np.array([3, 1, 7])
    objective = Objective((LossTable(name="hinton"),), classes=experiment.classes)
    cached = ensemble(experiment, own, TrainTable(views=2, epochs=2), tmp_path).feed(objective)
    fresh = ensemble(experiment, own, TrainTable(views=0), tmp_path).feed(objective)
    one = batch(experiment, rows, 1, 1.0)
    assert torch.allclose(cached(one).logits, fresh(one).logits, atol=1e-4)


def test_what_the_recipe_says_of_a_teacher_must_be_so(experiment: Experiment) -> None:
    taught = record(Preprocess(width=48, height=48), experiment)
    assert own_preprocess(Path("t"), taught, TABLE).width == 48
    other = TABLE.model_copy(update={"width": 64})
    with pytest.raises(UserError, match=r"t: trained for width 48, and the recipe asks for 64"):
        own_preprocess(Path("t"), taught, other)


def test_a_teacher_takes_its_hubs_normalisation_and_what_the_recipe_says() -> None:
    hub = teacher_preprocess(TeacherTable(model="resnet18", weights="hub"), STUDENT)
    assert hub.mean == (0.485, 0.456, 0.406)
    assert (hub.width, hub.height) == (24, 24)
    said = TeacherTable(model="resnet18", weights="hub", width=64, mean=(0.1, 0.2, 0.3))
    own = teacher_preprocess(said, STUDENT)
    assert (own.width, own.height, own.mean, own.std) == (64, 24, (0.1, 0.2, 0.3), hub.std)
    assert teacher_preprocess(TABLE, STUDENT) == STUDENT


def images(labelled: int, unlabelled: int, share: float, draws: int | None) -> TrainingImages:
    count = labelled + unlabelled
    targets = np.array([i % 3 for i in range(labelled)] + [-1] * unlabelled)
    ids = tuple(str(i) for i in range(count))
    return TrainingImages(ids, targets, np.zeros((count, 3, 1, 1), np.uint8), share, draws)


@given(
    st.integers(1, 40),
    st.integers(0, 40),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.sampled_from(["none", "sampling", "sqrt_sampling"]),
    st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_an_epoch_is_a_pure_function_of_its_number(
    labelled: int, unlabelled: int, share: float, balance: str, epoch: int
) -> None:
    table = TrainTable(balance=balance)
    some = images(labelled, unlabelled, share, None)
    order = epoch_order(some, table, 3, 1, epoch)
    assert len(order) == len(some.ids)
    assert np.array_equal(order, epoch_order(some, table, 3, 1, epoch))
    if balance == "none" and not (share and unlabelled):
        assert sorted(order) == list(range(len(some.ids)))


def test_unlabelled_photographs_have_the_share_that_was_stated() -> None:
    """Of 20,000 draws 5,000 are expected; six standard deviations fail once in 10^9."""
    some = images(300, 19_700, 0.25, None)
    order = epoch_order(some, TrainTable(balance="sqrt_sampling"), 3, 0, 0)
    assert abs((some.targets[order] < 0).sum() - 5000) < 6 * np.sqrt(20_000 * 0.25 * 0.75)


def test_a_control_has_as_many_steps_and_no_photograph_without_a_label(
    experiment: Experiment, tmp_path: Path
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for number in range(5):
            noise = np.random.default_rng([number, len(folder), ord(folder[0])])
            pixels = noise.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    table = UnlabelledTable(folders=(str(tmp_path / "one"), str(tmp_path / "two")), share=0.4)
    more = replace(experiment, unlabelled_table=table, _images={})
    count = len(experiment.split.train)
    student, control = more.training_images, more.labelled_images
    assert len(student.ids) == len(set(student.ids)) == count + 10
    assert (student.targets[count:] == -1).all()
    assert control.ids == experiment.split.train
    assert control.epoch_size == student.epoch_size
    order = epoch_order(control, TrainTable(balance="none"), experiment.classes, 0, 0)
    assert len(order) == count + 10
    assert set(order) == set(range(count))
    assert more.unlabelled_hash != experiment.unlabelled_hash is None


def test_a_copy_in_a_later_folder_is_left_out(experiment: Experiment, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        experiment.dataset.photograph(0).save(tmp_path / folder / "of-the-data-set.png")
        Image.new("RGB", (32, 32), "teal").save(tmp_path / folder / f"{folder}.png")
    folders = (str(tmp_path / "one"), str(tmp_path / "two"))
    more = replace(experiment, unlabelled_table=UnlabelledTable(folders=folders), _images={})
    assert [joined for _, joined in more.unlabelled] == [("one",), ()]


def test_a_view_is_drawn_again_whenever_it_is_asked_for_and_is_the_same(
    experiment: Experiment,
) -> None:
    shown, rows = experiment.training_images, np.array([4, 0, 2])
    drawer = Drawer(shown, experiment.views, 0, torch.device("cpu"))
    whole = {
        view: draw_all(experiment.views, shown, drawer.key, view, torch.device("cpu"))
        for view in range(3)
    }
    for view in (0, 1, 2, 0, 1):
        assert torch.equal(drawer.draw(rows, view), whole[view][rows])
    parts = list(drawer.parts(np.arange(7), 1, 3))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert np.array_equal(np.concatenate(parts), whole[1][:7].numpy())
