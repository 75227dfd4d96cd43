"""Teach, distill and sweep check first and write then: a refusal leaves every byte as it was, and
comes before an epoch.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures.small import contents, photographs, small, taught
from fixtures.teachers import believe
from safetensors.torch import load_file, save_file

from mobilekd.commands import sweep as sweeping
from mobilekd.commands.distill import distill
from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.export import export
from mobilekd.commands.teach import teach
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import open_run
from mobilekd.formats.teacher import read_teacher
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json
from mobilekd.support.lock import locked
from mobilekd.training.loop import Trainer
from mobilekd.training.state import CHECKPOINT, read_checkpoint


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, a teacher, a finished run and its control, and an unfinished run."""
    place = tmp_path_factory.mktemp("whole")
    root = photographs(place / "photographs")
    recipe = taught(root, place / "runs")
    distill(recipe, place / "runs")
    shutil.copytree(place / "runs/demo/teachers", place / "runs/begun/teachers")
    interrupted(small(root, "name=begun"), place / "runs")
    return place


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    shutil.copytree(whole, tmp_path / "place")
    return tmp_path / "place"


def interrupted(recipe: Recipe, runs: Path) -> None:
    def save(trainer: Trainer, line: dict[str, object]) -> None:
        original(trainer, line)
        raise KeyboardInterrupt

    original = Trainer.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "save", save)
        with pytest.raises(KeyboardInterrupt):
            distill(recipe, runs, control=False)


def refused(command: Callable[[], object], runs: Path, words: str) -> None:
    """``command`` is refused before an epoch with ``words``, and nothing below ``runs`` changed."""
    before = contents(runs)

    def epoch(*_: object) -> None:
        raise AssertionError("an epoch was begun")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", epoch)
        with pytest.raises(UserError, match=words):
            command()
    assert contents(runs) == before


MISTAKES = [
    ("train.lr=0.1", "belongs to another recipe"),
    ("losses=[{name='cross_entropy'}]", "belongs to another recipe"),
    ("split.seed=5", "was made from other data or another"),
    ("student.adapt=['depth:9']", "depth"),
    ("student.weights=none.pth", "none.pth: no such weights file"),
    ("losses=[{name='nothing'}]", "nothing"),
    ("split.test=0", r"test is empty \(split.test = 0.0, 60 photographs in all\)"),
    ("split.validation=0", r"validation is empty \(split.validation = 0.0, 60 photographs"),
    ("train.batch_size=1", "train.batch_size = 1: training needs 2 photographs a step"),
    ("teachers=[{model='test_convnext'}]", "holds a test_resnet"),
    ("teachers=[{model='test_resnet', trained='nowhere'}]", "nowhere: no trained teacher"),
]


@pytest.mark.parametrize(("change", "words"), MISTAKES)
def test_a_refused_resume_leaves_the_unfinished_run(place: Path, change: str, words: str) -> None:
    """The right recipe goes on afterwards."""
    wrong = small(place / "photographs", "name=begun", change)
    refused(
        lambda: distill(wrong, place / "runs", resume=True, control=False), place / "runs", words
    )


def test_after_a_refusal_the_right_recipe_goes_on(place: Path) -> None:
    right, runs = small(place / "photographs", "name=begun"), place / "runs"
    wrong = small(place / "photographs", "name=begun", "train.lr=0.1")
    refused(lambda: distill(wrong, runs, resume=True, control=False), runs, "another recipe")
    assert distill(right, runs, resume=True, control=False).info.epochs == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("teach.lr=0.1", "was taught by another recipe"),
        ("split.seed=5", "was made from other data or another"),
        ("teachers=[{model='test_resnet'}, {model='nothing'}]", "not a timm model"),
        (
            "teachers=[{model='test_resnet'}, {model='test_vit', weights='no.pth'}]",
            "no.pth: no such",
        ),
        ("split.validation=0", "validation is empty"),
        ("name=fresh teach.batch_size=1", "teach.batch_size = 1: training needs 2 photographs"),
    ],
)
def test_a_refused_teach_leaves_the_folder(place: Path, change: str, words: str) -> None:
    wrong = small(place / "photographs", *(change.split() if "name=" in change else [change]))
    refused(lambda: teach(wrong, place / "runs"), place / "runs", words)


def test_a_refused_sweep_leaves_the_folder(place: Path) -> None:
    recipe = place / "mine.toml"
    lines = (
        f'name = "demo"\n[data]\nkind = "folder"\nroot = "{place}/photographs"\n[train]\nlr = 0.5\n'
    )
    recipe.write_text(lines)
    sweep = sweeping.sweep
    runs = place / "runs"
    refused(lambda: sweep([str(recipe)], runs=runs), runs, "was made by another recipe")
    refused(lambda: sweep([str(recipe)], runs=runs, jobs=0), runs, "nothing would run")
    refused(
        lambda: sweep([str(recipe)], grid={"train.epochs": ["1", "0"]}, runs=runs), runs, "epochs"
    )


