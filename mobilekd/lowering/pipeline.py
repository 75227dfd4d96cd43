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
    Manifest,
    Provenance,
    Student,
    TrainingHashes,
    hashes,
    open_artifact,
)
from mobilekd.formats.constants import constants
from mobilekd.formats.document import read_document
from mobilekd.formats.gates import NOT_DECIDED, Stage
from mobilekd.formats.golden_set import GoldenIndex, write_golden
from mobilekd.formats.guard import OUTPUT, Guard
from mobilekd.formats.parity_names import GateId, Part, StageId, StageName
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import Run
from mobilekd.inference.evaluation_set import EvaluationSet, open_evaluation_set
from mobilekd.lowering import model_card, quantize
from mobilekd.lowering.record import RecordedExport, record_key, recorded, recorded_results
from mobilekd.lowering.request import check_words, overridden
from mobilekd.metrics.decide import decided
from mobilekd.support import provenance
from mobilekd.support.errors import GateError, UserError
from mobilekd.support.files import new_folder, read_json, sha256_file, write_json, write_text
from mobilekd.support.progress import say

if TYPE_CHECKING:
    from mobilekd.lowering.checks import Export, ParityReport
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
    known = guard_inside(run, lowering, precision, asked=guard)
    job = _Job(
        run, recipe, lowering, precision, cam, known, tuple(verify), retry, evaluation_set, record
    )
    with new_folder(output, replace=_same_export(output, run, lowering, precision)) as folder:
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
    guard: tuple[Guard | None, tuple[str, ...]]  # for the file, and why there is none
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
            "export: the data is not here, so the gates that it decided where it was are taken as"
            f" recorded ({missing})"
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
    from mobilekd.lowering.prepare import RETRY_BATCH, RETRY_STEPS

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
            f" most {RETRY_STEPS} steps of {RETRY_BATCH} photographs, then it is judged once more"
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
    from mobilekd.lowering.checks import TRUSTED, check, on_arm

    report = check(export)
    if job.record is not None:
        stages, gates = recorded_results(job.record)
        report.stages += stages
        if export.guard is None:  # the record may tell what its file with one showed
            gates = [gate for gate in gates if gate.name.id is not GateId.GUARD_AGREEMENT]
        report.gates += gates
        report.accuracy = job.record.accuracy
    elif job.evaluation_set is None and not _open_rows(report):
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


def _same_export(output: Path, run: Run, backend: Backend, precision: str) -> bool:
    """Whether ``output`` holds an earlier export of the same thing, which the new one may
    replace.
    """
    path = output / "manifest.json"
    if not path.is_file():
        return False
    earlier = read_json(path, "artifact manifest")
    if not isinstance(earlier, dict):
        return False
    chip = earlier.get("chip")
    found = [earlier.get(key) for key in ("name", "backend", "precision")]
    found.append(chip.get("soc") if isinstance(chip, dict) else None)
    return found == [run.info.name, backend.name, precision, backend.soc]


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

    from mobilekd.lowering.checks import Export
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
    inside = constants(
        name=run.info.name,
        backend=backend.name,
        precision=precision,
        labels=run.info.labels,
        preprocess=preprocess,
        calibration=calibration,
        outputs=("probabilities", *["cam"] * cam, *[OUTPUT] * bool(guard)),
        card=model_card.short(run, precision),
        student=sha256_file(run.weights),
        versions=provenance.versions(),
        guard=guard.summary() if guard else None,
        soc=backend.soc,
    )
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
    )
    return export, replace(prepared, notes=(*prepared.notes, *without)), names


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
    if guard is None or not (backend.apple and backend.weights_in(precision) in ONE_OUTPUT):
        return guard, ()
    note = (
        f"without the guard: coremltools 9.0 compresses no classifier with two outputs, so"
        f" {precision} cannot say that a photograph is of another kind; fp16 can"
    )
    say(f"export: {note}")
    return None, (note,)


