"""``mobilekd compare``: students beside their controls and teachers, on the same photographs, with
paired intervals.

What is compared comes from each run's ``predictions.csv``; a run that was not evaluated yet is
evaluated first, and a control that the runs name joins by itself.
"""

from collections.abc import Sequence
from pathlib import Path

from mobilekd.commands.evaluate import evaluate
from mobilekd.figures.comparison import charts, markdown
from mobilekd.formats.comparison import Comparison
from mobilekd.formats.runs import Run, open_run
from mobilekd.metrics.entries import judged_together, read_entry
from mobilekd.metrics.paired import compare_entries
from mobilekd.support.errors import UserError
from mobilekd.support.files import check_replaced, new_folder, write_json, write_text
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.support.text import listed


def compare(
    names: Sequence[str | Path], *, output: Path | None = None, runs: Path = Path("runs")
) -> Comparison:
    """Compare runs by name, folder or ``reference:NAME``; with ``output`` also write
    comparison.json, .md and .svg there.

    Runs that differ in their seed alone are pooled and shown one by one. All must share one split
    (``UserError``), or be the folds of one data set: then all folds of each recipe are needed, and
    their answers are pooled, so that every lesion is judged once.
    """
    if output is not None:
        check_replaced(output, "comparison.json")
    opened = _with_controls([open_run(name, runs) for name in names], runs)
    _check_one_split(opened)
    for run in opened:
        if not (run.evaluation_folder / "predictions.csv").exists():
            say(f"compare: evaluating {run.info.name} first")
            evaluate(f"reference:{run.folder.name}" if run.reference else run.folder, runs=runs)
    comparison = compare_entries([read_entry(run) for run in opened]).model_copy(
        update={"created_utc": utc_now(), "commit": commit(), "versions": versions()}
    )
    if output is not None:
        with new_folder(output, replace=True) as folder:
            write_text(folder / "comparison.md", markdown(comparison))
            for name, chart in charts(comparison).items():
                write_text(folder / f"{name}.svg", chart.svg(alone=True))
            write_json(folder / "comparison.json", comparison.model_dump(mode="json"))
    return comparison


def _with_controls(opened: list[Run], runs: Path) -> list[Run]:
    """``opened`` without repeats, and the controls that they name where those are finished, beside
    their students or in ``runs``; one that is nowhere is said.
    """
    by_name: dict[str, Run] = {}
    for run in opened:
        other = by_name.setdefault(run.info.name, run)
        if other.folder.resolve() != run.folder.resolve():
            raise UserError(
                f"compare: {other.folder} and {run.folder} are both called {run.info.name}; give"
                " one of them, or runs of other names"
            )
    alone = []
    for run in list(by_name.values()):
        control = run.info.control
        if not control or control in by_name:
            continue
        places = [run.folder.parent / control, runs / control]
        finished = [place for place in places if (place / "run.json").exists()]
        if finished:
            by_name[control] = open_run(finished[0])
        else:
            alone.append(run.info.name)
    if alone:
        say(
            f"compare: {len(alone)} without their control, which is not beside them or in {runs}:"
            f" {listed(alone)}"
        )
    return list(by_name.values())


def _check_one_split(opened: Sequence[Run]) -> None:
    """Before minutes are spent on evaluating what cannot be compared."""
    for run in opened[1:]:
        if judged_together(run) != judged_together(opened[0]):
            raise UserError(
                f"compare: {run.info.name} has another split ({run.info.split_hash[:12]}) than"
                f" {opened[0].info.name} ({opened[0].info.split_hash[:12]}); compare runs of one"
                " split only"
            )
