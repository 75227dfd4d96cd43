"""Arguments as a notebook has them: converted by what a command takes, refused in one line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mobilekd
from mobilekd.formats.data_tables import as_data_table
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import as_recipe, load_recipe
from mobilekd.formats.runs import open_run, references
from mobilekd.support.arguments import forgiving
from mobilekd.support.errors import UserError


def command(
    target: str | Path,
    folder: Path = Path("runs"),
    *,
    output: Path | None = None,
    several: Sequence[Path] = (),
    words: Sequence[str] = (),
    count: int = 1,
    limit: float = 0.0,
    deep: bool = False,
    keys: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    return dict(locals())


RUN = SimpleNamespace(folder=Path("runs/a"))


@pytest.mark.parametrize(
    ("given", "received"),
    [
        ({"target": "x"}, "x"),
        ({"target": Path("x")}, Path("x")),
        ({"target": RUN}, Path("runs/a")),
        ({"target": SimpleNamespace(folder=Path("a/b"), reference=True)}, "reference:b"),
        ({"folder": "x"}, Path("x")),
        ({"folder": RUN}, Path("runs/a")),
        ({"output": "x"}, Path("x")),
        ({"output": None}, None),
        ({"several": "x"}, [Path("x")]),
        ({"several": RUN}, [Path("runs/a")]),
        ({"several": ["x", RUN]}, [Path("x"), Path("runs/a")]),
        ({"words": "x"}, ["x"]),
        ({"words": [Path("x")]}, ["x"]),
        ({"limit": 1}, 1),
    ],
)
def test_arguments_come_as_what_the_command_takes(given: dict[str, Any], received: object) -> None:
    (name,) = given
    assert forgiving(command)(**{"target": "t", **given})[name] == received


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"target": 3}, "command: target is 3, of type int; give a text or the path"),
        (
            {"output": 3},
            "command: output is 3, of type int; give the path of a file or folder or a run",
        ),
        ({"several": 3}, "command: several is 3"),
        ({"several": [3]}, "command: several is 3"),
        ({"count": "3"}, "command: count is '3', of type str; give a whole number"),
        ({"count": True}, "command: count is True"),
        ({"deep": 1}, "command: deep is 1, of type int; give True or False"),
        (
            {"folder": np.zeros((2, 1))},
            "folder is array([[0.], [0.]]), of type ndarray; give the path",
        ),
        ({"keys": 3}, "command: keys is 3, of type int; give a dictionary"),
        ({"outptu": "x"}, "command: outptu: unknown; did you mean output"),
        ({}, "missing a required argument: 'target'; it takes target, folder"),
    ],
)
def test_a_wrong_argument_is_one_line(given: dict[str, Any], said: str) -> None:
    target = {} if not given else {"target": "t"}
    with pytest.raises(UserError) as refused:
        forgiving(command)(**{**target, **given})
    assert said in str(refused.value)


def test_a_recipe_is_a_name_a_file_or_itself(tmp_path: Path) -> None:
    demo = load_recipe("demo")
    (tmp_path / "r.toml").write_text('base = "demo"\nname = "mine"\n')
    assert as_recipe("demo", "distill") == as_recipe(demo, "distill") == demo
    mine = as_recipe(tmp_path / "r.toml", "distill")
    assert isinstance(mine, Recipe)
    assert mine.name == "mine"
    with pytest.raises(UserError, match=r"distill: recipe is 3, of type int; give a shipped"):
        as_recipe(3, "distill")  # type: ignore[arg-type]


def test_a_command_that_trains_takes_overrides(tmp_path: Path) -> None:
    root = "data.root=photographs"
    assert as_recipe("photographs", "distill", [root]).data.root == "photographs"
    assert as_recipe(load_recipe("photographs"), "distill", [root]).data.root == "photographs"
    for train in (mobilekd.distill, mobilekd.teach):
        with pytest.raises(UserError, match=r"data\.rot: unknown|unknown key data\.rot"):
            train("photographs", tmp_path, overrides="data.rot=photographs")
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        mobilekd.distill("photographs", tmp_path, overrides=["data.root=nowhere"])
    assert not list(tmp_path.iterdir())


def test_data_are_a_table_or_a_dictionary() -> None:
    table = as_data_table({"kind": "folder", "root": "photographs"})
    assert (table.kind, table.root) == ("folder", "photographs")
    assert as_data_table(table) is table
    with pytest.raises(UserError, match=r"unknown key rot; did you mean root.*\"photographs\"}"):
        as_data_table({"kind": "folder", "rot": "photographs"})
    reference = f"reference:{references()[0]}"
    with pytest.raises(UserError, match="data is 'folder', of type str; give DataTable or a dic"):
        mobilekd.evaluate(reference, data="folder")
    with pytest.raises(UserError, match="nowhere: no such folder"):
        mobilekd.evaluate(reference, data={"kind": "folder", "root": "nowhere"})


def test_the_packages_own_functions_are_forgiving() -> None:
    with pytest.raises(UserError, match="no_such_artifact"):
        mobilekd.inspect("no_such_artifact")
    with pytest.raises(UserError, match="report: paths is 3"):
        mobilekd.report([3])


def test_a_run_shows_itself_shortly() -> None:
    run = open_run(f"reference:{references()[0]}")
    assert repr(run).startswith("<run reference:")
    assert len(repr(run)) < 300
    assert "<table>" in run._repr_html_()
