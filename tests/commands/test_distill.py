"""teach and distill: killed and resumed equals never killed, two processes equal one, controls,
refusals.
"""

import dataclasses
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures.recipes import PLAIN
from fixtures.run import prepared
from fixtures.teachers import believe, reseal
from fixtures.warm import ended, free_port, rank_of_two, start
from PIL import Image
from safetensors.torch import load_file

from mobilekd.cli import main
from mobilekd.commands.distill import control_of, distill
from mobilekd.commands.teach import teach
from mobilekd.data import load
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.runs import open_run
from mobilekd.formats.teacher import LOGITS, write_teacher
from mobilekd.students import build
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json, write_json
from mobilekd.teachers.stored_logits import StoredLogits
from mobilekd.training.ensemble import TeacherEnsemble
from mobilekd.training.experiment import Experiment
from mobilekd.training.loop import Trainer
from mobilekd.training.parallel import World

TINY = [
    "data.count=140",
    "data.size=40",
    "preprocess.width=32",
    "preprocess.height=32",
    "teach.epochs=2",
    "teach.batch_size=16",
    "train.epochs=3",
    "train.batch_size=16",
    "train.threads=1",
    "teach.threads=1",
    "student.model=mobilenetv2",
    "student.width=0.35",
]


def tiny(*overrides: str) -> Recipe:
    return load_recipe(PLAIN, [*TINY, *overrides])


def knowing_teachers(runs: Path, recipe: Recipe) -> None:
    """Teach for seconds, then write down that the teachers passed: whether they know much is not
    what is tested here.
    """
    for folder in teach(recipe, runs):
        believe(folder)


def distil_alone(runs: Path, overrides: list[str], *, resume: bool = False) -> None:
    """What a process of its own does."""
    distill(tiny(*overrides), runs, resume=resume, control=False)


