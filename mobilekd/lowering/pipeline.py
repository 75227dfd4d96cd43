"""The way of one student into one accepted artifact: quantise, lower, prove, write; a refusal
names the gate and leaves nothing behind.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilekd.backends import Backend
from mobilekd.formats import golden
from mobilekd.formats.artifact import (
    Artifact,
    GoldenIndex,
    Manifest,
    Provenance,
    Student,
    TrainingHashes,
    hashes,
    open_artifact,
    write_golden,
)
from mobilekd.formats.constants import constants
from mobilekd.formats.document import read_document
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import Run
from mobilekd.inference.evaluation_set import EvaluationSet, open_evaluation_set
from mobilekd.lowering import model_card, quantize
from mobilekd.lowering.record import recorded, recorded_results
from mobilekd.lowering.request import check_words, overridden
from mobilekd.support import provenance
from mobilekd.support.errors import UserError
from mobilekd.support.files import new_folder, read_json, sha256_file, write_json, write_text
from mobilekd.support.progress import say

if TYPE_CHECKING:
    from mobilekd.lowering.checks import Export, ParityReport
    from mobilekd.lowering.prepare import BackendInput


def lower_run(
    run: Run,
    backend: str,
    precision: str,
    output: Path,
    *,
    cam: bool = False,
    verify: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> tuple[Artifact, quantize.Frozen | None]:
    """Lower an opened run into the folder ``output``: the artifact, and the quantisation parameters
    that it used (None where nothing was rounded). The arguments are ``commands.export``'s.
    """
    lowering = check_words(backend, precision, verify)
    recipe = overridden(run, overrides)
    model_card.evaluation_of(run)  # a broken one is told before anything is lowered
    from mobilekd.lowering.checks import TRUSTED, check, on_arm
    from mobilekd.lowering.locate import first_failure
    from mobilekd.lowering.parity import refuse

    if cam and ":" in recipe.student.model:
        raise UserError(
            f"--cam: {recipe.student.model} has no map that is known to be its evidence; leave"
            " --cam out, or train a MobileNet or LesionNet"
        )

    evaluation_set, missing = _evaluation_set(run, recipe)
    record = None if evaluation_set else recorded(run, f"{backend}-{precision}")
    if evaluation_set is None and record is None:
        raise UserError(
            f"{missing}; without test photographs and without recorded gates nothing can be"
            " accepted"
        )
    if evaluation_set is None:
        say(
            "export: the data is not here, so the gates that it decided where it was are taken as"
            f" recorded ({missing})"
        )
    with new_folder(output, replace=_same_export(output, run, backend, precision)) as folder:
        export, prepared, names = _lower(
            run, recipe, lowering, precision, folder, cam, evaluation_set
        )
        report = check(export)
        if record is not None:
            stages, gates = recorded_results(record)
            report.stages += stages
            report.gates += gates
            report.accuracy = record.accuracy
        on_arm(export, report, TRUSTED if "arm" in verify else ())
        failure = first_failure(export, report)
        if failure is not None:
            raise refuse(failure)
        write_artifact(run, recipe, export, prepared, report, names, folder)
    return open_artifact(output), prepared.frozen


def _same_export(output: Path, run: Run, backend: str, precision: str) -> bool:
    """Whether ``output`` holds an earlier export of the same thing, which the new one may
    replace.
    """
    path = output / "manifest.json"
    if not path.is_file():
        return False
    earlier = read_json(path, "artifact manifest")
    return isinstance(earlier, dict) and [
        earlier.get(key) for key in ("name", "backend", "precision")
    ] == [run.info.name, backend, precision]


def _evaluation_set(run: Run, recipe: Recipe) -> tuple[EvaluationSet | None, str]:
    try:
        return open_evaluation_set(
            recipe, run.info.labels, run.split, run.info.split_hash, pixels=run.info.pixels
        ), ""
    except UserError as error:
        return None, str(error)


def _lower(
    run: Run,
    recipe: Recipe,
    backend: Backend,
    precision: str,
    folder: Path,
    cam: bool,
    evaluation_set: EvaluationSet | None,
) -> tuple["Export", "BackendInput", tuple[str, ...]]:
    """Quantise, lower and draw the golden photographs into ``folder``."""
    import torch

    from mobilekd.lowering.checks import Export
    from mobilekd.lowering.prepare import prepare
    from mobilekd.students import Deployable, deployed, load

    preprocess, calibration = recipe.preprocess.to_preprocess(), run.calibration
    student = load(run)
    deployable = Deployable(deployed(student), preprocess, calibration, cam=cam).eval()
    example = torch.zeros(1, 3, preprocess.height, preprocess.width)
    frozen = (
        quantize.read_frozen(run.folder).get(precision)
        if not cam and (run.reference or evaluation_set is None)
        else None
    )
    prepared = prepare(
        deployable, example, backend, precision, recipe, evaluation_set, frozen, run.folder
    )
    inside = constants(
        name=run.info.name,
        backend=backend.name,
        precision=precision,
        labels=run.info.labels,
        preprocess=preprocess,
        calibration=calibration,
        outputs=("probabilities", "cam") if cam else ("probabilities",),
        card=model_card.short(run, precision),
        student=sha256_file(run.weights),
        versions=provenance.versions(),
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
    )
    return export, prepared, names


def write_artifact(
    run: Run,
    recipe: Recipe,
    export: "Export",
    prepared: "BackendInput",
    report: "ParityReport",
    names: tuple[str, ...],
    folder: Path,
) -> None:
    """Golden answers, tables, hashes of the training photographs, manifest, card; the manifest
    comes last.
    """
    lowered, info = export.lowered, run.info
    probabilities = np.asarray(report.golden[0], np.float32)
    cam = np.asarray(report.golden[1], np.float32) if len(report.golden) > 1 else None
    index = GoldenIndex(
        count=len(names),
        height=export.preprocess.height,
        width=export.preprocess.width,
        classes=len(info.labels),
        images=names,
        cam=(cam.shape[1], cam.shape[2]) if cam is not None else None,
        max_error=export.golden_error(report.ran),
    )
    write_golden(folder, index, export.golden, probabilities, cam)
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
        outputs=("probabilities", "cam") if cam is not None else ("probabilities",),
        calibration=export.calibration,
        delegation=lowered.delegation,
        parity=tuple(report.stages),
        gates=tuple(report.gates),
        memory=lowered.memory or {},
        least_ios=lowered.least_ios,
        accuracy=report.accuracy,
        notes=(*prepared.notes, *lowered.notes),
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