def write_artifact(
    run: Run,
    recipe: Recipe,
    export: "Export",
    prepared: "BackendInput",
    report: "ParityReport",
    names: tuple[str, ...],
    folder: Path,
    notes: tuple[str, ...] = (),
) -> None:
    """Golden answers, tables, hashes of the training photographs, manifest, card; the manifest
    comes last.
    """
    lowered, info = export.lowered, run.info
    probabilities = np.asarray(report.golden[0], np.float32)
    answers = dict(zip(_outputs(export), report.golden, strict=True))
    cam = np.asarray(answers["cam"], np.float32) if "cam" in answers else None
    outside = np.asarray(answers[OUTPUT], np.float32) if OUTPUT in answers else None
    index = GoldenIndex(
        count=len(names),
        height=export.preprocess.height,
        width=export.preprocess.width,
        classes=len(info.labels),
        images=names,
        cam=(cam.shape[1], cam.shape[2]) if cam is not None else None,
        max_error=export.golden_error(report.ran),
    )
    guard = export.guard.summary() if export.guard else None
    said = decided(probabilities, outside, info.labels, export.calibration, guard)
    write_golden(folder, index, export.golden, probabilities, cam, outside, said)
    if prepared.sensitivity:
        write_json(folder / "sensitivity.json", list(prepared.sensitivity))
    if lowered.graph is not None:
        from mobilekd.graphs.torch_graph import layer_costs

        write_json(folder / "layers.json", layer_costs(lowered.graph()))
    trained_on = _training_hashes(run, export.evaluation_set)
    if trained_on is not None:
        write_json(folder / "training_hashes.json", trained_on.model_dump(mode="json"))
    model = folder / export.backend.model_file
    manifest = Manifest(
        name=info.name,
        backend=export.backend.name,
        precision=export.precision,
        model_file=export.backend.model_file,
        files={},
        bytes=sum(
            file.stat().st_size
            for file in ([model] if model.is_file() else model.rglob("*"))
            if file.is_file()
        ),
        student=Student(
            model=recipe.student.model,
            parameters=info.parameters,
            macs=info.macs,
            options=recipe.student.model_dump(mode="json"),
        ),
        preprocess=export.preprocess,
        labels=info.labels,
        outputs=_outputs(export),
        calibration=export.calibration,
        guard=guard,
        delegation=lowered.delegation,
        parity=tuple(report.stages),
        gates=tuple(report.gates),
        memory=lowered.memory or {},
        least_ios=lowered.least_ios,
        chip=lowered.chip,
        accuracy=report.accuracy,
        notes=(*_open_questions(report), *prepared.notes, *notes, *lowered.notes),
        provenance=Provenance(
            run=info.name,
            recipe=recipe.to_dict(),
            recipe_hash=info.recipe_hash,
            data_hash=info.data_hash,
            split_hash=info.split_hash,
            split_by=info.split_by,
            data_licence=info.data_licence,
            created_utc=provenance.utc_now(),
            commit=provenance.commit(),
            versions=provenance.versions(),
            source_sha256=sha256_file(run.weights),
        ),
    )
    write_text(folder / "MODEL_CARD.md", model_card.markdown(manifest, run))
    manifest = manifest.model_copy(update={"files": hashes(folder)})
    write_json(folder / "manifest.json", manifest.model_dump(mode="json"))


def _open_questions(report: "ParityReport") -> tuple[str, ...]:
    """What no photograph decided, in sentences; they come first among an artifact's notes."""
    from mobilekd.lowering.decisions import undecided_note

    few = [undecided_note(gate) for gate in report.gates if gate.undecided]
    return (*(row.reason or "" for row in _open_rows(report)), *few)


def _open_rows(report: "ParityReport") -> list[Stage]:
    """Rows that say why nobody judged the file's decisions."""
    return [row for row in report.stages if row.stage.part is Part.DECISIONS and not row.verified]


def _outputs(export: "Export") -> tuple[str, ...]:
    names = export.constants["outputs"]
    assert isinstance(names, list)
    return tuple(str(name) for name in names)


def _training_hashes(run: Run, evaluation_set: EvaluationSet | None) -> TrainingHashes | None:
    """Salted hashes of what it was trained on; computed once per run, since every training
    photograph is decoded for it.
    """
    kept = run.folder / "training_hashes.json"
    if kept.exists():
        return read_document(kept, TrainingHashes, "list of training hashes")
    if evaluation_set is None:
        return None
    from mobilekd.data import training_hashes

    made = training_hashes(evaluation_set.dataset, evaluation_set.split)
    write_json(kept, made.model_dump(mode="json"))
    return made
