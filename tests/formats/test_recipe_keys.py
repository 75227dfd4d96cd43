"""A printed recipe is the recipe; every key is explained from the fields themselves."""

import tomllib

import pytest

from mobilekd.cli import main
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import load_recipe, shipped
from mobilekd.formats.recipe_keys import explain, keys, to_toml, toml
from mobilekd.support.errors import UserError


@pytest.mark.parametrize("name", shipped())
def test_a_printed_recipe_loads_as_the_recipe_itself(name, tmp_path):
    text = to_toml(load_recipe(name), "A title. " * 30)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    assert load_recipe(str(tmp_path / "mine.toml")) == load_recipe(name)
    assert load_recipe(str(tmp_path / "mine.toml"), smoke=True) == load_recipe(name, smoke=True)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert len(comments) > 60
    assert max(map(len, comments)) <= 100


def test_recipes_prints_toml_for_a_file_and_json_when_asked(capfd, tmp_path):
    assert main(["recipes", "several-teachers"]) == 0
    (tmp_path / "mine.toml").write_text(capfd.readouterr().out, encoding="utf-8")
    assert load_recipe(str(tmp_path / "mine.toml")) == load_recipe("several-teachers")
    assert main(["recipes", "several-teachers", "--json"]) == 0
    assert '"name": "several-teachers"' in capfd.readouterr().out


def test_values_survive_toml():
    for value in (1, 1.0, 1e-5, True, 'a "b" \\ \n \x7f é 😀', [1.5, "x"], {"a b": {"c": [1]}}, {}):
        assert tomllib.loads(f"value = {toml(value)}") == {"value": value}


def test_every_key_is_explained():
    names = [key.name for key in keys()]
    assert {"train.lr", "teachers.N.model", "losses.N.options", "gates.agreement"} <= set(names)
    assert len(names) == len(set(names))
    for name in names:
        first, *below = explain(name)
        assert first.name == name
        assert first.description
        assert bool(below) == first.table
    defaults = {key.name: key.default for key in keys() if not (key.table or key.required)}
    known = Recipe.model_validate({"name": "x", "data": {"kind": "synthetic"}}).to_dict()
    assert defaults["train.lr"] == known["train"]["lr"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("train.lr", ["number", "above 0, at most 1000", "0.001", "--set train.lr="]),
        ("teachers.0.model", ["timm name", "the recipe has to say it", "--set teachers.0.model="]),
        ("teachers.model", ["timm name"]),
        ("train.balance", ["none | weighted | sampling | sqrt_sampling | logit_adjustment"]),
        ("gates", ["gates.agreement", "gates.sqnr_db"]),
    ],
)
def test_explain_says_type_default_values_and_meaning(asked, says, capfd):
    assert main(["recipes", "--explain", asked]) == 0
    out = capfd.readouterr().out
    for words in says:
        assert words in out


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("lr", "train.lr or teach.lr"),
        ("train.epoch", "did you mean train.epochs?"),
        ("", "nearest"),
    ],
)
def test_a_key_that_is_none_is_answered_with_the_nearest(asked, says):
    with pytest.raises(UserError, match="--explain") as caught:
        explain(asked)
    assert says in str(caught.value)