def test_moved_photographs_are_the_same_photographs(place: Path) -> None:
    """Resumed, taught from and taken for finished; ``recipe.json`` then says where they are."""
    runs, moved = place / "runs", place / "elsewhere"
    shutil.move(place / "photographs", moved)
    assert [folder.name for folder in teach(small(moved), runs)] == ["0"]
    before = contents(runs / "demo")
    distill(small(moved), runs)
    assert contents(runs / "demo") == before
    run = distill(small(moved, "name=begun"), runs, resume=True, control=False)
    assert run.recipe.data.root == str(moved)
    first = next(moved.rglob("*.png"))
    first.write_bytes(next(path for path in moved.rglob("*.png") if path != first).read_bytes())
    refused(lambda: distill(small(moved), runs), runs, "made from other data")


def test_weights_in_another_place_are_the_same_weights(place: Path) -> None:
    root, runs = place / "photographs", place / "runs"
    one, other = place / "one.safetensors", place / "other.safetensors"
    shutil.copy(runs / "demo/student.safetensors", one)
    shutil.copy(one, other)
    begun = ("name=from", "teachers=[]", "losses=[{name='cross_entropy'}]")
    interrupted(small(root, *begun, f"student.weights='{one}'"), runs)
    again = small(root, *begun, f"student.weights='{other}'")
    distill(again, runs, resume=True)
    state = load_file(other)
    save_file({name: value + 1 for name, value in state.items()}, other)
    refused(
        lambda: distill(small(root, *begun, f"student.weights='{other}'", "train.lr=1e-3"), runs),
        runs,
        "other teachers or starting weights|another recipe",
    )


def test_runs_from_before_go_on(place: Path) -> None:
    """The hashes that checkpoints, teachers and runs carried before places were left out of
    them.
    """
    from fixtures.run import prepared

    from mobilekd.training.state import identity_before_places_were_left_out

    root, runs = place / "photographs", place / "runs"
    recipe = small(root, "name=begun")
    experiment = prepared(recipe)
    split_hash = experiment.split.hash()
    record = read_teacher(runs / "begun/teachers/0")
    old = identity_before_places_were_left_out(recipe, "teach", split_hash, None, *recipe.teachers)
    document = record.model_copy(update={"identity": old}).model_dump(mode="json")
    del document["files"], document["sha256"]
    write_json(runs / "begun/teachers/0/teacher.json", document)
    assert len(teach(recipe, runs)) == 1
    path = runs / "begun" / CHECKPOINT
    state = torch.load(path, weights_only=True)
    parts = (recipe.student, recipe.ensemble, *recipe.teachers, *recipe.losses)
    state["identity"] = identity_before_places_were_left_out(
        recipe, "train", split_hash, None, *parts, also=(record.weights_sha256,)
    )
    torch.save(state, path)
    run = distill(recipe, runs, resume=True, control=False)
    document = run.info.model_dump(mode="json")
    del document["files"], document["sha256"], document["identity"]
    write_json(run.folder / "run.json", document)
    assert open_run(run.folder).info.files == {}
    assert distill(recipe, runs, control=False).info.parameters == run.info.parameters


