"""``mobilekd design``: a student for a latency on this machine, from budget to recipe.

A table of measured operators (made once) predicts every candidate of a family; the most promising
are lowered with random weights and measured as whole files; those within the budget are ranked; a
recipe for the first is written.
"""

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilekd.commands.distill import distill
from mobilekd.data import check_place
from mobilekd.designing import table as tables
from mobilekd.designing.costs import Costs
from mobilekd.designing.families import ADAPTATIONS, SIDES, check_family, members
from mobilekd.designing.files import PRECISIONS
from mobilekd.designing.proposal import recipe_text
from mobilekd.designing.ranking import GUESS, accuracy, by_size, short_recipe
from mobilekd.designing.search import Found, search
from mobilekd.formats.measurement import thread_words
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.teacher import taught_before
from mobilekd.runners import check as check_device
from mobilekd.runners.host import HostRunner
from mobilekd.runners.native import build as native
from mobilekd.support.errors import UserError
from mobilekd.support.files import check_writable, write_text
from mobilekd.support.progress import say
from mobilekd.support.words import counted, unknown
from mobilekd.training.first_checks import check_recipe

#: The most files that one call measures, and epochs of a short training, unless told otherwise.
MOST_CANDIDATES, EPOCHS = 16, 3
#: Latencies in milliseconds that make sense to ask for.
LEAST_MS, MOST_MS = 0.001, 10_000.0


@dataclass(frozen=True)
class Proposal:
    """A student that was measured as a whole file of random weights."""

    student: str
    model: str
    width: float
    adapt: tuple[str, ...]
    side: int
    parameters: int
    macs: int
    predicted_ms: float  # from the table of operators
    measured_ms: float  # of the fastest process
    median_ms: float  # of the middle process
    share: float  # measured, of the budget
    meets: bool
    doubt: str
    balanced_accuracy: float | None = None  # on validation, after the short training


@dataclass(frozen=True)
class PredictionError:
    """What the table's predictions were worth, against whole files of any student measured with
    it: the relative error's median and the worst, without its sign.
    """

    files: int
    median: float
    worst: float


@dataclass(frozen=True)
class Design:
    """What ``design`` found; ``proposals`` begins with the one that the recipe is for."""

    budget_ms: float
    device: str
    precision: str
    threads: int
    considered: int
    proposals: tuple[Proposal, ...]
    error: PredictionError
    ranked_by: str
    doubts: tuple[str, ...]
    table: Path
    recipe: Path
    next: tuple[str, ...]


def design(
    latency: float,
    *,
    device: str = "host",
    precision: str = "fp32",
    student: str = "lesionnet",
    threads: int = 1,
    candidates: int = 4,
    sides: Sequence[int] = SIDES,
    base: str | None = None,
    epochs: int = EPOCHS,
    table: Path | None = None,
    output: Path | None = None,
    runs: Path = Path("runs"),
) -> Design:
    """Propose students that answer within ``latency`` milliseconds, and write a recipe for the
    best.

    Args:
        latency: the budget in milliseconds for one inference of the whole file.
        device: ``host``; no other device's operators are measured so far.
        precision: ``fp32`` or ``int8``, by XNNPACK.
        student: a family: ``lesionnet``, a MobileNet, or an own function that takes a width.
        threads: threads of the runtime.
        candidates: how many depths and input sizes are measured, and trained where ``base`` is
            given.
        sides: square input sizes that are tried, in pixels.
        base: a recipe, whose photographs are at hand: every proposal within the budget is trained
            for ``epochs`` under it, and validation ranks them. None ranks by multiply-adds.
        epochs: of that short training.
        table: file of the measured operators; made where it is missing. Default: the user's cache.
        output: the recipe's file; one that exists is not overwritten.
        runs: folder of runs, for the short trainings and the base's teachers.

    Raises:
        UserError: for wrong arguments, and for a budget that no candidate meets; it names the
            fastest.
    """
    output = output or Path(_file_name(student, latency, precision))
    _check(latency, device, precision, threads, candidates, sides, epochs, base, table, output)
    below = base or ("ham10000-lesionnet" if student == "lesionnet" else "ham10000")
    start = _base(below, student)
    if base is not None:
        check_place(start.data)
        check_recipe(start, runs)
    setup, load = _setup(precision, threads)
    kept = table or tables.place(setup)
    measured = _table(kept, setup, load)
    costs = Costs.fit(measured.chains)
    wanted = members(start.student, sides)
    names = {one.name for one in wanted}
    known = [row for row in measured.networks if row.name in names]
    found = search(wanted, costs, latency, candidates, known, precision, threads)
    measured = measured.with_networks([one.row for one in found])
    tables.write(kept, measured)
    within = [one for one in found if one.measured_ms <= latency]
    if not within:
        fastest = min(found, key=lambda one: one.measured_ms)
        raise UserError(
            f"--latency {latency:g}: no {student} here is as fast; the fastest is"
            f" {fastest.candidate.name} with {fastest.measured_ms:.3f} ms in {precision} on"
            f" {thread_words(threads)}: ask for that or more, or for --precision int8"
        )
    scores: dict[str, float] = {}
    if base is not None:
        for one in within:
            recipe = short_recipe(start, runs, one.candidate, epochs)
            scores[one.candidate.name] = accuracy(distill(recipe, runs, resume=True, control=False))
        within.sort(key=lambda one: -scores[one.candidate.name])
        why = (
            f"balanced accuracy on validation after {counted(epochs, 'epoch')} of {below}, one seed"
        )
    else:
        within = by_size(within, latency)
        why = GUESS
    best, rest = within[0], [one for one in found if one not in within]
    short = why.partition(";")[0]
    text = recipe_text(best.candidate, below, output, precision, best.measured_ms, short)
    write_text(output, text)
    proposals = [_proposal(one, latency, scores) for one in (*within, *rest)]
    errors = np.abs(costs.errors(measured.networks))
    return Design(
        budget_ms=latency,
        device=setup.device,
        precision=precision,
        threads=threads,
        considered=len(wanted),
        proposals=tuple(proposals),
        error=PredictionError(len(errors), float(np.median(errors)), float(errors.max())),
        ranked_by=why,
        doubts=_doubts(measured, load, proposals),
        table=kept,
        recipe=output,
        next=_next(load_recipe(str(output)), output),
    )


