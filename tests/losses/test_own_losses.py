"""A loss of the user's own: found beside the recipe, kept in it, tried before an epoch."""

import json
from pathlib import Path

import pytest
import torch
from fixtures.recipes import PLAIN

from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import Recipe, same_but_for_places
from mobilekd.formats.recipe_file import changed_code, from_dict, load_recipe, with_own_code
from mobilekd.formats.training_tables import LossTable
from mobilekd.losses import Objective, Outputs, check_loss
from mobilekd.support.errors import UserError

RECIPE = """
base = "demo"
name = "mine"
losses = [{name = "my_losses.py:my_loss", options = {power = 2.0}}]
"""
HELPED = """
import torch.nn.functional as F
from helpers import gap

def my_loss(student, teacher, target, *, power=1.0):
    return gap(student, teacher.detach()).pow(power).sum(1)
"""
HELPERS = "def gap(a, b):\n    return (a - b).abs()\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "my_losses.py").write_text(HELPED)
    (tmp_path / "helpers.py").write_text(HELPERS)
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE)
    return path


def of(source: str, tmp_path: Path, **values: object) -> LossTable:
    """A table whose loss ``f`` has this source."""
    (tmp_path / "own.py").write_text(source)
    document = {"name": "x", "data": {"kind": "synthetic"}}
    document["losses"] = [{"name": "own.py:f", **values}]  # type: ignore[assignment]
    return with_own_code(from_dict(document, "x"), [tmp_path]).losses[0]


def test_an_own_loss_is_found_beside_its_recipe_with_what_it_imports(recipe: Path) -> None:
    loaded = load_recipe(str(recipe))
    assert loaded.losses[0].code == {"my_losses.py": HELPED, "helpers.py": HELPERS}
    student, teacher = torch.ones(2, 3), torch.zeros(2, 3)
    objective = Objective(loaded.losses, classes=3)
    value, _ = objective(Outputs(student), Outputs(teacher), torch.tensor([0, -1]), 0.0)
    assert value.tolist() == [3.0, 3.0]


def test_the_recipe_is_enough_where_the_file_is_not(recipe: Path) -> None:
    stored = json.loads(json.dumps(load_recipe(str(recipe)).to_dict()))
    (recipe.parent / "my_losses.py").unlink()
    (recipe.parent / "helpers.py").unlink()
    opened = with_own_code(from_dict(stored, "recipe.json"))
    assert Objective(opened.losses, classes=3)
    assert opened.hash() == from_dict(stored, "recipe.json").hash()


@pytest.mark.parametrize("file", ["my_losses.py", "helpers.py"])
def test_a_changed_body_is_another_recipe(recipe: Path, file: str) -> None:
    before = load_recipe(str(recipe))
    path = recipe.with_name(file)
    path.write_text(path.read_text() + "\nscale = 2\n")
    after = load_recipe(str(recipe))
    assert before.hash() != after.hash()
    assert not same_but_for_places(before, after)
    assert changed_code(before, after) == file
    # both are loaded side by side
    assert Objective((*before.losses, *after.losses), classes=3).terms[1].endswith(".1")


def test_recipes_without_own_functions_have_no_word_of_code() -> None:
    recipe = load_recipe(PLAIN)
    assert "code" not in json.dumps(recipe.to_dict()["losses"])
    assert Recipe.model_validate(recipe.to_dict()) == recipe


def test_a_module_beside_the_recipe_and_one_of_a_package(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = recipe.parent / "house" / "room"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("from .inner import my_loss\n")
    (package / "inner.py").write_text(HELPED)
    loaded = load_recipe(str(recipe), ['losses.0.name="house.room:my_loss"'])
    assert sorted(loaded.losses[0].code) == [
        "helpers.py",
        "house/__init__.py",
        "house/room/__init__.py",
        "house/room/inner.py",
    ]
    assert Objective(loaded.losses, classes=3)
    installed = recipe.parent / "site"
    installed.mkdir()
    (installed / "distant.py").write_text(HELPED.replace("helpers", "near_helpers"))
    (installed / "near_helpers.py").write_text(HELPERS)
    monkeypatch.syspath_prepend(str(installed))
    loaded = load_recipe(str(recipe), ['losses.0.name="distant:my_loss"'])
    assert list(loaded.losses[0].code) == ["distant"]
    assert Objective(loaded.losses, classes=3)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return (student - teacher).square().mean()", r"one number for all 7.*\(7,\)"),
        ("return (student - teacher).square().sum(0)", r"gives \(5,\)"),
        ("return (student - teacher).square()", r"gives \(7, 5\)"),
        ("return 3.0", "gives a float"),
        ("return None", "gives a NoneType"),
        ("return (student - teacher).detach().sum(1)", "no gradient"),
        ("return (student.argmax(1) == target).float()", "no gradient"),
        ("return student.sum(1).log()", "gives nan"),
        ("return student.no_such(1)", "fails on outputs of 7 examples.*no_such"),
        ("return (student - teacher).square().sum(1) + torch.zeros(7)", "outputs of 14 examples"),
        ("return (student * 0).sum(1)", "gradient is 0"),
        ("return (student - student.detach()).abs().sqrt().sum(1)", "gradient is nan"),
        ("return torch.complex(student.sum(1), student.sum(1))", "gives complex numbers"),
        ("return (student - teacher).square().sum(1).to('meta')", "gives no numbers"),
        ("return (student - teacher.mul_(0)).square().sum(1)", r"argument teacher.*\.clone\(\)"),
        ("return student.gather(1, target.zero_()[:, None])[:, 0]", "writes .* argument target"),
    ],
)
def test_what_a_loss_gives_is_tried_before_an_epoch(tmp_path: Path, body: str, said: str) -> None:
    table = of(f"import torch\ndef f(student, teacher, target):\n    {body}\n", tmp_path)
    with pytest.raises(UserError, match=said):
        Objective([table], classes=5)