def weights(runs: Path) -> dict[str, torch.Tensor]:
    return load_file(runs / "demo" / "student.safetensors")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with trained teachers and an uninterrupted student."""
    runs = tmp_path_factory.mktemp("runs")
    knowing_teachers(runs, tiny())
    distill(tiny(), runs, control=True)
    return runs


def copy_teachers(source: Path, target: Path) -> None:
    shutil.copytree(source / "demo" / "teachers", target / "demo" / "teachers")


def test_a_killed_run_that_is_resumed_ends_with_the_same_bits(taught: Path, tmp_path: Path) -> None:
    copy_teachers(taught, tmp_path)
    process = start(distil_alone, tmp_path, [], log=tmp_path / "log")
    deadline = time.monotonic() + 300
    while not (tmp_path / "demo" / "checkpoint.pt").exists():
        assert process.is_alive(), (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.join()
    assert not (tmp_path / "demo" / "run.json").exists()
    distil_alone(tmp_path, [], resume=True)
    for name, value in weights(taught).items():
        assert torch.equal(value, weights(tmp_path)[name]), name
    lines = [
        json.loads(line) for line in (tmp_path / "demo" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["epoch"] for line in lines] == [1, 2, 3]


def test_two_processes_end_where_one_does(tmp_path: Path) -> None:
    """The stated tolerance: after a step the weights lie apart by less than a quarter of the way
    that it moved them.

    float32 gradients of an untrained network with batch normalisation are themselves good to about
    1%, and every further step amplifies that; tests/training/test_parallel.py shows equality to the
    last digits of float64. Gradients that were not summed, or statistics of half a batch, put the
    weights apart by half the way. Dropout's draws are each rank's own.
    """
    alike = [
        "teachers=[]",
        'losses=[{name="cross_entropy"}]',
        "student.dropout=0",
        "preprocess.width=64",
        "preprocess.height=64",
        "train.optimizer=sgd",
        "train.lr=1e-3",
        "train.warmup_epochs=0",
        "train.epochs=1",
        "train.ema=0",
        "train.views=0",
        "train.batch_size=64",
    ]
    one, two = tmp_path / "one", tmp_path / "two"
    distill(tiny(*alike), one)
    port, logs = free_port(), [tmp_path / f"{rank}.log" for rank in range(2)]
    ranks = [
        start(distil_alone, two, alike, log=log, environment=rank_of_two(rank, port))
        for rank, log in enumerate(logs)
    ]
    assert [ended(rank, 300) for rank in ranks] == [0, 0], [log.read_text() for log in logs]
    torch.manual_seed(0)
    begin = dict(build(tiny("student.dropout=0").student, 7).named_parameters())
    first, second = weights(one), weights(two)
    moved = sum(float((first[name] - value.detach()).pow(2).sum()) for name, value in begin.items())
    apart = sum(float((first[name] - second[name]).pow(2).sum()) for name in begin)
    assert moved > 0
    assert (apart / moved) ** 0.5 < 0.25, f"{apart**0.5} apart after moving by {moved**0.5}"
    assert len((two / "demo" / "metrics.jsonl").read_text().splitlines()) == 1


def test_the_control_is_the_same_student_without_a_teacher(taught: Path) -> None:
    recipe = tiny()
    control = control_of(recipe)
    assert not control.teachers
    assert [table.name for table in control.losses] == ["cross_entropy"]
    assert (control.student, control.train, control.augment, control.split) == (
        recipe.student,
        recipe.train,
        recipe.augment,
        recipe.split,
    )
    info = read_json(taught / "demo" / "run.json", "run")
    assert info["control"] == "demo-control"
    assert read_json(taught / "demo-control" / "run.json", "run")["is_control"]
    assert (
        info["split_hash"] == read_json(taught / "demo-control" / "run.json", "run")["split_hash"]
    )


def test_finished_work_is_not_done_twice(taught: Path) -> None:
    before = (taught / "demo" / "student.safetensors").stat().st_mtime_ns
    distill(tiny(), taught)
    teach(tiny(), taught)
    assert (taught / "demo" / "student.safetensors").stat().st_mtime_ns == before


def test_another_recipe_under_the_same_name_is_refused(taught: Path) -> None:
    with pytest.raises(UserError, match="another recipe"):
        distill(tiny("train.lr=0.1"), taught)


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no trained teacher.*mobilekd teach"):
        distill(tiny(), tmp_path, control=False)


def test_a_teacher_of_another_recipe_is_not_taken_for_this_ones(
    taught: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="was taught by another recipe"):
        teach(tiny("teach.lr=0.1"), taught)
    copy_teachers(taught, tmp_path)
    with pytest.raises(
        UserError, match=r"holds a test_resnet, the recipe asks for a test_convnext"
    ):
        distill(tiny("teachers.0.model=test_convnext"), tmp_path, control=False)


def stopped_after_an_epoch(
    recipe: Recipe, runs: Path, monkeypatch: pytest.MonkeyPatch, *, resume: bool = False
) -> None:
    def killed(trainer: Trainer, line: dict[str, object]) -> None:
        save(trainer, line)
        raise KeyboardInterrupt

    save = Trainer.save
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            distill(recipe, runs, resume=resume, control=False)


def test_a_run_that_was_compiled_goes_on_compiled_when_few_steps_are_left(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled and eager steps differ in their last bits; what counts is how long the whole
    run is.
    """
    copy_teachers(taught, tmp_path)
    recipe, compiled = tiny("train.compile=auto"), []
    steps = len(open_run(taught / "demo").split.train) // recipe.train.batch_size
    monkeypatch.setattr("mobilekd.training.compiled.PAYS_AFTER", steps * recipe.train.epochs)
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    stopped_after_an_epoch(recipe, tmp_path, monkeypatch)
    assert len(compiled) == 1
    distill(recipe, tmp_path, resume=True, control=False)
    assert len(compiled) == 2


SEEING = (
    "student.model=lesionnet",
    "student.width=0.5",
    "pretrain.epochs=2",
    "pretrain.batch_size=16",
    "pretrain.threads=1",
    "train.epochs=1",
)


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_student_killed_while_it_learns_to_see_ends_with_the_same_bits(
    epochs: int, taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, folder = tiny(*SEEING), tmp_path / "stopped/demo"
    copy_teachers(taught, tmp_path / "whole")
    copy_teachers(taught, tmp_path / "stopped")
    distill(recipe, tmp_path / "whole", control=False)
    for _ in range(epochs):
        if folder.joinpath(".pretraining").exists():
            with pytest.raises(UserError, match="holds an unfinished run"):
                distill(recipe, tmp_path / "stopped", control=False)
        stopped_after_an_epoch(recipe, tmp_path / "stopped", monkeypatch, resume=True)
    distill(recipe, tmp_path / "stopped", resume=True, control=False)
    whole, stopped = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(value, stopped[name]) for name, value in whole.items())
    assert not folder.joinpath(".pretraining").exists()
    copy_teachers(taught, tmp_path / "plain")
    plain = distill(tiny(*SEEING, "pretrain.epochs=0"), tmp_path / "plain", control=False)
    assert any(
        not torch.equal(value, whole[name]) for name, value in load_file(plain.weights).items()
    )


