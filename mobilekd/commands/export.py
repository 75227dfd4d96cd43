"""``export``: one student in, one accepted artifact out, or a refusal that names the gate and
leaves nothing behind.
"""

from collections.abc import Sequence
from pathlib import Path

from mobilekd.backends import get
from mobilekd.data.photographs import root_of
from mobilekd.formats.artifact import ARTIFACTS, Artifact
from mobilekd.formats.guard import GUARD
from mobilekd.formats.runs import Run, newest_run, open_run, reading, write_run_info
from mobilekd.lowering.request import check_output, check_words, overridden
from mobilekd.support.errors import GateError, UserError
from mobilekd.support.files import write_json
from mobilekd.support.lock import locked
from mobilekd.support.progress import say


def export(
    run: str | Path | None = None,
    *,
    backend: str = "xnnpack",
    precision: str = "fp32",
    soc: str | None = None,
    output: Path | None = None,
    runs: Path = Path("runs"),
    cam: bool = False,
    guard: bool = False,
    guard_photographs: Path | None = None,
    verify: Sequence[str] = (),
    overrides: Sequence[str] = (),
    keep_refused: bool = False,
    retry: bool = True,
) -> Artifact:
    """Lower a run's student, prove the file, write the artifact folder.

    ``run`` is a name, a folder or ``reference:NAME``; None takes the newest run, else the default
    reference. ``soc`` is the phone's chip, where the backend compiles for one. ``guard`` fits one
    on the run's own photographs where it has none, and keeps it in the run; ``UserError`` without
    the photographs, and for a reference without one. The guard of the first references was added
    later, so it is in their files only where ``guard`` asks for it. ``guard_photographs`` is a
    folder of more than a hundred photographs of a clinic, without labels, that the guard is to know
    besides those of training. ``verify`` may hold ``arm`` (the golden set on emulated Arm
    processors). ``overrides`` change the recipe
    (``gates.agreement=0.97``). Raises ``GateError`` when a gate fails; then nothing is left behind,
    unless ``keep_refused`` asks for it, in ``refused/NAME-BACKEND-PRECISION``.

    int8 whose decisions are refused is tried again: trained with its rounding, then mixed with
    floating point, unless ``retry`` is False. The artifact says which precision it has.
    """
    lowering = check_words(backend, precision, verify, soc)
    chosen = newest_run(runs) if run is None else open_run(run, runs)
    overridden(chosen, overrides)

    def name(precision: str) -> str:
        chip = "" if lowering.soc is None else f"-{lowering.soc}"
        return f"{chosen.info.name}-{backend}-{precision}{chip}"

    check_output(output or ARTIFACTS / name(precision), chosen, lowering, precision)
    if guard_photographs is not None:
        root_of(str(guard_photographs), "unlabelled", "give a folder of photographs")
    if guard or guard_photographs is not None:
        chosen = _guarded(chosen, overrides)

    def lower(precision: str) -> Artifact:
        from mobilekd.lowering.pipeline import (
            lower_run,  # loads torch, so not before all is checked
        )

        say(
            f"export: {'reference:' if chosen.reference else ''}{chosen.info.name} -> {backend},"
            f" {precision}" + (f", for {lowering.soc} alone" if lowering.soc else "")
        )
        return lower_run(
            chosen,
            backend,
            precision,
            output or ARTIFACTS / name(precision),
            soc=soc,
            cam=cam,
            guard=guard,
            guard_photographs=guard_photographs,
            verify=verify,
            overrides=overrides,
            refused=Path("refused") / name(precision) if keep_refused else None,
            retry=retry,
        )[0]

    with reading(chosen, f"export {chosen.info.name}"):
        try:
            return lower(precision)
        except GateError as refusal:
            mixes = precision == "int8" and "mixed" in get(backend).precisions
            if not (retry and refusal.by_decisions and mixes):
                raise
            say(
                f"export: {refusal}"
                "; looking for the fewest layers to leave in floating point, on validation"
            )
        mixed = lower("mixed")
        say(f"export: int8 was refused; {mixed.folder} is mixed precision")
        return mixed


def _guarded(run: Run, overrides: Sequence[str]) -> Run:
    """The run with a guard; fitted now where it has none."""
    if run.guard is not None:
        return run
    if run.reference:
        raise UserError(
            f"reference:{run.info.name}: a shipped reference is as it is; leave --guard out, or"
            " distil a run of your own"
        )
    from mobilekd.inference.evaluation_set import open_evaluation_set
    from mobilekd.inference.guard import guard_for
    from mobilekd.students import load

    with locked(run.folder, f"export {run.info.name}"):
        recipe = overridden(run, overrides)
        photographs = open_evaluation_set(
            recipe, run.info.labels, run.split, run.info.split_hash, roles=("train", "validation")
        )
        fitted = guard_for(
            load(run),
            photographs.preprocess,
            photographs.training(),
            photographs.validation().inputs,
        )
        if fitted is None:
            raise UserError(f"{run.folder}: this student can have no guard; leave --guard out")
        write_json(run.folder / GUARD, fitted.model_dump(mode="json"))
        write_run_info(run.folder, run.info)
    return open_run(run.folder)
