"""Every shipped recipe is valid, says what it costs, and its smoke reduction runs through teaching
and distilling.
"""

import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from mobilekd.cli import commands, main
from mobilekd.formats.recipe import Recipe, same_but_for_places, shape
from mobilekd.formats.recipe_file import from_dict, load_recipe, shipped
from mobilekd.formats.runs import DEFAULT_REFERENCE, open_run, references
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipe_is_valid_and_named_after_its_file(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.title
    assert from_dict(recipe.to_dict(), name).hash() == recipe.hash()


#: Hashes of the resolved recipes, whole and reduced, as they were before recipes had bases.
HASHES = {
    "demo": (
        "10b2ed79ee08086e2c00b3b95e20b97030d6b5f35bcb4fda7c3b81a6ec460b78",
        "27c8dbe875a57ddf99fc665c685bf4870a9ab91ebad0ef17f3d765eeea183944",
    ),
    "function-matching": (
        "a5a34963e12fe1b610edefebeba169a40ed505ac74421638844cb6ce5c21ffdf",
        "f4833f50a0551a62d01bf4d2887210fe42a5819e68087ad118230aa0c7d7a41c",
    ),
    "ham10000": (
        "9a2ad138974f62e598534777eef5ca9afb03241edaaea3f07a88fbe1fc9b7a54",
        "1d34604898b56de987578f87a6b6469d137169120130e500bfa74a3006a6e10d",
    ),
    "ham10000-lesionnet": (
        "5ca99bdde5f100ffef808bbc85cd943cd92aafae722a46b319669c90aa49b108",
        "3f4998f6696f21019814b2c9128f21610622ad7177ad79e49d4d384b07d55c04",
    ),
    "self-distillation": (
        "93b5df4addf97a5f90101b5d3669419b46367d7016cb7bebf13d74519f47a9c5",
        "6c3397616c3461bc17c633c6f001b26efc3b723f5591a4dc8c1e05f916dc0f2d",
    ),
    "several-teachers": (
        "23e70410a5d98f6c0febfaee213c0041955e25c47c005de84b91e6a5f1b144b4",
        "42079f916fdb5cecbd77a74a5e56d2f8b64083cac30cd9ada53542ae5fbfeb32",
    ),
}


@pytest.mark.parametrize("name", HASHES)
def test_a_base_changes_no_resolved_recipe(name):
    """LesionNet's recipe has taken the seed of its shipped student since; all else is as it was."""
    asked = ["seed=0"] if name == "ham10000-lesionnet" else []
    resolved = [load_recipe(name, asked, smoke=smoke).hash() for smoke in (False, True)]
    assert tuple(resolved) == HASHES[name]


@pytest.mark.parametrize("name", references())
def test_a_shipped_student_is_the_recipe_of_its_name(name):
    """But for names, for where its teachers lay, and for whether the compiler was used."""
    compiled = name != "ham10000-mobilenetv2-035"
    paces = [] if compiled else ["train.compile=no", "teach.compile=no"]
    recipe, trained = load_recipe(name, paces), open_run(f"reference:{name}").recipe
    assert same_but_for_places(recipe, trained)
    assert recipe.seed == trained.seed
    assert recipe.student == trained.student
    differing = {key for key, value in recipe.to_dict().items() if value != trained.to_dict()[key]}
    assert differing <= {"name", "title", "cost", "smoke", "teachers"}


def test_every_key_of_a_recipe_says_what_it_is():
    def keys(table: type[BaseModel], above: str = "") -> Iterator[tuple[str, str | None]]:
        for name, field in table.model_fields.items():
            yield f"{above}{name}", field.description
            for part in (field.annotation, *get_args(field.annotation)):
                if isinstance(part, type) and issubclass(part, BaseModel) and part is not table:
                    yield from keys(part, f"{above}{name}.")

    found = dict(keys(Recipe))
    assert {"train.lr", "teachers.weights", "losses.name", "gates.agreement"} <= found.keys()
    assert [key for key, description in found.items() if not description] == []


def written(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")


def test_a_base_is_laid_under_a_recipe_table_by_table(tmp_path: Path):
    written(
        tmp_path,
        mine='base = "middle.toml"\nname = "mine"\n[train]\nlr = 0.5\n[smoke]\n"train.views" = 2\n',
        middle='base = "demo"\nname = "middle"\n[train]\nepochs = 7\n'
        '[[teachers]]\nmodel = "test_resnet"\n',
    )
    mine, demo = load_recipe(str(tmp_path / "mine.toml")), load_recipe("demo")
    assert (mine.name, mine.title, mine.cost) == ("mine", "", "")
    assert (mine.train.lr, mine.train.epochs) == (0.5, 7)
    assert mine.train.batch_size == demo.train.batch_size
    assert [table.model for table in mine.teachers] == ["test_resnet"]
    assert mine.losses == demo.losses
    assert mine.smoke == {**demo.smoke, "train.views": 2}
    assert load_recipe(str(tmp_path / "mine.toml"), smoke=True).train.views == 2
    assert from_dict(mine.to_dict(), "mine") == mine


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            {"mine": 'base = "mine.toml"\nname = "a"'},
            r"leads back to itself \(.*mine.toml -> .*mine",
        ),
        (
            {"mine": 'base = "b.toml"\nname = "a"', "b": 'base = "./mine.toml"\nname = "b"'},
            "leads back to itself",
        ),
        ({"mine": 'base = "dem"\nname = "a"'}, "dem: neither .* did you mean demo"),
        ({"mine": 'base = 3\nname = "a"'}, r"base: not a name \(given: 3\)"),
        ({"mine": 'base = "demo"'}, "name: missing; a recipe with a base has a name of its own"),
        ({"mine": 'base = "b.toml"\nname = "a"', "b": "[train"}, "b.toml: not valid TOML"),
        (
            {
                "mine": 'base = "b0.toml"\nname = "a"',
                **{f"b{i}": f'base = "b{i + 1}.toml"' for i in range(20)},
            },
            "more than 7 bases",
        ),
    ],
)
def test_a_base_that_cannot_be_is_one_line(texts: dict[str, str], said: str, tmp_path: Path):
    written(tmp_path, **texts)
    with pytest.raises(UserError, match=said) as caught:
        load_recipe(str(tmp_path / "mine.toml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", shipped())
def test_smoke_reduction_needs_no_data_and_no_network(name):
    smoke = load_recipe(name, smoke=True)
    assert smoke.data.kind == "synthetic"
    assert not smoke.data.unlabelled
    assert all(table.weights in (None, "") for table in (*smoke.teachers, smoke.student))
    assert smoke.train.epochs <= 2
    assert smoke.data.count <= 300


@pytest.fixture(scope="module")
def taught() -> dict[str, Path]:
    """Teachers by all that shapes them, for the recipes that have the same."""
    return {}


@pytest.mark.parametrize("name", shipped())
def test_smoke_reduction_trains(name, taught: dict[str, Path], tmp_path: Path, capfd):
    """``teach`` refuses a teacher that another recipe would have made otherwise, so that it is no
    risk to lend it one.
    """
    recipe = load_recipe(name, smoke=True)
    alike = [recipe.data, recipe.split, recipe.preprocess, recipe.augment, recipe.teach]
    keys = {
        sha256_json([recipe.seed, *map(shape, [*alike, table]), index]): tmp_path
        / name
        / f"teachers/{index}"
        for index, table in enumerate(recipe.teachers)
    }
    for key in keys.keys() & taught.keys():
        shutil.copytree(taught[key], keys[key])
    assert main(["teach", name, "--smoke", "--runs", str(tmp_path)]) == 0
    taught |= keys
    capfd.readouterr()
    assert main(["distill", name, "--smoke", "--runs", str(tmp_path), "--json"]) == 0
    run = json.loads(capfd.readouterr().out)
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
    shown = tomllib.loads(capfd.readouterr().out)
    assert from_dict(shown, "shown").to_dict() == load_recipe("demo").to_dict()


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


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "data.root=2024-05-01",
            "valid string (given: 2024-05-01); write it as a text: --set 'data",
        ),
        ("data.root=12:30:00", "valid string (given: 12:30:00)"),
        ("name=5", "valid string (given: 5); write it as a text: --set 'name=\"5\"'"),
        ("train.epochs=", "valid integer (given: '')"),
        ("train.epochs=many", "valid integer (given: 'many')"),
        ("train.epochs=nan", "valid integer (given: nan)"),
        ("train.epochs=true", "valid integer (given: True)"),
        ("train.epochs=3.0", "valid integer (given: 3.0)"),
        ("train.epochs=" + "9" * 30, "less than 2147483648"),
        ("train.epochs=" + "9" * 5000, "valid integer"),
        ("train.epochs=1\nx=2", "valid integer"),
        ("train={epochs=0}", "train.epochs: input should be greater than or equal to 1"),
        ("train=3", "train: input should be a table of keys (given: 3)"),
        ("train.epoch=3", "unknown key train.epoch; did you mean epochs?"),
        ("teachers=[{modl='x'}]", "teachers.0.model: missing"),
        ("teachers.0.weight=inf", "teachers.0.weight: input should be a finite number"),
        ("losses.1.weight=-1", "losses.1.weight: input should be greater than or equal to 0"),
        ("losses.0.options.x=nan", "NaN and infinity are no options"),
        ("losses.0.options={x=2024-05-01}", "dates, NaN and infinity are no options"),
        ("train.lr=1e30", "train.lr: input should be less than or equal to 1000"),
        (f"seed={2**63}", "seed: input should be less than 9223372036854775808"),
        ("data.root=~nobody-of-this-name/x", "home directory. write the folder out"),
        ("=3", "not key=value"),
        ("epochs", "not key=value"),
    ],
)
def test_a_wrong_override_is_blamed_and_no_line_of_the_recipe(override: str, said: str):
    with pytest.raises(UserError) as caught:
        load_recipe("ham10000", [override])
    assert str(caught.value).startswith(f"--set {override[:20]}")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