def _check(
    latency: float,
    device: str,
    precision: str,
    threads: int,
    count: int,
    sides: Sequence[int],
    epochs: int,
    base: str | None,
    table: Path | None,
    output: Path,
) -> None:
    if not LEAST_MS <= latency <= MOST_MS:  # not a number is refused, too
        raise UserError(
            f"--latency {latency:g}: milliseconds lie between {LEAST_MS:g} and {MOST_MS:g}; for"
            " example --latency 0.2"
        )
    check_device(device)
    if device != "host":
        raise UserError(
            f"--device {device}: operators are measured on this machine alone so far; use --device"
            " host, export the student, and measure it there with mobilekd bench"
        )
    if precision not in PRECISIONS:
        raise UserError(unknown(f"--precision {precision}", precision, PRECISIONS))
    if not 1 <= threads <= 64:
        raise UserError(f"--threads {threads}: thread counts lie between 1 and 64")
    if not 1 <= count <= MOST_CANDIDATES:
        raise UserError(f"--candidates {count}: from 1 to {MOST_CANDIDATES} are measured")
    if not sides or not all(32 <= side <= 512 and side % 32 == 0 for side in sides):
        raise UserError(
            f"--sides {','.join(map(str, sides))}: multiples of 32 from 32 to 512, because the"
            " networks halve the picture five times"
        )
    if epochs < 1:
        raise UserError(f"--epochs {epochs}: a short training has 1 or more")
    if output.exists():
        raise UserError(f"{output}: exists already; remove it or choose another --output")
    check_writable(output)
    if table is not None and not table.exists():
        check_writable(table, "--table")
    if base is None and epochs != EPOCHS:
        raise UserError(
            f"--epochs {epochs}: nothing is trained without --base; name a recipe whose photographs"
            " are at hand, or leave --epochs out"
        )


def _base(below: str, student: str) -> Recipe:
    """The base recipe, with the family's student in it where its own is another."""
    start = load_recipe(below)
    if start.student.model != student:
        adapt = json.dumps(list(ADAPTATIONS.get(student, ())))
        other = [f'student.model="{student}"', f"student.adapt={adapt}", "student.options={}"]
        start = load_recipe(below, [*other, 'student.weights=""'])
    check_family(start.student)
    return start


def _setup(precision: str, threads: int) -> tuple[tables.Setup, float | None]:
    """What the latencies here hang on, and how busy the machine is now."""
    runner = HostRunner()
    about, now = runner.describe(), runner.conditions()
    setup = tables.Setup(
        device=about.id,
        processor=about.soc,
        runtime=native.executorch_version(),
        precision=precision,
        threads=threads,
    )
    return setup, now.load


def _table(path: Path, setup: tables.Setup, load: float | None) -> tables.Table:
    """The kept table, else a new one, kept at once: it costs minutes."""
    if path.exists():
        return tables.read(path, setup)
    made = tables.measured(setup, load)
    tables.write(path, made)
    say(f"design: {path}")
    return made


def _doubts(
    table: tables.Table, load: float | None, proposals: Sequence[Proposal]
) -> tuple[str, ...]:
    """Why the latencies may be others on a quiet machine."""
    cores = os.cpu_count() or 1
    busy = load is not None and load > cores
    said = [
        f"the machine was busy before it began (load {load:.1f} on {cores} cores)" if busy else "",
        f"the table of operators: {table.doubt}" if table.doubt else "",
        *(f"{one.student}: {one.doubt}" for one in proposals if one.doubt),
    ]
    return tuple(text for text in said if text)


def _proposal(found: Found, budget: float, scores: Mapping[str, float]) -> Proposal:
    one = found.candidate
    return Proposal(
        student=one.name,
        model=one.student.model,
        width=one.student.width,
        adapt=one.student.adapt,
        side=one.side,
        parameters=one.parameters,
        macs=one.macs,
        predicted_ms=found.predicted_ms,
        measured_ms=found.measured_ms,
        median_ms=found.latency.median_ms,
        share=found.measured_ms / budget,
        meets=found.measured_ms <= budget,
        doubt=found.latency.doubt,
        balanced_accuracy=scores.get(one.name),
    )


def _file_name(student: str, latency: float, precision: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", student.rpartition("/")[2])
    return f"{name}-{latency:g}ms-{precision}.toml"


def _next(recipe: Recipe, output: Path) -> tuple[str, ...]:
    """The commands that train what was proposed."""
    place = shlex.quote(str(output))
    untaught = any(not taught_before(table) for table in recipe.teachers)
    teach = (f"mobilekd teach {place}",) if untaught else ()
    return (*teach, f"mobilekd distill {place}")