def test_learning_to_see_needs_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pretrain.teacher is 5 and the recipe has 2 teachers"):
        distill(tiny(*SEEING, "pretrain.teacher=5"), tmp_path)
    assert not list(tmp_path.rglob("*.pt"))


def test_a_control_does_not_learn_to_see() -> None:
    assert control_of(tiny(*SEEING)).pretrain.epochs == 0


def test_an_unfinished_run_goes_on_by_its_name(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_teachers(taught, tmp_path)
    shutil.move(tmp_path / "demo", tmp_path / "mine")

    stopped_after_an_epoch(tiny("name=mine"), tmp_path, monkeypatch)
    assert main(["distill", "mine", "--resume", "--no-control", "--runs", str(tmp_path)]) == 0
    for name, value in weights(taught).items():
        assert torch.equal(value, load_file(tmp_path / "mine" / "student.safetensors")[name]), name


def opened(folder: Path) -> tuple[object, object]:
    run = open_run(folder)
    return run.split, run.calibration


def test_a_run_that_holds_something_else_is_the_users_mistake(taught: Path, tmp_path: Path) -> None:
    shutil.copytree(taught / "demo", tmp_path / "demo")
    for name, what in (
        ("calibration.json", "calibration"),
        ("split.json", "split"),
        ("run.json", "run"),
    ):
        write_json(tmp_path / "demo" / name, {"something": "else"})
        with pytest.raises(UserError, match=f"{name}: (not a valid {what}|changed since)"):
            opened(tmp_path / "demo")


def test_a_teacher_at_chance_stops_the_run(taught: Path, tmp_path: Path) -> None:
    copy_teachers(taught, tmp_path)
    believe(tmp_path / "demo/teachers/1", 1 / 7 + 0.01)
    with pytest.raises(UserError, match="chance"):
        distill(tiny(), tmp_path, control=False)
    assert not (tmp_path / "demo" / "checkpoint.pt").exists()


def test_a_teacher_of_another_split_is_refused(taught: Path, tmp_path: Path) -> None:
    copy_teachers(taught, tmp_path)
    with pytest.raises(UserError, match="another split"):
        distill(tiny("split.seed=5"), tmp_path, control=False)


def test_teacher_logits_of_the_test_split_are_kept(taught: Path) -> None:
    split = read_json(taught / "demo" / "split.json", "split")
    kept = load_file(taught / "demo" / "teacher_logits.safetensors")["test"]
    assert kept.shape[0] == len(split["test"])
    assert np.isfinite(kept.float().numpy()).all()


def test_a_diverging_run_stops_with_the_number_and_keeps_its_checkpoint(
    taught: Path, tmp_path: Path
) -> None:
    copy_teachers(taught, tmp_path)
    with pytest.raises(UserError, match=r"loss became|NaN"):
        distill(
            tiny("train.lr=1000", "train.optimizer=sgd", "train.warmup_epochs=0"),
            tmp_path,
            control=False,
        )
    assert not (tmp_path / "demo" / "run.json").exists()


def ensemble_of(recipe: Recipe, experiment: Experiment, runs: Path) -> TeacherEnsemble:
    return TeacherEnsemble.open(
        recipe.teachers,
        recipe.ensemble,
        recipe.train,
        experiment,
        runs / "demo",
        runs / ".cache" / "teachers",
        World(),
    )


@pytest.fixture
def kept(taught: Path, tmp_path: Path) -> StoredLogits:
    """The first teacher's answers without its weights, as they lie in the cache of the run that it
    taught.
    """
    recipe = tiny(f"teachers=[{{model='test_resnet', trained='{taught}/demo/teachers/0'}}]")
    experiment = prepared(recipe)
    ensemble = ensemble_of(recipe, experiment, taught)
    cache, split = ensemble.caches()[0], experiment.split
    place = tmp_path / "kept"
    place.mkdir()
    views = np.stack([cache.logits(view, split.train) for view in range(3)])
    teacher = StoredLogits(
        place / LOGITS,
        cache.depends_on,
        split.train,
        views,
        split.test,
        ensemble.logits(split.test),
    )
    teacher.write()
    write_teacher(place, ensemble.members[0].record)
    return teacher


def taught_by(teacher: StoredLogits, *overrides: str) -> Recipe:
    return tiny(
        f"teachers=[{{model='test_resnet', trained='{teacher.path.parent}'}}]",
        "train.views=3",
        *overrides,
    )


def test_a_student_of_kept_answers_is_the_student_of_the_teacher(
    taught: Path, kept: StoredLogits, tmp_path: Path
) -> None:
    """But for float16: the same steps, so that nothing of it depends on having the weights."""
    whole = tiny(
        f"teachers=[{{model='test_resnet', trained='{taught}/demo/teachers/0'}}]", "train.views=3"
    )
    distill(whole, tmp_path / "whole", control=False)
    distill(taught_by(kept), tmp_path / "kept-runs", control=False)
    wanted, given = weights(tmp_path / "whole"), weights(tmp_path / "kept-runs")
    far = max(
        float((wanted[name].float() - value.float()).abs().max())
        for name, value in given.items()
        if "running" not in name
    )
    assert 0 < far < 0.05
    judged = load_file(tmp_path / "kept-runs" / "demo" / "teacher_logits.safetensors")["test"]
    assert torch.equal(
        judged, load_file(tmp_path / "whole" / "demo" / "teacher_logits.safetensors")["test"]
    )


@pytest.mark.parametrize(
    ("overrides", "shape_error"),
    [
        (["train.views=0"], "set train.views to 3 or less"),
        (["train.views=4", "train.epochs=4"], "3 views are kept"),
        (["augment.rotation=10.0"], "another augment"),
        (
            ['losses=[{name="fitnets", student_layer="blocks.1", teacher_layer="layer1"}]'],
            "exactly one, with its weights",
        ),
    ],
)
def test_what_was_not_kept_is_refused_before_anything_is_written(
    kept: StoredLogits, tmp_path: Path, overrides: list[str], shape_error: str
) -> None:
    with pytest.raises(UserError, match=shape_error):
        distill(taught_by(kept, *overrides), tmp_path / "runs", control=False)
    assert not (tmp_path / "runs").exists()


def test_a_kept_teacher_that_misses_photographs_or_is_cut_off_is_refused(
    kept: StoredLogits, tmp_path: Path
) -> None:
    dataclasses.replace(kept, train_ids=("other", *kept.train_ids[1:])).write()
    reseal(kept.path.parent)
    with pytest.raises(UserError, match=f"nothing of 1 photographs \\({kept.train_ids[0]}\\)"):
        distill(taught_by(kept), tmp_path / "runs", control=False)
    kept.path.write_bytes(kept.path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"logits.npz: changed since it was written"):
        distill(taught_by(kept), tmp_path / "runs", control=False)
    reseal(kept.path.parent)
    with pytest.raises(UserError, match="not readable logits"):
        distill(taught_by(kept), tmp_path / "runs", control=False)


def test_kept_answers_judge_training_photographs_by_the_mean_of_their_views(
    kept: StoredLogits,
) -> None:
    """Quantisation-aware training asks the teachers about training photographs as they are, of
    which only views are kept.
    """
    some = [kept.train_ids[5], kept.train_ids[2]]
    each = [kept.of_view(view, some) for view in range(3)]
    assert np.allclose(kept.plain(some), np.mean(each, 0), atol=1e-2)
    assert np.array_equal(kept.plain(kept.plain_ids[:3]), kept.plain_logits[:3].astype(np.float32))
    with pytest.raises(UserError, match="nothing of 1 photographs"):
        kept.plain([kept.plain_ids[0], kept.train_ids[0]])


def test_unlabelled_photographs_join_unless_the_data_set_holds_them(
    taught: Path, tmp_path: Path
) -> None:
    """A test photograph under another name must not be distilled from; a strange one must, and
    changing it changes the cache.
    """
    extra = tmp_path / "extra"
    (extra / "sub").mkdir(parents=True)
    dataset = load(tiny().data)
    dataset.photograph(3).save(extra / "sub" / "renamed.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(extra / "strange.png")
    recipe = tiny(
        f"data.unlabelled='{extra}'",
        "teachers=[{model='test_resnet', trained='" + str(taught / "demo/teachers/0") + "'}]",
    )
    first = prepared(recipe)
    assert first.training_images.ids[-1] == "strange"
    assert len(first.training_images.ids) == len(first.split.train) + 1
    assert distill(recipe, tmp_path / "runs", control=False).info.control is None
    assert distill(recipe, tmp_path / "runs").info.control == "demo-control", (
        "made later, it is written down"
    )
    lines = [
        json.loads(line) for line in (tmp_path / "runs/demo/metrics.jsonl").read_text().splitlines()
    ]
    assert all(np.isfinite(line["loss.hinton"]) for line in lines)
    Image.fromarray(255 - noise[:39]).save(extra / "strange.png")
    again = prepared(recipe)
    caches = [
        ensemble_of(recipe, experiment, tmp_path).caches()[0].folder
        for experiment in (first, again)
    ]
    assert caches[0] != caches[1]