def test_what_a_loss_gives_is_looked_at_in_every_batch(tmp_path: Path) -> None:
    """One number for a batch would be spread over its examples without a word."""
    body = "return d.mean() if len(d) == 3 else d[:, None][:, 0] if len(d) > 5 else d.no_such"
    source = f"def f(student, teacher, target):\n    d = (student - teacher).sum(1)\n    {body}\n"
    objective = Objective([of(source, tmp_path)], classes=5)
    for count, said in {3: "one number for all 3", 4: "outputs of 4 examples .*no_such"}.items():
        outputs = Outputs(torch.zeros(count, 5)), Outputs(torch.ones(count, 5))
        with pytest.raises(UserError, match=said):
            objective(*outputs, torch.zeros(count, dtype=torch.int64), 0.0)


def test_a_script_that_reads_arguments_is_no_file_of_losses(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"own.py cannot be loaded \(SystemExit: 3, line 2\)"):
        Objective([of("import sys\nsys.exit(3)\n", tmp_path)], classes=5)


def test_mixed_targets_are_tried_where_photographs_are_mixed(tmp_path: Path) -> None:
    source = """
import torch.nn.functional as F
def f(student, teacher, target):
    return F.nll_loss(student.log_softmax(1), target, reduction="none")
"""
    table = of(source, tmp_path)
    assert Objective([table], classes=5)
    with pytest.raises(UserError, match=r"mixed photographs"):
        Objective([table], classes=5, mixed=True)


def test_a_loss_that_looks_at_labels_leaves_out_what_has_none(tmp_path: Path) -> None:
    body = "    return (student - teacher).abs().sum(1)"
    blind = Objective([of(f"def f(student, teacher, target):\n{body}\n", tmp_path)], classes=3)
    seeing = Objective(
        [of(f"def f(student, teacher, target):\n{body} * (1 + target)\n", tmp_path)], classes=3
    )
    given = Outputs(torch.ones(2, 3)), Outputs(torch.zeros(2, 3)), torch.tensor([1, -1]), 0.0
    assert blind(*given)[0].tolist() == [3.0, 3.0]
    assert seeing(*given)[0].tolist() == [6.0, 0.0]


def test_a_loss_without_a_teacher_is_supervised(tmp_path: Path) -> None:
    source = """
import torch.nn.functional as F
def f(student, teacher=None, target=None):
    return F.cross_entropy(student, target, reduction="none")
"""
    objective = Objective([of(source, tmp_path)], classes=3)
    assert not objective.needs_teacher
    value, _ = objective(Outputs(torch.zeros(2, 3)), None, torch.tensor([1, -1]), 0.0)
    assert value[1] == 0
    assert value[0] > 1


def test_a_loss_of_layers_says_how_they_are_made_comparable(tmp_path: Path) -> None:
    layers = {"student_layer": "0", "teacher_layer": "0"}
    source = "def f(student, teacher, target):\n    return (student - teacher).pow(2).mean(1)\n"
    networks = [torch.nn.Sequential(torch.nn.Conv2d(3, wide, 3)) for wide in (4, 6)]

    def made(source: str) -> Objective:
        table = of(source, tmp_path, **layers)
        return Objective(
            [table],
            classes=5,
            student=networks[0],
            teacher=networks[1],
            preprocess=Preprocess(8, 8),
        )

    with pytest.raises(UserError, match=r"gives \(7, 6, 6\)"):
        made(source)
    with pytest.raises(UserError, match=r"fails on outputs of 7 examples"):
        made(source + 'f.projector = "embedding"\n')
    assert made(source + 'f.projector = "contrast"\n')
    with pytest.raises(UserError, match="projector contrasts: unknown; did you mean contrast"):
        made(source + 'f.projector = "contrasts"\n')


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("def f(student, teacher, target, *, power=1.0): ...", {"powr": 2}, "did you mean power"),
        ("def f(student, teacher, target, *, power): ...", {}, "needs the option power"),
        ("def f(student, teacher): ...", {}, "takes 2 arguments"),
        ("class f:\n    pass", {}, "is a class"),
        ("def g(student, teacher, target): ...", {}, "has no function f; known: g"),
        ("import no_such_library", {}, "cannot be loaded.*no_such_library.*line 1"),
    ],
)
def test_a_loss_is_checked_against_its_signature(
    tmp_path: Path, source: str, options: dict[str, float], said: str
) -> None:
    table = of(f"{source}\n", tmp_path, options=options)
    with pytest.raises(UserError, match=said):
        check_loss(table)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.py:f", "no file gone.py beside the recipe"),
        ("no_such_module:f", "no module no_such_module"),
        ("broken.py:f", r"broken.py, line 2: not valid Python"),
    ],
)
def test_a_file_that_cannot_be_taken_is_named(recipe: Path, name: str, said: str) -> None:
    (recipe.parent / "broken.py").write_text("def f():\n    return (\n")
    with pytest.raises(UserError, match=said):
        load_recipe(str(recipe), [f'losses.0.name="{name}"'])
