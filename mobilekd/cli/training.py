"""recipes, teach, distill, sweep: from photographs to a trained student."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekd.cli import meant
from mobilekd.cli.parser import LOOK, TRAIN, Answer, Commands, Parser, add_runs
from mobilekd.cli.parts import WORDS, parts
from mobilekd.support.words import counted

if TYPE_CHECKING:
    from mobilekd.formats.recipe import Recipe


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    _register_recipes(commands)
    _register_teach(commands)
    _register_distill(commands)
    _register_sweep(commands)


def _add_recipe(parser: Parser) -> None:
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help="shipped name, TOML file, or with --resume the name of an unfinished run",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where an earlier call was stopped"
    )
    _add_overrides(parser)


def _add_overrides(parser: Parser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a key of the recipe",
    )
    parser.add_argument(
        "--allow-missing",
        action="append_const",
        const="data.allow_missing=true",
        dest="overrides",
        help="leave out, and count, rows without a photograph and photographs without a row",
    )
    parser.add_argument(
        "--smoke", action="store_true", help="the recipe's reduction that ends in seconds"
    )
    add_runs(parser)


def _register_recipes(commands: Commands) -> None:
    parser = commands.add(
        LOOK,
        "recipes",
        "list the shipped recipes with what each costs, and the shipped students",
        recipes,
        ["", "losses", "ham10000 > mine.toml", "--explain train.lr", "--explain gates"],
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help=(
            "print this one as TOML, every key resolved and explained: the start of your own; or"
            " losses, students or adaptations: list what a recipe can name, and its source"
        ),
    )
    parser.add_argument(
        "--explain",
        metavar="KEY",
        help="say type, default, allowed values and meaning of a recipe's key or table",
    )


def recipes(arguments: Namespace) -> Answer:
    """The shipped recipes, or one of them resolved."""
    from mobilekd.cli.text import table
    from mobilekd.formats.recipe_file import load_recipe, shipped
    from mobilekd.formats.recipe_keys import to_toml
    from mobilekd.formats.runs import open_run, references

    if arguments.explain is not None:
        return _explained(arguments.explain)
    if arguments.recipe in WORDS:
        listed = parts(arguments.recipe)
        rows = [(row["name"], row["what"], row["source"]) for row in listed]
        return Answer({arguments.recipe: listed}, table(("NAME", "WHAT", "SOURCE"), rows))
    if arguments.recipe:
        recipe = load_recipe(arguments.recipe)
        title = (
            f"The recipe {recipe.name}, every key with its value. Give it a name of your own, keep"
            " what you change, and leave out what you do not: base = "
            f'"{recipe.name}" takes it from there.'
        )
        return Answer(recipe, to_toml(recipe, title).rstrip())
    rows = [
        (recipe.name, recipe.title, recipe.cost or "not measured")
        for recipe in map(load_recipe, shipped())
    ]
    students = []
    for name in references():
        info = open_run(f"reference:{name}").info
        students.append(
            (
                f"reference:{name}",
                f"{info.parameters:,} parameters",
                f"{len(info.labels)} classes; {info.data_licence}",
            )
        )
    document = {
        "recipes": [dict(zip(("name", "title", "cost"), row, strict=True)) for row in rows],
        "references": [dict(zip(("name", "size", "data"), row, strict=True)) for row in students],
    }
    text = table(("RECIPE", "WHAT", "COST"), rows)
    return Answer(
        document, text + ("\n\n" + table(("STUDENT", "SIZE", "DATA"), students) if students else "")
    )


def _explained(name: str) -> Answer:
    """A key of a recipe in words, with the keys in it where it is a table."""
    from mobilekd.cli.text import table
    from mobilekd.formats.recipe_keys import explain, toml
    from mobilekd.support.errors import UserError

    try:
        found = explain(name)
    except UserError:
        if key_meant := meant.key(name):
            raise UserError(f"--explain {name}: unknown; did you mean {key_meant}?") from None
        raise
    key, *below = found
    if not below:
        default = "none" if key.default is None else toml(key.default)
        facts = [
            ("type", key.kind),
            ("allowed", key.allowed or "any"),
            ("default", "none: the recipe has to say it" if key.required else default),
            ("set it with", f"--set {key.name.replace('.N.', '.0.')}=..."),
        ]
        return Answer(found, f"{key.name}: {key.description}\n\n{table(('', ''), facts).strip()}")
    rows = [
        (
            one.name,
            one.kind,
            "required" if one.required else "" if one.default is None else toml(one.default),
            one.allowed,
            one.description,
        )
        for one in below
        if not one.table
    ]
    header = ("KEY", "TYPE", "DEFAULT", "ALLOWED", "WHAT")
    return Answer(found, f"{key.name}: {key.description}\n\n{table(header, rows)}")


def _register_teach(commands: Commands) -> None:
    parser = commands.add(
        TRAIN,
        "teach",
        "train a recipe's teachers",
        teach,
        ["ham10000", "ham10000 --set teach.epochs=20", "ham10000 --resume"],
    )
    _add_recipe(parser)


def teach(arguments: Namespace) -> Answer:
    """Train the teachers."""
    recipe = _recipe(arguments)
    from mobilekd.commands.teach import teach as run
    from mobilekd.formats.runs import RUNS

    folders = run(recipe, arguments.runs, resume=arguments.resume)
    lines = [str(folder) for folder in folders]
    folder = arguments.runs / recipe.name
    beside = "" if folder.parent == RUNS else f" --runs {shlex.quote(str(folder.parent))}"
    lines.append(f"next: mobilekd distill {shlex.quote(str(folder))}{beside}")
    return Answer({"teachers": folders}, "\n".join(lines))


def _register_distill(commands: Commands) -> None:
    parser = commands.add(
        TRAIN,
        "distill",
        "train a student with its teachers, and its control without",
        distill,
        [
            "ham10000",
            "my.toml --set data.root=photographs --set seed=1",
            "ham10000 --resume",
            "demo --smoke",
        ],
    )
    _add_recipe(parser)
    parser.add_argument(
        "--no-control", action="store_true", help="leave the control out (reports will miss it)"
    )


def distill(arguments: Namespace) -> Answer:
    """Train the student and its control."""
    recipe = _recipe(arguments)
    from mobilekd.commands.distill import distill as run
    from mobilekd.training.summary import summarise

    made = run(recipe, arguments.runs, resume=arguments.resume, control=not arguments.no_control)
    summary = summarise(made)
    lines = [str(made.folder), *summary.sentences]
    if summary.better_than_chance:
        folder = shlex.quote(str(made.folder))
        lines.append(f"next: mobilekd evaluate {folder}; mobilekd export {folder} --precision int8")
    document = {"run": made.folder, **made.info.model_dump(mode="json")}
    return Answer({**document, "summary": summary.sentences}, "\n".join(lines))


def _register_sweep(commands: Commands) -> None:
    parser = commands.add(
        TRAIN,
        "sweep",
        "train a list of recipes or a grid with seeds; does what is missing and nothing twice",
        sweep,
        [
            "ham10000 --grid student.width=0.35,0.5 --seeds 0,1,2",
            "ham10000 demo --jobs 2",
            "ham10000 --seeds 0,1,2,3 --per-gpu 4",
            "ham10000 --seeds 0,1,2,3 --on ray",
            "demo --smoke --seeds 0,1",
        ],
    )
    parser.add_argument("recipe", nargs="+", metavar="RECIPE", help="shipped name or TOML file")
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=A,B",
        help="values of a key to try; repeat for a product",
    )
    parser.add_argument(
        "--seeds",
        default="",
        metavar="0,1,2",
        help="seeds to run each with (default: the recipe's own)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help=(
            "runs at the same time, one process each (default: 1; with --on ray as many as have"
            " room)"
        ),
    )
    parser.add_argument(
        "--per-gpu",
        type=int,
        metavar="N",
        help="instead: runs at the same time on each GPU; where there is none, as --jobs",
    )
    parser.add_argument(
        "--on",
        choices=("local", "ray"),
        default="local",
        metavar="PLACE",
        help="where runs go: processes of this machine, or the nodes of a Ray cluster",
    )
    parser.add_argument(
        "--address",
        metavar="CLUSTER",
        help=(
            "the Ray cluster: auto (the one that runs here or in RAY_ADDRESS), local (a new one on"
            " this machine) or HOST:PORT (default: auto)"
        ),
    )
    parser.add_argument(
        "--cpus",
        type=int,
        metavar="N",
        help="processor cores that each run asks Ray for (default: 1)",
    )
    parser.add_argument("--no-control", action="store_true", help="leave the controls out")
    _add_overrides(parser)


def sweep(arguments: Namespace) -> Answer:
    """Train every cell of a grid that is not there yet."""
    from mobilekd.cli.text import table
    from mobilekd.commands.sweep import parse_grid, parse_seeds
    from mobilekd.commands.sweep import sweep as run
    from mobilekd.support.progress import say

    cells = run(
        arguments.recipe,
        grid=parse_grid(arguments.grid),
        seeds=parse_seeds(arguments.seeds),
        overrides=arguments.overrides,
        smoke=arguments.smoke,
        runs=arguments.runs,
        jobs=arguments.jobs,
        control=not arguments.no_control,
        on=arguments.on,
        per_gpu=arguments.per_gpu,
        address=arguments.address,
        cpus=arguments.cpus,
    )
    rows = [(cell.name, cell.state, cell.detail) for cell in cells]
    states = [cell.state for cell in cells]
    if untrained := states.count("failed") + states.count("refused"):
        say(
            f"mobilekd sweep: {untrained} of {counted(len(cells), 'run')} not trained; mend what"
            " the table says, and call the sweep again for those alone"
        )
    code = 1 if "failed" in states else 2 if "refused" in states else 0
    return Answer({"cells": cells}, table(("RUN", "STATE", "DETAIL"), rows), code)


def _recipe(arguments: Namespace) -> Recipe:
    """The recipe asked for; with ``--resume`` and no overrides the one that an unfinished run of
    this name started with. What can be told of it without torch is told here, at once.
    """
    from mobilekd.data import check_place
    from mobilekd.formats.recipe_file import from_dict, load_recipe
    from mobilekd.support.files import read_json

    started = arguments.runs / Path(arguments.recipe).name / "recipe.json"
    if arguments.resume and not arguments.overrides and not arguments.smoke and started.exists():
        recipe = from_dict(read_json(started, "recipe"), str(started))
    else:
        recipe = load_recipe(arguments.recipe, arguments.overrides, smoke=arguments.smoke)
    check_place(recipe.data)
    return recipe
