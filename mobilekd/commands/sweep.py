"""``mobilekd sweep``: a list of recipes or a grid, with seeds. Its only state is the run folders.

A recipe that is split into folds (``split.folds``) has a cell for each of them. A cell of the grid
is one run; a finished one is left alone, a started one is gone on with, so a
sweep can be killed and called again at any time. Each cell trains in a process of its own, on this
machine or on a node of a Ray cluster (``mobilekd.sweeps``), which ends when the sweep ends, however
that happens. Teachers that several cells share (same data, views, networks and schedule) are
trained once, before the cells.
"""

import itertools
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from mobilekd.formats.recipe import Recipe, same_but_for_places
from mobilekd.formats.recipe_file import from_dict, load_recipe
from mobilekd.formats.runs import open_run
from mobilekd.formats.teacher import finished_file, taught_before, teacher_folder
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json, sha256_file, sha256_json
from mobilekd.support.lock import Held
from mobilekd.support.progress import prepare_streams, say
from mobilekd.support.refusals import told
from mobilekd.support.words import choices, counted
from mobilekd.sweeps.place import Cell, Place

#: Seconds that a cell whose sweep has ended may take to tidy up.
UNWINDING = 10.0
#: Where cells may run: processes of this machine, nodes of a Ray cluster.
Where = Literal["local", "ray"]


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
        if key.strip() in grid:
            raise UserError(f"--grid {item}: {key.strip()} has values already; name all at once")
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
    jobs: int | None = None,
    control: bool = True,
    on: Where = "local",
    per_gpu: int | None = None,
    address: str | None = None,
    cpus: int | None = None,
) -> list[Cell]:
    """Train every cell that is not there yet; one cell's failure does not stop the others.

    Args:
        recipes: shipped names or TOML files.
        grid: values by key.
        seeds: each combination runs with each of them; none: with the recipe's own.
        overrides: ``KEY=VALUE`` of every recipe.
        smoke: whether to run the recipes' reductions.
        runs: the folder of the runs.
        jobs: runs at once; by default 1 on this machine, on Ray as many as have room.
        control: whether each student's control is trained.
        on: where cells run: processes of this machine, or nodes of a Ray cluster.
        per_gpu: runs at once on each GPU, instead of ``jobs``; without a GPU it is ``jobs``.
        address: of the Ray cluster: auto (the default), local or HOST:PORT.
        cpus: cores that a run asks Ray for; by default 1.
    """
    _check_numbers(jobs=jobs, per_gpu=per_gpu, cpus=cpus)
    if on not in get_args(Where):
        raise UserError(f"on {on}: {choices(on, get_args(Where))}")
    if on == "local" and (address or cpus):
        raise UserError(
            f"--{'address' if address else 'cpus'}: only a Ray cluster has that; add --on ray"
        )
    wanted = cells(recipes, grid=grid or {}, seeds=seeds, overrides=overrides, smoke=smoke)
    teachings, students = shared_teachers(wanted, runs)
    finished = {recipe.name for recipe in students if _finished(recipe, runs, control)}
    missing = [recipe for recipe in students if recipe.name not in finished]
    count = counted(len(students), "run")
    say(f"sweep: {count}, {len(finished)} done already, {len(missing)} to train")
    needed = {table.trained for recipe in missing for table in recipe.teachers}
    teachings = [
        recipe
        for recipe in teachings
        if any(
            folder in needed and not _taught(folder) for folder in _teacher_folders(recipe, runs)
        )
    ]
    trained: dict[str, Cell] = {}
    if missing:
        place: Place
        if on == "ray":
            from mobilekd.sweeps.ray_cluster import RayCluster

            place = RayCluster(
                runs, control, address=address or "auto", jobs=jobs, per_gpu=per_gpu, cpus=cpus or 1
            )
        else:
            from mobilekd.sweeps.processes import Processes

            place = Processes(runs, control, jobs, per_gpu)
        with place as running:
            running.check([*teachings, *missing])
            taught = running.train("teach", teachings)
            broken = [cell for cell in taught if cell.state in ("refused", "failed")]
            if broken:
                raise UserError(
                    f"{broken[0].name}: teachers could not be trained ({broken[0].detail}); mend"
                    " that and call the sweep again"
                )
            trained = {cell.name: cell for cell in running.train("distill", missing)}
    return [
        trained.get(recipe.name) or Cell(recipe.name, "done", str(runs / recipe.name))
        for recipe in students
    ]


def _check_numbers(**given: int | None) -> None:
    """Numbers of runs and cores are 1 or more, and one option says how many go at once."""
    for name, number in given.items():
        if number is not None and number < 1:
            raise UserError(
                f"--{name.replace('_', '-')} {number}: nothing would run; give 1 or more"
            )
    if given["jobs"] and given["per_gpu"]:
        raise UserError("--jobs and --per-gpu: both say how many runs go at once; keep one")


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
    by_name: dict[str, Recipe] = {}
    wanted = [
        (name, table, values)
        for name in recipes
        for table in (_with_folds(name, grid, overrides, smoke),)
        for values in itertools.product(*table.values())
    ]
    for name, table, values in wanted:
        chosen = [f"{key}={value}" for key, value in zip(table, values, strict=True)]
        base = load_recipe(name, [*overrides, *chosen], smoke=smoke)
        parts = [
            f"{key.rpartition('.')[2]}{value}" for key, value in zip(table, values, strict=True)
        ]
        for seed in seeds or [base.seed]:
            label = "-".join([base.name, *parts, *([f"s{seed}"] if seeds else [])])
            label = re.sub(r"[^A-Za-z0-9._-]+", "_", label)
            if label in by_name:
                raise UserError(
                    f"sweep: two runs would be called {label}; give the recipes different names or"
                    " the grid different values"
                )
            by_name[label] = load_recipe(
                name, [*overrides, *chosen, f"seed={seed}", f'name="{label}"'], smoke=smoke
            )
    return list(by_name.values())


