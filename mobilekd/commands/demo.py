"""``mobilekd demo``: the whole flow on generated photographs, each step the function of the same
name, in the order of use.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mobilekd.commands.bench import bench
from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.export import export
from mobilekd.commands.report import report
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.support.errors import UserError
from mobilekd.support.files import check_writable, write_text
from mobilekd.support.progress import say

#: Says that a folder is a demo's, so that the next demo may empty it.
MARK = ".mobilekd-demo"


def demo(output: Path = Path("demo"), *, smoke: bool = False) -> Path:
    """Teach a teacher, distil a student and its control, evaluate, export in fp32 and int8,
    measure, report.

    Returns the report's path. ``output`` is new, empty, or an earlier demo's, which is replaced.
    """
    recipe = load_recipe("demo", smoke=smoke)
    check_writable(output, folder=True)
    _empty(output)
    # both load torch, so not before the folder is known to be free
    from mobilekd.commands.distill import distill
    from mobilekd.commands.teach import teach

    runs = output / "runs"

    with _step("teaching a teacher on the few photographs that have labels"):
        teach(recipe, runs)
    with _step("distilling a student from its answers, and its control without a teacher"):
        run = distill(recipe, runs)
    students = [run.folder, *([runs / run.info.control] if run.info.control else [])]
    with _step("evaluating both on the test split"):
        for folder in students:
            evaluate(folder, runs=runs)
    with _step("exporting for XNNPACK in fp32 and int8, with parity"):
        artifacts = [
            export(
                run.folder,
                backend="xnnpack",
                precision=precision,
                output=output / "artifacts" / f"{run.info.name}-xnnpack-{precision}",
            )
            for precision in ("fp32", "int8")
        ]
    with _step("measuring both on this machine"):
        results = output / "results"
        bench(
            [artifact.folder for artifact in artifacts], device="host", samples=100, output=results
        )
    with _step("writing the report"):
        return report(
            [*students, *(artifact.folder for artifact in artifacts), results],
            output / "report.html",
        )


def _empty(output: Path) -> None:
    """Start from nothing, and never remove what a demo did not make."""
    if (output / MARK).exists():
        shutil.rmtree(output)
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: exists and is not an earlier demo; choose another --output")
    write_text(
        output / MARK, "made by mobilekd demo, which replaces this folder when it runs again\n"
    )


@contextmanager
def _step(what: str) -> Iterator[None]:
    say(f"demo: {what}")
    start = time.monotonic()
    yield
    say(f"demo: {what}: {time.monotonic() - start:.0f} s")
