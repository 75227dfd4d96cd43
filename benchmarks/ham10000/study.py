r"""Train all that ``benchmarks/results/ham10000`` reports: teachers, controls and students of a
plan, several at a time.

    python benchmarks/ham10000/study.py benchmarks/ham10000/study.toml --jobs 12 \
        --set data.root=HAM10000_FOLDER

A plan is a list of ``[[job]]``: ``name`` (of the run), ``do`` (teach, control, distill),
``recipe``, ``set`` (overrides, or names of lists of them under ``[sets]``), ``after``, the jobs
that must be finished first, ``control``, the job that it stands beside, which students may share,
and ``seeds``: 0 keeps the job's name, every other is a job of its own (NAME-s1,
NAME-s1-control) beside its own control. What is finished is left alone, what was stopped
(``--minutes``) goes on from its checkpoint.
"""

import argparse
import os
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.runs import open_run, write_run_info
from mobilekd.metrics.entries import PACE
from mobilekd.support.errors import UserError


@dataclass(frozen=True)
class Job:
    """One run of the plan, in a process of its own."""

    name: str
    do: str
    recipe: str
    set: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    control: str | None = None

    def done(self, runs: Path) -> bool:
        """Whether its run is whole."""
        return (
            runs / self.name / ("teachers/0/teacher.json" if self.do == "teach" else "run.json")
        ).exists()

    def work(self, runs: Path, overrides: list[str]) -> None:
        """Train it, or go on with it."""
        from mobilekd.commands.distill import control_of, distill
        from mobilekd.commands.teach import teach

        name = self.name.removesuffix("-control") if self.do == "control" else self.name
        recipe = load_recipe(self.recipe, [*overrides, *self.set, f'name="{name}"'])
        if self.do == "teach":
            teach(recipe, runs, resume=True)
        elif self.do == "control":
            distill(control_of(recipe), runs, resume=True, control=False)
        else:
            distill(recipe, runs, resume=True, control=False)

    def name_control(self, runs: Path) -> None:
        """Write into a finished student's run which control it stands beside."""
        from mobilekd.commands.distill import control_of

        run, beside = open_run(runs / self.name), open_run(runs / str(self.control))
        if _training(beside.recipe) != _training(control_of(run.recipe)):
            raise SystemExit(
                f"{beside.folder}: no control of {self.name}, its recipe differs in more than"
                " teachers and losses"
            )
        write_run_info(run.folder, run.info.model_copy(update={"control": self.control}))


def _training(recipe: Recipe) -> dict[str, object]:
    """What a control learns from; not how fast it was computed."""
    document = recipe.to_dict()
    document["train"] = {key: value for key, value in document["train"].items() if key not in PACE}
    return {
        key: value
        for key, value in document.items()
        if key not in ("name", "title", "cost", "teach")
    }


def read_plan(path: Path) -> list[Job]:
    """The plan's jobs; one that waits for an unknown or later job would never start."""
    jobs: list[Job] = []
    plan = tomllib.loads(path.read_text(encoding="utf-8"))
    sets = plan.get("sets", {})
    for entry in plan["job"]:
        chosen = [override for item in entry.pop("set", ()) for override in sets.get(item, [item])]
        seeds = entry.pop("seeds", [0])
        job = Job(**{**entry, "set": tuple(chosen), "after": tuple(entry.get("after", ()))})
        jobs += [_seeded(job, seed) for seed in seeds]
    if len({job.name for job in jobs}) < len(jobs):
        raise SystemExit(f"{path}: two jobs have one name")
    for index, job in enumerate(jobs):
        unknown = {*job.after, *([job.control] if job.control else [])} - {
            earlier.name for earlier in jobs[:index]
        }
        if unknown:
            raise SystemExit(
                f"{path}: {job.name} needs {', '.join(sorted(unknown))}, which no earlier job is"
                " called"
            )
    return jobs


def _seeded(job: Job, seed: int) -> Job:
    """The job with a seed of its own, beside the control of that seed."""
    if not seed:
        return replace(job, set=(*job.set, "seed=0"))

    def named(name: str) -> str:
        student = name.removesuffix("-control")
        return f"{student}-s{seed}{name.removeprefix(student)}"

    return replace(
        job,
        name=named(job.name),
        set=(*job.set, f"seed={seed}"),
        control=job.control and named(job.control),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop then; call again to go on")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="for every job",
    )
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    plan = read_plan(options.plan)
    if options.job:
        try:
            next(job for job in plan if job.name == options.job).work(
                options.runs, options.overrides
            )
        except UserError as error:
            raise SystemExit(str(error)) from None
        return
    began = time.monotonic()
    (options.runs / "logs").mkdir(parents=True, exist_ok=True)
    waiting = [job for job in plan if not job.done(options.runs)]
    working: dict[str, tuple[Job, subprocess.Popen[bytes]]] = {}
    failed: list[str] = []
    while (waiting or working) and time.monotonic() - began < 60 * options.minutes:
        for name, (job, process) in list(working.items()):
            if process.poll() is not None:
                del working[name]
                whole = job.done(options.runs)
                failed += [] if whole else [name]
                print(
                    f"{time.monotonic() - began:6.0f} s  {name}:"
                    f" {'finished' if whole else 'FAILED, see its log'}",
                    flush=True,
                )
        ready = [
            job
            for job in waiting
            if all(other.done(options.runs) for other in plan if other.name in job.after)
        ]
        if ready and len(working) < options.jobs:
            job = ready[0]
            waiting.remove(job)
            command = [
                sys.executable,
                __file__,
                str(options.plan),
                "--job",
                job.name,
                "--runs",
                str(options.runs),
            ]
            command += [part for override in options.overrides for part in ("--set", override)]
            with (options.runs / "logs" / f"{job.name}.log").open("ab") as log:
                working[job.name] = (
                    job,
                    subprocess.Popen(
                        command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
                    ),
                )
            print(f"{time.monotonic() - began:6.0f} s  {job.name}: started", flush=True)
        elif not ready and not working:
            break  # what is left waits for a job that failed
        else:
            time.sleep(0.2)
    for _, process in working.values():
        process.kill()
    for job in plan:
        if (
            job.control
            and job.done(options.runs)
            and (options.runs / job.control / "run.json").exists()
        ):
            job.name_control(options.runs)
    stopped = [*working, *(job.name for job in waiting)]
    print(
        f"{len(plan) - len(stopped) - len(failed)} of {len(plan)} finished; failed: {failed}; not"
        f" finished: {stopped}"
    )


if __name__ == "__main__":
    main()