def same_document(one: bytearray, other: bytearray) -> bool:
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "recipe.json",
        "split.json",
        "student.safetensors",
        "calibration.json",
        "metrics.jsonl",
        "teacher_logits.safetensors",
    ],
)
@pytest.mark.parametrize("run", ["demo", "demo-control"])
def test_a_flipped_bit_in_a_run_is_refused_by_name(place: Path, run: str, name: str) -> None:
    path = place / "runs" / run / name
    if run == "demo-control" and name == "teacher_logits.safetensors":
        assert not path.exists()
        return
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), max(1, len(data) // 40)):
        changed = bytearray(data)
        changed[at] ^= 1
        path.write_bytes(changed)
        if name == "run.json" and same_document(changed, data):
            continue  # a line break that became another blank
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            open_run(path.parent)


@pytest.mark.parametrize("name", ["teacher.json", "weights.safetensors"])
def test_a_flipped_bit_in_a_teacher_is_refused_by_name(place: Path, name: str) -> None:
    path = place / "runs/begun/teachers/0" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    recipe = small(place / "photographs", "name=begun")
    for command in (
        lambda: distill(recipe, place / "runs", resume=True, control=False),
        lambda: teach(recipe, place / "runs"),
    ):
        refused(command, place / "runs", name.replace(".", r"\."))


def test_a_flipped_bit_in_a_checkpoint_is_refused(place: Path) -> None:
    path = place / "runs/begun" / CHECKPOINT
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 64
    path.write_bytes(data)
    recipe = small(place / "photographs", "name=begun")
    refused(
        lambda: distill(recipe, place / "runs", resume=True, control=False),
        place / "runs",
        "checkpoint.pt: .*(damaged|not a readable)",
    )


def test_a_teacher_of_zeros_teaches_nothing(place: Path) -> None:
    """Even where its record was made to fit."""
    folder = place / "runs/begun/teachers/0"
    state = load_file(folder / "weights.safetensors")
    save_file({k: torch.zeros_like(v) for k, v in state.items()}, folder / "weights.safetensors")
    recipe, runs = small(place / "photographs", "name=begun"), place / "runs"
    command = lambda: distill(recipe, runs, resume=True, control=False)  # noqa: E731
    refused(command, runs, "weights.safetensors: changed since it was written")
    from mobilekd.support.files import sha256_file

    (document := json.loads((folder / "teacher.json").read_text())).pop("sha256")
    document |= {"weights_sha256": sha256_file(folder / "weights.safetensors"), "files": {}}
    write_json(folder / "teacher.json", document)
    refused(command, runs, "gives one answer to every photograph")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epoch": -1}, "epoch: -1 is below 0"),
        ({"epoch": 3}, "is of epoch 3 and the recipe has 2"),
        ({"epoch": "1"}, "epoch: '1'"),
        ({"seconds": float("nan")}, "seconds: nan"),
        ({"model": {}}, "its model belong"),
        ({"optimizer": {}}, "its optimizer belong"),
        ({"average": {"conv_stem.weight": torch.zeros(1)}}, "its average belong"),
        *[
            ({key: None}, f"{key}: missing")
            for key in ("identity", "objective", "metrics", "images")
        ],
    ],
)
def test_a_checkpoint_of_something_else_is_the_users(
    place: Path, change: dict[str, object], words: str
) -> None:
    path = place / "runs/begun" / CHECKPOINT
    state = torch.load(path, weights_only=True) | change
    torch.save({key: value for key, value in state.items() if value is not None}, path)
    recipe = small(place / "photographs", "name=begun")
    refused(
        lambda: distill(recipe, place / "runs", resume=True, control=False), place / "runs", words
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda optimizer: optimizer["state"][0].update(exp_avg=torch.zeros(3)),
        lambda optimizer: optimizer["state"][0].update(step="soon"),
        lambda optimizer: optimizer["state"][0].update(step=[1]),
        lambda optimizer: optimizer["state"][0].pop("step"),
        lambda optimizer: optimizer["state"][0].pop("exp_avg_sq"),
        lambda optimizer: optimizer["state"].update({1 << 40: optimizer["state"][0]}),
        lambda optimizer: optimizer["param_groups"][0].update(lr="small"),
        lambda optimizer: optimizer["param_groups"][0].update(betas=None),
        lambda optimizer: optimizer["param_groups"][0].update(amsgrad=1.5),
    ],
)
def test_what_is_no_state_of_the_optimizer_is_refused(
    place: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    path = place / "runs/begun" / CHECKPOINT
    state = torch.load(path, weights_only=True)
    change(state["optimizer"])
    torch.save(state, path)
    assert read_checkpoint(path).epoch == 1
    recipe = small(place / "photographs", "name=begun")
    refused(
        lambda: distill(recipe, place / "runs", resume=True, control=False),
        place / "runs",
        "its optimizer belong",
    )


def test_validation_too_small_to_tell_is_said(place: Path) -> None:
    """Two classes of one photograph each: a perfect teacher could be luck."""
    root, runs = place / "two", place / "tiny-runs"
    for name in ("mel", "nv"):
        shutil.copytree(place / "photographs" / name, root / name)
    recipe = taught(root, runs, "split.validation=0.05")
    believe(runs / "demo/teachers/0", 1.0)
    refused(lambda: distill(recipe, runs), runs, "validation is too small to tell")


def test_what_a_run_says_of_its_teachers_is_checked(place: Path) -> None:
    run = open_run(place / "runs/demo")
    document = run.info.model_dump(mode="json")
    del document["sha256"]
    write_json(run.folder / "run.json", document | {"teachers": [{"model": 3}]})
    with pytest.raises(UserError, match=r"run.json: not a valid run"):
        open_run(run.folder)
    folder = place / "runs/demo/teachers/0"
    write_json(folder / "teacher.json", {"model": "test_resnet"})
    with pytest.raises(UserError, match=r"teacher.json: not a valid teacher"):
        read_teacher(folder)


def test_a_folder_that_another_command_works_in_is_refused(place: Path) -> None:
    """Whoever came first goes on undisturbed, and the message says who it is."""
    runs, recipe = place / "runs", small(place / "photographs")
    commands: list[Callable[[], object]] = [
        lambda: teach(recipe, runs),
        lambda: distill(recipe, runs),
        lambda: evaluate(runs / "demo"),
        lambda: evaluate(runs / "demo", output=place / "evaluation"),
        lambda: export(runs / "demo", output=place / "artifact"),
    ]
    words = rf"mobilekd distill demo \(process {os.getpid()}, since .*Z\) is working on it"
    with locked(runs / "demo", "distill demo"):
        for command in commands:
            refused(command, runs, words)
    with locked(runs / "demo-control", "distill demo"):
        refused(lambda: distill(recipe, runs), runs, words)
    assert len(teach(recipe, runs)) == 1
