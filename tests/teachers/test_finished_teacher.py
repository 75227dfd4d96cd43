"""A finished teacher teaches as it is: measured, not trained; an own one by its function."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from mobilekd.commands.teach import teach
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.teacher import read_teacher
from mobilekd.formats.training_tables import TeacherTable
from mobilekd.students.libraries import pretrained_statistics, say_other_statistics
from mobilekd.support.errors import UserError
from mobilekd.teachers.network import ChosenClasses, build_teacher

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


def test_a_finished_teacher_is_measured_and_kept_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    count = len(teach_classes(tmp_path))
    network = own(count)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "w.safetensors")
    (folder,) = teach(recipe_of(tmp_path, tmp_path / "w.safetensors"), tmp_path / "runs")
    record = read_teacher(folder)
    assert record.seconds == 0
    assert "balanced_accuracy" in record.validation
    assert record.code == {"my.py": OWN}
    kept = safetensors.torch.load_file(folder / "weights.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())
    # another order of classes is another teacher, and its answers come in the data's order
    keys = [label.key for label in record.labels]
    with pytest.raises(UserError, match="was taught by another recipe"):
        teach(
            recipe_of(
                tmp_path,
                tmp_path / "w.safetensors",
                f"teachers.0.classes={list(reversed(keys))!r}".replace("'", '"'),
            ),
            tmp_path / "runs",
        )


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