def _with_folds(
    name: str, grid: Mapping[str, Sequence[str]], overrides: Sequence[str], smoke: bool
) -> Mapping[str, Sequence[str]]:
    """The grid with all folds of the recipe, unless it or an override says which."""
    told = {override.partition("=")[0].strip() for override in overrides} | grid.keys()
    first = [f"split.folds={value}" for value in grid.get("split.folds", ())[:1]]
    folds = load_recipe(name, [*overrides, *first], smoke=smoke).split.folds
    if not folds or "split.fold" in told:
        return grid
    if len(grid.get("split.folds", ())) > 1:
        raise UserError("sweep: several numbers of folds; sweep them one after the other")
    return {**grid, "split.fold": [str(fold) for fold in range(folds)]}


def shared_teachers(recipes: Sequence[Recipe], runs: Path) -> tuple[list[Recipe], list[Recipe]]:
    """(recipes to teach once, the cells that use those teachers). Teachers keep the seed of the
    first cell that asks.
    """
    teachings: dict[str, Recipe] = {}
    students = []
    for recipe in recipes:
        if all(taught_before(table) for table in recipe.teachers):
            students.append(recipe)
            continue
        if begun := _teachers_of_the_run(recipe, runs):
            students.append(begun)
            continue
        document = recipe.to_dict()
        keys = ("data", "split", "preprocess", "augment", "teach", "teachers")
        shaped = [*(document[key] for key in keys), *_weights_files(recipe)]
        name = f"teachers-{sha256_json(shaped)[:10]}"
        teaching = teachings.setdefault(name, from_dict({**document, "name": name}, recipe.name))
        folders = _teacher_folders(teaching, runs)
        teachers = [
            {**table, "trained": folder}
            for table, folder in zip(document["teachers"], folders, strict=True)
        ]
        students.append(from_dict({**document, "teachers": teachers}, recipe.name))
    return list(teachings.values()), students


def _weights_files(recipe: Recipe) -> list[str]:
    """Hashes of the files that teachers begin from or are: a file with other content is another
    teacher, under whatever path.
    """
    files = (finished_file(table) or Path(table.weights or "") for table in recipe.teachers)
    return [sha256_file(file) for file in files if file.is_file()]


def _teachers_of_the_run(recipe: Recipe, runs: Path) -> Recipe | None:
    """The cell with the teachers that its own run, finished or begun, already uses; None where it
    has none. Where its photographs lay then makes no difference.
    """
    path = runs / recipe.name / "recipe.json"
    if not path.exists():
        return None
    begun = from_dict(read_json(path, "recipe"), str(path))
    if not same_but_for_places(begun, recipe):
        return None
    if not all(table.trained and _taught(table.trained) for table in begun.teachers):
        return None
    return recipe.model_copy(update={"teachers": begun.teachers})


def _teacher_folders(teaching: Recipe, runs: Path) -> list[str]:
    return [
        str(teacher_folder(table, runs / teaching.name, index))
        for index, table in enumerate(teaching.teachers)
    ]


def _taught(folder: str) -> bool:
    return Path(folder, "teacher.json").exists()


def _finished(recipe: Recipe, runs: Path, control: bool) -> bool:
    """The run is whole and is this very recipe's; another recipe's run under this name is the
    user's mistake.

    Where only the places of files differ, ``distill`` compares their content.
    """
    folder = runs / recipe.name
    if not (folder / "run.json").exists():
        return False
    run = open_run(folder)
    if run.info.recipe_hash != recipe.hash():
        if not same_but_for_places(run.recipe, recipe):
            raise UserError(
                f"{folder}: was made by another recipe; choose another --runs folder or remove it"
            )
        return False
    return not control or not recipe.teachers or run.info.control is not None


def _work(job: Mapping[str, Any]) -> None:
    """Do one cell; a folder that another command holds is waited for as long as the job says."""
    deadline = time.monotonic() + job["patience"]
    while True:
        try:
            return _train(job)
        except Held:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _train(job: Mapping[str, Any]) -> None:
    recipe, runs = from_dict(job["recipe"], "sweep"), Path(job["runs"])
    if job["command"] == "teach":
        from mobilekd.commands.teach import teach

        teach(recipe, runs, resume=True)
    else:
        from mobilekd.commands.distill import distill

        distill(recipe, runs, resume=True, control=job["control"])


def _end_with_the_sweep() -> None:
    """Standard input ends when the sweep does, even by kill -9: then end too, so that no orphan
    trains on, and unwind before, so that no lock stays.
    """
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(UNWINDING)
    os._exit(1)


def main() -> int:
    """A cell's process: the job on standard input, a failure's one line on standard output."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds: nothing half stays
    job = json.loads(sys.stdin.readline())
    sys.argv[1:] = job["argv"]  # what runs remember of how they were made
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    prepare_streams()
    answer, sys.stdout = sys.stdout, sys.stderr
    try:
        _work(job)
    except Exception as error:
        line, code = told(error, "sweep")
        print(line, file=answer, flush=True)
        return code
    finally:  # it ends now by itself; unwinding while Python shuts down would print a traceback
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return 0


if __name__ == "__main__":
    sys.exit(main())
