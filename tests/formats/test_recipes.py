"""Every shipped recipe is valid, says what it costs, and its smoke reduction runs through teaching
and distilling.
"""

import json
from pathlib import Path

import pytest

from mobilekd.cli import main
from mobilekd.formats.recipe import from_dict, load_recipe, shipped
from mobilekd.support.errors import UserError


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipe_is_valid_and_named_after_its_file(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.title
    assert from_dict(recipe.to_dict(), name).hash() == recipe.hash()


@pytest.mark.parametrize("name", shipped())
def test_smoke_reduction_needs_no_data_and_no_network(name):
    smoke = load_recipe(name, smoke=True)
    assert smoke.data.kind == "synthetic"
    assert not smoke.data.unlabelled
    assert all(table.weights in (None, "") for table in (*smoke.teachers, smoke.student))
    assert smoke.train.epochs <= 2
    assert smoke.data.count <= 300


@pytest.mark.parametrize("name", shipped())
def test_smoke_reduction_trains(name, tmp_path: Path, capfd):
    assert main(["teach", name, "--smoke", "--runs", str(tmp_path)]) == 0
    capfd.readouterr()
    assert main(["distill", name, "--smoke", "--runs", str(tmp_path), "--json"]) == 0
    run = json.loads(capfd.readouterr().out)
    recipe = load_recipe(name, smoke=True)
    assert run["recipe_hash"] == recipe.hash()
    assert len(run["teachers"]) == len(recipe.teachers)
    assert (run["control"] is not None) == bool(recipe.teachers)
    for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines():
        assert all(value == value for value in json.loads(line).values()), "NaN"


def test_recipes_are_listed_with_their_cost(capfd):
    assert main(["recipes", "--json"]) == 0
    listed = json.loads(capfd.readouterr().out)["recipes"]
    assert [item["name"] for item in listed] == shipped()
    assert all(item["title"] and item["cost"] for item in listed)


def test_one_recipe_is_shown_resolved(capfd):
    assert main(["recipes", "demo"]) == 0
    assert json.loads(capfd.readouterr().out) == load_recipe("demo").to_dict()


def test_overrides_come_after_the_smoke_reduction():
    assert load_recipe("demo", ["train.epochs=2"], smoke=True).train.epochs == 2


@pytest.mark.parametrize("key", ["train.epochs.more=1", "teachers.9.model=x", "teachers.x.model=y"])
def test_an_override_without_a_place_is_the_users_mistake(key):
    with pytest.raises(UserError):
        load_recipe("demo", [key])


def test_a_recipe_in_another_encoding_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes("title = 'Müller'".encode("latin-1"))
    with pytest.raises(UserError, match="save it as UTF-8"):
        load_recipe(str(tmp_path / "mine.toml"))


def test_a_recipe_that_an_editor_began_with_a_byte_order_mark_is_read(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\r\n[data]\r\nkind = "synthetic"\r\n', encoding="utf-8-sig")
    assert load_recipe(str(path)).name == "mine"


def test_a_seed_that_no_generator_takes_is_refused() -> None:
    """TOML's own limit; every generator takes what is below."""
    assert load_recipe("demo", [f"seed={2**63 - 1}"]).seed == 2**63 - 1
    for key in ("seed", "data.seed", "split.seed"):
        with pytest.raises(UserError, match=rf"{key}: .*less than {2**63}"):
            load_recipe("demo", [f"{key}={2**63}"])
    for key in ("train.epochs", "train.batch_size", "train.views", "train.threads", "data.count"):
        with pytest.raises(UserError, match=rf"{key}: .*less than"):
            load_recipe("demo", [f"{key}={10**18}"])