def test_every_number_of_a_recipe_has_bounds():
    """Far outside of them lies nothing but a slip, and infinity ends in NaN."""
    resolved = load_recipe("several-teachers").to_dict()

    def numbers(value: object, key: str) -> list[str]:
        if isinstance(value, dict):
            return [one for name, item in value.items() for one in numbers(item, f"{key}.{name}")]
        if isinstance(value, list):
            return [one for i, item in enumerate(value) for one in numbers(item, f"{key}.{i}")]
        return [key[1:]] if type(value) in (int, float) else []

    free = ("smoke", "preprocess.mean", "losses.0.options", "losses.1.options")
    keys = [key for key in numbers(resolved, "") if not key.startswith(free)]
    assert len(keys) > 40
    for key in keys:
        for value in (10**40, -(10**40), "nan", "true"):
            with pytest.raises(UserError, match=key.rpartition(".")[2]):
                load_recipe("several-teachers", [f"{key}={value}"])


def test_a_home_is_written_as_people_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    asked = ["data.root=~/skin", "teachers.0.trained=~/a", "student.weights=~/b"]
    recipe = load_recipe("ham10000", asked)
    assert recipe.data.root == str(tmp_path / "skin")
    assert recipe.teachers[0].trained == str(tmp_path / "a")
    assert recipe.student.weights == str(tmp_path / "b")
    written(tmp_path, mine='base = "demo"\nname = "mine"')
    assert load_recipe("~/mine.toml").name == "mine"
    arguments = commands().parse(["evaluate", "x", "--runs", "~/runs", "--output", "~/o"])
    assert (arguments.runs, arguments.output) == (tmp_path / "runs", tmp_path / "o")


def test_own_photographs_start_from_the_default_student():
    assert load_recipe("photographs").student.weights == f"reference:{DEFAULT_REFERENCE}"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("root=x", "--set root=x: unknown key root; did you mean data.root?"),
        (
            "epochs=5",
            "unknown key epochs; did you mean pretrain.epochs or train.epochs or teach.ep",
        ),
        ("nonsense=5", "unknown key nonsense; known: name"),
    ],
)
def test_a_key_that_belongs_into_a_table_is_told(setting: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        load_recipe("photographs", [setting])
    assert said in str(refused.value)
