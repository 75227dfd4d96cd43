"""A finished teacher teaches as it is: measured, not trained; an own one by its function."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from mobilekd.commands.teach import teach
from mobilekd.formats.interval import Interval
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.teacher import WEIGHTS, TeacherRecord, read_teacher, write_teacher
from mobilekd.formats.training_tables import TeacherTable
from mobilekd.students.libraries import pretrained_statistics, say_other_statistics
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_file
from mobilekd.teachers.network import ChosenClasses, build_teacher
from mobilekd.teachers.same_teacher import difference
from mobilekd.training.first_checks import check_recipe

OWN = """
from torch import nn

def own(classes, channels=4):
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(channels, classes),
    )
"""


def own(classes: int) -> nn.Module:
    scope: dict[str, object] = {}
    exec(OWN, scope)
    return scope["own"](classes)  # type: ignore[operator]


def recipe_of(folder: Path, weights: Path | None, *overrides: str):
    (folder / "my.py").write_text(OWN)
    given = f', weights = "{weights}"' if weights else ""
    (folder / "r.toml").write_text(
        f'base = "demo"\nname = "r"\nteachers = [{{model = "my.py:own"{given}}}]\n'
    )
    small = ["data.count=140", "data.size=40", "preprocess.width=32", "preprocess.height=32"]
    return load_recipe(str(folder / "r.toml"), [*small, "teach.epochs=0", *overrides])


def test_a_finished_teacher_is_measured_and_kept_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    count = len(teach_classes(tmp_path))
    network = own(count)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "w.safetensors")
    (folder,) = teach(recipe_of(tmp_path, tmp_path / "w.safetensors"), tmp_path / "runs")
    record = read_teacher(folder)
    assert (record.seconds, record.finished) == (0, True)
    assert record.source == sha256_file(tmp_path / "w.safetensors")
    assert "it may have seen photographs that choose and judge" in capsys.readouterr().err
    assert "balanced_accuracy" in record.validation
    assert record.code == {"my.py": OWN}
    kept = safetensors.torch.load_file(folder / "weights.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())
    # another order of classes is another teacher, and its answers come in the data's order
    keys = [label.key for label in record.labels]
    with pytest.raises(
        UserError, match=r"was taught by another recipe .*classes is .*, and was no"
    ):
        teach(
            recipe_of(
                tmp_path,
                tmp_path / "w.safetensors",
                f"teachers.0.classes={list(reversed(keys))!r}".replace("'", '"'),
            ),
            tmp_path / "runs",
        )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("teachers.0.options={channels=8}", r"options is {'channels': 8}, and was not given"),
        ('teachers.0.classes=["b", "a"]', "classes is b, a, and was not given"),
        ("teach.epochs=3", "it was taken as it is, and teach.epochs = 3 trains one"),
        ("teachers.0.weights=hub", r"weights \(hub\) are others than it began from"),
        ("file", r"weights \(.*w.pth\) are others than it began from"),
        ("code", "my.py is another since"),
    ],
)
def test_a_teacher_of_before_does_not_stand_for_a_changed_recipe(
    changed: str, words: str, tmp_path: Path
) -> None:
    """``distill`` refuses it before photographs are read, and names what changed."""
    path, runs = tmp_path / "w.pth", tmp_path / "runs"
    path.write_bytes(b"one")
    recipe = recipe_of(tmp_path, path)
    folder = runs / "r" / "teachers" / "0"
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(b"kept")
    write_teacher(folder, record_of(recipe, sha256_file(path), sha256_file(folder / WEIGHTS)))
    check_recipe(recipe, runs)
    if changed == "file":
        path.write_bytes(b"another")
    elif changed == "code":
        (tmp_path / "my.py").write_text(OWN + "\n# changed\n")
        recipe = load_recipe(str(tmp_path / "r.toml"), ["teach.epochs=0"])
    else:
        recipe = recipe_of(tmp_path, path, changed)
    with pytest.raises(UserError, match=f"holds another teacher than the recipe's .*{words}"):
        check_recipe(recipe, runs)
    if changed == "file":
        path.unlink()  # the folder holds its copy
        check_recipe(recipe, runs)
    # where trained names the folder, what the recipe leaves out is the folder's to say
    kept = recipe.teachers[0].model_copy(update={"trained": str(folder)})
    told = difference(read_teacher(folder), kept, 0, 0)
    assert (told is not None) == (changed in ("code",) or "options" in words or "classes" in words)


def record_of(recipe: Recipe, source: str, weights: str) -> TeacherRecord:
    table = recipe.teachers[0]
    return TeacherRecord(
        model=table.model,
        code=table.code,
        labels=(),
        preprocess={},
        split_hash="",
        split_by="lesion",
        data_hash="",
        recipe_hash="",
        identity="",
        weights_sha256=weights,
        finished=True,
        source=source,
        validation={"balanced_accuracy": Interval(value=0.9)},
        seconds=0.0,
        created_utc="",
        versions={},
    )


@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("nn.Softmax(1)", "teacher my.py:own: its answers are probabilities, and losses take"),
        ("nn.Sigmoid()", "teacher my.py:own: its answers are probabilities, and losses take"),
        ("Loose(classes)", "teacher my.py:own: saved and loaded it answers otherwise"),
    ],
)
def test_an_own_teacher_answers_logits_and_is_kept_whole(
    tmp_path: Path, epochs: int, last: str, said: str
) -> None:
    source = """
