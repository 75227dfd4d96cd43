"""The way of one student into one accepted artifact: quantise, lower, prove, write; a refusal
names the gate and leaves nothing behind.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilekd.backends import Backend
from mobilekd.formats import golden
from mobilekd.formats.artifact import (
    Artifact,
    open_artifact,
)
from mobilekd.formats.gates import NOT_DECIDED, open_rows
from mobilekd.formats.guard import OUTPUT, Guard
from mobilekd.formats.parity_names import GateId, Part, StageId, StageName
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import Run
from mobilekd.inference.evaluation_set import EvaluationSet, open_evaluation_set
from mobilekd.lowering import model_card, quantize
from mobilekd.lowering.artifact_folder import travelling, write_artifact
from mobilekd.lowering.record import RecordedExport, record_key, recorded, recorded_results
from mobilekd.lowering.request import check_words, overridden, same_export
from mobilekd.support.errors import GateError, UserError
from mobilekd.support.files import new_folder, write_json
from mobilekd.support.progress import say
from mobilekd.support.words import counted

if TYPE_CHECKING:
    from mobilekd.lowering.exported import Export, ParityReport
    from mobilekd.lowering.prepare import BackendInput

#: Stored weights with which a Core ML file holds one output only.
ONE_OUTPUT = ("int8", "palette")


def lower_run(
    run: Run,
    backend: str,
    precision: str,
    output: Path,
    *,
    soc: str | None = None,
    cam: bool = False,
    guard: bool = False,
    guard_photographs: Path | None = None,
    verify: Sequence[str] = (),
    overrides: Sequence[str] = (),
    refused: Path | None = None,
    retry: bool = True,
    evaluation_set: EvaluationSet | None = None,
) -> tuple[Artifact, quantize.Frozen | None]:
    """Lower an opened run into the folder ``output``: the artifact, and the parameters that rounded
    it (None where nothing was rounded). The arguments are ``commands.export``'s.

    A refused file is kept in the folder ``refused``, if there is one, under no artifact's name.
    ``retry`` lets int8 whose decisions are refused train with its rounding and try once more.
    ``evaluation_set`` stands for the run's data where that is open already.
    """
    lowering = check_words(backend, precision, verify, soc)
    recipe = overridden(run, overrides)
    model_card.evaluation_of(run)  # a broken one is told before anything is lowered

    if cam and ":" in recipe.student.model:
        raise UserError(
            f"--cam: {recipe.student.model} has no map that is known to be its evidence; leave"
            " --cam out, or train a MobileNet or LesionNet"
        )
    if refused is not None and refused.exists() and not (refused / REFUSED).is_file():
        raise UserError(f"{refused}: exists and is no refused export; move it away")

    missing = ""
    if evaluation_set is None:
        evaluation_set, missing = _evaluation_set(run, recipe)
    record = None
    if evaluation_set is None:
        record = _without_data(run, lowering, precision, missing)
    known = guard_inside(run, lowering, precision, asked=guard or guard_photographs is not None)
    clinic = None
    if guard_photographs is not None:
        clinic, known = _knowing_clinic(run, recipe, known, guard_photographs)
    job = _Job(
        run,
        recipe,
        lowering,
        precision,
        cam,
        known,
        clinic,
        tuple(verify),
        retry,
        evaluation_set,
        record,
    )
    with new_folder(output, replace=same_export(output, run, lowering, precision)) as folder:
        frozen = _accepted(job, folder, refused)
    return open_artifact(output), frozen


#: What stands in a refused export's folder instead of a manifest.
REFUSED = "refused.json"

#: Before a refused model file's name, so that nobody takes it for an accepted one.
REFUSED_PREFIX = "refused-"


@dataclass(frozen=True)
class _Job:
    """One export that was asked for, with what judges it."""

    run: Run
    recipe: Recipe
    backend: Backend
    precision: str
    cam: bool
    guard: tuple[Guard | None, tuple[str, ...]]  # for the file, and what to say of it
    clinic: np.ndarray | None  # photographs that the guard knows besides those of training
    verify: tuple[str, ...]
    retry: bool
    evaluation_set: EvaluationSet | None
    record: RecordedExport | None


def _without_data(
    run: Run, backend: Backend, precision: str, missing: str
) -> RecordedExport | None:
    """The record that stands for the data; None where a shipped student has none for this row.
    An own run's data is somewhere, so nothing is accepted without it.
    """
    record = recorded(run, record_key(backend, precision))
    if record is not None and record.refused:
        raise GateError(
            f"{backend.name}, {precision}: refused where the data was ({record.refused}); with the"
            " data at hand --set data.root=FOLDER judges it again"
        )
    if record is not None:
        say(
            "export: the test photographs are not here, so this student's recorded gates stand for"
            f" those that need them ({missing})"
        )
        return record
    if not run.reference:
        raise UserError(
            f"{missing}; without test photographs and without recorded gates nothing can be"
            " accepted; where the data lies is told with --set data.root=FOLDER"
        )
    if backend.runtime:
        say(f"export: {NOT_DECIDED}, {NO_RECORD} ({missing})")
    return None


def _accepted(job: _Job, folder: Path, refused: Path | None) -> quantize.Frozen | None:
    """Lower, judge and write into ``folder``; a refusal raises ``GateError``.

    int8 whose decisions are refused is trained with its rounding for a while and tried once more.
    """
    from mobilekd.lowering.locate import first_failure
    from mobilekd.lowering.parity import DECISIONS, judged, refuse
    from mobilekd.lowering.prepare import BATCH, RETRY_STEPS

    again = job.retry and job.precision == "int8" and job.evaluation_set is not None
    tried: list[str] = []
    while True:
        export, prepared, names = _lower(job, folder, retrained=bool(tried))
        report = _judge(job, export)
        failed = [gate for gate in report.gates if not gate.passed]
        if not failed:
            break
        undecidable = [gate for gate in failed if gate.name.id not in DECISIONS]
        if prepared.frozen is None or undecidable or tried or not again:
            reason = refuse(first_failure(export, report))  # type: ignore[arg-type]
            if refused is not None:
                _keep_refused(folder, refused, export, report, str(reason))
            raise reason
        tried.append(judged(failed[0]))
        say(
            f"export: {job.precision} is refused ({tried[0]}); training with its rounding for at"
            f" most {RETRY_STEPS} steps of {BATCH} photographs, then it is judged once more"
        )
        _empty(folder)
    notes = tuple(
        f"int8 without training was refused ({text}); this is the second and last try, judged by"
        " the same photographs"
        for text in tried
    )
    if export.guard and all(one.name.id is not GateId.GUARD_AGREEMENT for one in report.gates):
        unseen = NO_GUARD_RECORD if report.ran else NO_GUARD_HERE
        notes += (unseen,)
        say(f"export: {unseen}")
    write_artifact(job.run, job.recipe, export, prepared, report, names, folder, notes)
    return prepared.frozen


def _judge(job: _Job, export: "Export") -> "ParityReport":
    """Everything that this machine can check, and what the record says of the rest."""
    from mobilekd.lowering import parity
    from mobilekd.lowering.arm import TRUSTED, on_arm
    from mobilekd.lowering.checks import check

    report = check(export)
    if job.record is not None:
        stages, gates = recorded_results(job.record)
        report.stages += stages
        # the record tells what its file with one showed, and this may be without or with another
        if export.guard is None or export.clinic is not None:
            gates = [gate for gate in gates if gate.name.id is not GateId.GUARD_AGREEMENT]
        report.gates += gates
        report.accuracy = job.record.accuracy
    elif job.evaluation_set is None and not open_rows(report.stages):
        row = StageName(StageId.SAVED_FILE, Part.DECISIONS)
        report.stages.append(parity.unverified(row, StageId.EAGER, f"{NOT_DECIDED}: {NO_RECORD}"))
    on_arm(export, report, TRUSTED if "arm" in job.verify else ())
    return report


NO_GUARD_RECORD = (
    "what the guard refuses was not compared on test photographs here: the data is not here, and no"
    " gate was recorded for a file with a guard"
)
NO_GUARD_HERE = (
    "what the guard refuses was not compared on test photographs: no machine here runs the file"
)
NO_RECORD = "its data is not here and no gates were recorded for this backend and precision"


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _keep_refused(
    folder: Path, refused: Path, export: "Export", report: "ParityReport", reason: str
) -> None:
    """Move what was refused to where it can be looked at: no manifest, and a model file that is
    called refused.
    """
    model = export.backend.model_file
    with new_folder(refused, replace=True) as kept:
        for path in folder.iterdir():
            name = f"{REFUSED_PREFIX}{path.name}" if path.name == model else path.name
            shutil.move(str(path), kept / name)
        write_json(
            kept / REFUSED,
            {
                "refused": reason,
                "backend": export.backend.name,
                "precision": export.precision,
                "gates": [gate.model_dump(mode="json") for gate in report.gates],
                "parity": [stage.model_dump(mode="json") for stage in report.stages],
            },
        )
    say(f"export: what was refused is kept for a look in {refused}; it is no artifact")


def _evaluation_set(run: Run, recipe: Recipe) -> tuple[EvaluationSet | None, str]:
    try:
        return open_evaluation_set(
            recipe, run.info.labels, run.split, run.info.split_hash, pixels=run.info.pixels
        ), ""
    except UserError as error:
        return None, str(error)


def _lower(
    job: _Job, folder: Path, *, retrained: bool
) -> tuple["Export", "BackendInput", tuple[str, ...]]:
    """Quantise, lower and draw the golden photographs into ``folder``."""
    import torch

    from mobilekd.lowering.exported import Export
    from mobilekd.lowering.prepare import frozen_key, prepare
    from mobilekd.students import Deployable, deployed, load

    run, recipe, backend, precision = job.run, job.recipe, job.backend, job.precision
    cam, evaluation_set = job.cam, job.evaluation_set
    preprocess, calibration = recipe.preprocess.to_preprocess(), run.calibration
    student = load(run)
    guard, without = job.guard
    deployable = Deployable(deployed(student), preprocess, calibration, cam=cam, guard=guard).eval()
    example = torch.zeros(1, 3, preprocess.height, preprocess.width)
    frozen = (
        quantize.read_frozen(run.folder).get(frozen_key(backend, precision))
        if not cam and (run.reference or evaluation_set is None)
        else None
    )
    prepared = prepare(
        deployable,
        example,
        backend,
        precision,
        recipe,
        evaluation_set,
        frozen,
        run.folder,
        retrained=retrained,
    )
    outputs = ("probabilities", *["cam"] * cam, *[OUTPUT] * bool(guard))
    inside = travelling(run, recipe, backend, precision, outputs, guard)
    (folder / "golden").mkdir()
    names, pictures = golden.draw(folder / "golden", preprocess)
    lowered = backend.lower(prepared.model, example, precision, inside, folder)
    export = Export(
        student=student,
        calibration=calibration,
        preprocess=preprocess,
        backend=backend,
        precision=precision,
        lowered=lowered,
        plain=prepared.plain,
        constants=inside,
        golden=pictures,
        gates=recipe.gates,
        evaluation_set=evaluation_set,
        float_layers=prepared.float_layers,
        target=f"reference:{run.info.name}" if run.reference else str(run.folder),
        guard=guard,
        clinic=job.clinic,
    )
    return export, replace(prepared, notes=(*prepared.notes, *without)), names


def _knowing_clinic(
    run: Run, recipe: Recipe, known: tuple[Guard | None, tuple[str, ...]], root: Path
) -> tuple[np.ndarray, tuple[Guard, tuple[str, ...]]]:
    """A clinic's photographs below ``root``, and the guard that knows them, too."""
    from mobilekd.inference.guard import knowing_folder
    from mobilekd.students import load

    guard, notes = known
    if guard is None:
        raise UserError(f"--guard-photographs: {run.info.name} gets no guard here ({notes[0]})")
    preprocess = recipe.preprocess.to_preprocess()
    clinic, guard = knowing_folder(load(run), preprocess, guard, root)
    # without the folder's name, which may be of a patient or place
    note = (
        f"its guard knows {counted(len(clinic), 'photograph')} of a clinic besides those of"
        " training, and refuses fewer of them than of others like them"
    )
    say(f"export: {note}")
    return clinic, (guard, (*notes, note))


def guard_inside(
    run: Run, backend: Backend, precision: str, *, asked: bool
) -> tuple[Guard | None, tuple[str, ...]]:
    """The run's guard where its file is to hold it, and what to say where it is not: the guard was
    added to a shipped student and is not ``asked`` for, or the file has room for one output.
    """
    guard = run.guard
    if guard is not None and guard.added and not asked:
        note = "without the guard, which was fitted after it was shipped; --guard puts it in"
        say(f"export: {note}")
        return None, (note,)
    if guard is None:
        return None, ()
    if backend.apple and backend.weights_in(precision) in ONE_OUTPUT:
        why, others = "coremltools 9.0 compresses no classifier with two outputs", "fp16"
    elif backend.socs and precision != "fp16":
        why, others = "the chip would compute it in whole numbers too", "fp16 and xnnpack"
    else:
        return guard, ()
    note = (
        f"without the guard: {why}, so {precision} cannot say that a photograph is of another kind;"
        f" {others} can"
    )
    say(f"export: {note}")
    return None, (note,)
