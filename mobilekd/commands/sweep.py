"""``mobilekd sweep``: a list of recipes or a grid, with seeds. Its only state is the run folders.

A cell of the grid is one run; a finished one is left alone, a started one is gone on with, so a
sweep can be killed and called again at any time. Each cell trains in a process of its own, which
ends when the sweep ends, however that happens. Teachers that several cells share (same data, views,
networks and schedule) are trained once, before the cells.
"""

import fcntl
import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilekd.formats.document import read_document
from mobilekd.formats.recipe import Recipe, from_dict, load_recipe
from mobilekd.formats.runs import RunInfo
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json
from mobilekd.support.progress import say


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: ``state`` is done (was there already), trained (now) or failed, with the
    reason in ``detail``.
    """

    name: str
    state: str
    detail: str = ""


def parse_grid(items: Sequence[str]) -> dict[str, list[str]]:
    """``KEY=A,B`` items as lists of values by key; a comma inside brackets or quotes does not part
    values.
    """
    grid = {}
    for item in items:
        key, equals, values = item.partition("=")
        parts = [
            part.strip() for part in re.findall(r"(?:\[[^\]]*\]|\"[^\"]*\"|[^,\[\"])+", values)
        ]
        if not (key and equals and parts):
            raise UserError(
                f"--grid {item}: not KEY=A,B; write for example --grid student.width=0.35,0.5"
            )
        grid[key.strip()] = parts
    return grid


def parse_seeds(text: str) -> tuple[int, ...]:
    """``0,1,2`` as numbers."""
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UserError(
            f"--seeds {text}: not whole numbers; write for example --seeds 0,1,2"
        ) from None


def sweep(
    recipes: Sequence[str],
    *,
    grid: Mapping[str, Sequence[str]] | None = None,
    seeds: Sequence[int] = (),
    overrides: Sequence[str] = (),
    smoke: bool = False,
    runs: Path = Path("runs"),
    jobs: int = 1,
    control: bool = True,
) -> list[Cell]:
    """Train every cell that is not there yet, ``jobs`` at a time; one cell's failure does not stop
    the others.
    """
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: nothing would run; give 1 or more")
    wanted = cells(recipes, grid=grid or {}, seeds=seeds, overrides=overrides, smoke=smoke)
    lessons, students = shared_teachers(wanted, runs)
    finished = {recipe.name for recipe in students if _finished(recipe, runs, control)}
    missing = [recipe for recipe in students if recipe.name not in finished]
    say(f"sweep: {len(students)} runs, {len(finished)} done already, {len(missing)} to train")
    needed = {table.trained for recipe in missing for table in recipe.teachers}
    lessons = [
        recipe
        for recipe in lessons
        if any(
            folder in needed and not _taught(folder) for folder in _teacher_folders(recipe, runs)
        )
    ]
    with ThreadPoolExecutor(jobs) as pool:
        taught = list(pool.map(lambda recipe: _train(recipe, "teach", runs, control), lessons))
        broken = [cell for cell in taught if cell.state == "failed"]
        if broken:
            raise UserError(
                f"{broken[0].name}: teachers could not be trained ({broken[0].detail}); mend that"
                " and call the sweep again"
            )
        trained = {
            cell.name: cell
            for cell in pool.map(lambda recipe: _train(recipe, "distill", runs, control), missing)
        }
    return [
        trained.get(recipe.name) or Cell(recipe.name, "done", str(runs / recipe.name))
        for recipe in students
    ]


def cells(
    recipes: Sequence[str],
    *,
    grid: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    overrides: Sequence[str] = (),
    smoke: bool = False,
) -> list[Recipe]:
    """Every combination of recipe, grid value and seed as a recipe of its own, named after what
    sets it apart.
    """
    found: dict[str, Recipe] = {}
    for name, values in itertools.product(recipes, itertools.product(*grid.values())):
        chosen = [f"{key}={value}" for key, value in zip(grid, values, strict=True)]
        base = load_recipe(name, [*overrides, *chosen], smoke=smoke)
        parts = [
            f"{key.rpartition('.')[2]}{value}" for key, value in zip(grid, values, strict=True)
        ]
        for seed in seeds or [base.seed]:
            label = "-".join([base.name, *parts, *([f"s{seed}"] if seeds else [])])
            label = re.sub(r"[^A-Za-z0-9._-]+", "_", label)
            if label in found:
                raise UserError(
                    f"sweep: two runs would be called {label}; give the recipes different names or"
                    " the grid different values"
                )
            found[label] = load_recipe(
                name, [*overrides, *chosen, f"seed={seed}", f'name="{label}"'], smoke=smoke
            )
    return list(found.values())


def shared_teachers(recipes: Sequence[Recipe], runs: Path) -> tuple[list[Recipe], list[Recipe]]:
    """(recipes to teach once, the cells that use those teachers). Teachers keep the seed of the
    first cell that asks.
    """
    lessons: dict[str, Recipe] = {}
    students = []
    for recipe in recipes:
        if all(table.trained for table in recipe.teachers):
            students.append(recipe)
            continue
        document = recipe.to_dict()
        key = sha256_json(
            [
                document[name]
                for name in ("data", "split", "preprocess", "augment", "teach", "teachers")
            ]
        )
        lesson = lessons.setdefault(
            key, from_dict({**document, "name": f"teachers-{key[:10]}"}, recipe.name)
        )
        folders = _teacher_folders(lesson, runs)
        teachers = [
            {**table, "trained": folder}
            for table, folder in zip(document["teachers"], folders, strict=True)
        ]
        students.append(from_dict({**document, "teachers": teachers}, recipe.name))
    return list(lessons.values()), students


def _teacher_folders(lesson: Recipe, runs: Path) -> list[str]:
    return [
        table.trained or str(runs / lesson.name / "teachers" / str(index))
        for index, table in enumerate(lesson.teachers)
    ]


def _taught(folder: str) -> bool:
    return Path(folder, "teacher.json").exists()


def _finished(recipe: Recipe, runs: Path, control: bool) -> bool:
    """The run is whole and is this very recipe's; another recipe's run under this name is the
    user's mistake.
    """
    path = runs / recipe.name / "run.json"
    if not path.exists():
        return False
    info = read_document(path, RunInfo, "run")
    if info.recipe_hash != recipe.hash():
        raise UserError(
            f"{path.parent}: was made by another recipe; choose another --runs folder or remove it"
        )
    return not control or not recipe.teachers or info.control is not None


def _train(recipe: Recipe, command: str, runs: Path, control: bool) -> Cell:
    """One cell in a process of its own, over its standard input: the job as a line, then silence
    until the sweep ends.
    """
    job = {"recipe": recipe.to_dict(), "command": command, "runs": str(runs), "control": control}
    say(f"sweep: {command} {recipe.name}")
    with subprocess.Popen(
        [sys.executable, "-m", "mobilekd.commands.sweep"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        # its standard input stays open meanwhile: that is how it knows that we live
        answer = process.stdout.read().strip()
    if process.returncode == 0:
        return Cell(recipe.name, "trained", str(runs / recipe.name))
    return Cell(recipe.name, "failed", answer or f"ended with code {process.returncode}")


def _work(job: Mapping[str, Any]) -> None:
    """Do one cell; only one process at a time may work on a run's folder."""
    recipe, runs = from_dict(job["recipe"], "sweep"), Path(job["runs"])
    locks = runs / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / recipe.name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{runs / recipe.name}: another process is training it; wait for it, or end it"
            ) from None
        if job["command"] == "teach":
            from mobilekd.commands.teach import teach

            teach(recipe, runs, resume=True)
        else:
            from mobilekd.commands.distill import distill

            distill(recipe, runs, resume=True, control=job["control"])


def _end_with_the_sweep() -> None:
    """Standard input ends when the sweep does, even by kill -9: then end too, so that no orphan
    trains on.
    """
    import os

    sys.stdin.read()
    os._exit(1)


def main() -> int:
    """A cell's process: the job on standard input, a failure's one line on standard output."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    answer, sys.stdout = sys.stdout, sys.stderr
    try:
        _work(job)
    except UserError as error:
        print(error, file=answer, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