import torch

class Loose(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layers = [nn.Linear(classes, classes)]
    def forward(self, x):
        return self.layers[0](x)
"""
    made = OWN.replace("channels, classes),\n", f"channels, classes), {last},\n") + source
    assert last in made
    recipe_of(tmp_path, None)
    (tmp_path / "my.py").write_text(made)
    small = ["data.count=140", "data.size=40", "preprocess.width=32", "preprocess.height=32"]
    recipe = load_recipe(str(tmp_path / "r.toml"), [*small, f"teach.epochs={epochs}"])
    with pytest.raises(UserError, match=said):
        teach(recipe, tmp_path / "runs")
    assert not (tmp_path / "runs" / "r" / "teachers").exists()


def test_one_answer_to_everything_is_refused_before_it_is_kept(tmp_path: Path) -> None:
    state = {name: torch.zeros_like(value) for name, value in own(7).state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"one answer to every photograph; check .*teachers.0.clas"):
        teach(recipe_of(tmp_path, tmp_path / "w.pth"), tmp_path / "runs")
    assert not list((tmp_path / "runs").rglob("teacher.json"))
    state["0.weight"] += 1e38  # their products are not finite
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"not finite numbers; check .*mean, std,"):
        teach(recipe_of(tmp_path, tmp_path / "w.pth"), tmp_path / "runs")


def teach_classes(folder: Path) -> tuple[str, ...]:
    from mobilekd.data import load

    return tuple(label.key for label in load(recipe_of(folder, None).data).classes)


def test_classes_in_another_order_are_put_into_the_datas() -> None:
    network = ChosenClasses(nn.Identity(), 3, 2)
    network.choose(("c", "a", "b"), ("a", "b"))
    assert network(torch.tensor([[3.0, 1.0, 2.0]])).tolist() == [[1.0, 2.0]]
    with pytest.raises(ValueError, match=r"gives \[4\] answers, and .* names 3"):
        network(torch.zeros(1, 4))
    with pytest.raises(UserError, match=r"teachers.classes: lacks d"):
        network.choose(("c", "a"), ("a", "d"))


def test_a_finished_teacher_needs_all_its_weights(tmp_path: Path) -> None:
    table = recipe_of(tmp_path, None).teachers[0]
    torch.save(own(9).state_dict(), tmp_path / "w.pth")
    other = table.model_copy(update={"weights": str(tmp_path / "w.pth")})
    with pytest.raises(UserError, match=r"4.weight .*there.*the order of its own"):
        build_teacher(other, 5, finished=True)
    wide = other.model_copy(update={"classes": tuple("abcdefghi")})
    assert build_teacher(wide, 5, finished=True)(torch.zeros(1, 3, 16, 16)).shape == (1, 5)
    plain = TeacherTable(model="torchvision:squeezenet1_1")
    with pytest.raises(UserError, match="it has no weights"):
        build_teacher(plain, 5, finished=True)


def test_weights_under_other_statistics_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for model in ("timm:resnet18.a1_in1k", "torchvision:resnet18"):
        mean, std = pretrained_statistics(model) or ((), ())
        assert [round(value, 3) for value in (*mean, *std)][:2] == [0.485, 0.456]
        say_other_statistics("student", model, mean, std, "set preprocess.mean")
        assert not capsys.readouterr().err
        say_other_statistics("student", model, (0.5,) * 3, (0.5,) * 3, "set preprocess.mean")
        said = capsys.readouterr().err
        assert "made with mean (0.485, 0.456, 0.406)" in said
        assert "set preprocess.mean" in said
    assert pretrained_statistics("torchvision:no_such") is None
