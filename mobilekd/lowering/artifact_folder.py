"""The artifact's folder: what travels inside the file, and what lies beside it once the file is
accepted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilekd.backends import Backend
from mobilekd.formats import layer_errors
from mobilekd.formats.artifact import Manifest, Provenance, Student, TrainingHashes, write_manifest
from mobilekd.formats.constants import Constants, constants
from mobilekd.formats.document import read_document
from mobilekd.formats.gates import open_rows
from mobilekd.formats.golden_set import GoldenIndex, write_golden
from mobilekd.formats.guard import GUARD, OUTPUT, Guard
from mobilekd.formats.parity_names import StageId, StageName
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import Run
from mobilekd.inference.evaluation_set import EvaluationSet
from mobilekd.lowering import model_card
from mobilekd.metrics.decide import decided
from mobilekd.support import provenance
from mobilekd.support.files import sha256_file, write_json, write_text

if TYPE_CHECKING:
    from mobilekd.formats.layer_errors import LayerErrors
    from mobilekd.lowering.exported import Export, ParityReport
    from mobilekd.lowering.prepare import BackendInput


def travelling(
    run: Run,
    recipe: Recipe,
    backend: Backend,
    precision: str,
    outputs: Sequence[str],
    guard: Guard | None = None,
) -> Constants:
    """The constants inside a file of the run's student with these ``outputs``."""
    return constants(
        name=run.info.name,
        backend=backend.name,
        precision=precision,
        labels=run.info.labels,
        preprocess=recipe.preprocess.to_preprocess(),
        calibration=run.calibration,
        outputs=tuple(outputs),
        card=model_card.short(run, precision),
        student=sha256_file(run.weights),
        versions=provenance.versions(),
        guard=guard.summary() if guard else None,
        soc=backend.soc,
    )


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
    _write_golden(run, export, report, names, folder)
    if export.guard is not None and export.clinic is not None:
        # the run has another one, and verify asks the student with this
        write_json(folder / GUARD, export.guard.model_dump(mode="json"))
    _write_tables(export, prepared, report, folder)
    trained_on = _training_hashes(run, export.evaluation_set)
    if trained_on is not None:
        write_json(folder / "training_hashes.json", trained_on.model_dump(mode="json"))
    said = (*_open_questions(report), *prepared.notes, *notes, *export.lowered.notes)
    manifest = _manifest(run, recipe, export, report, folder, said)
    write_text(folder / "MODEL_CARD.md", model_card.markdown(manifest, run))
    write_manifest(folder, manifest)


def _write_golden(
    run: Run, export: "Export", report: "ParityReport", names: tuple[str, ...], folder: Path
) -> None:
    """The answers to the golden photographs ``names``, and what a phone must say to each."""
    labels = run.info.labels
    probabilities = np.asarray(report.golden[0], np.float32)
    answers = dict(zip(_outputs(export), report.golden, strict=True))
    cam = np.asarray(answers["cam"], np.float32) if "cam" in answers else None
    outside = np.asarray(answers[OUTPUT], np.float32) if OUTPUT in answers else None
    index = GoldenIndex(
        count=len(names),
        height=export.preprocess.height,
        width=export.preprocess.width,
        classes=len(labels),
        images=names,
        cam=(cam.shape[1], cam.shape[2]) if cam is not None else None,
        max_error=export.golden_error(report.ran),
    )
    guard = export.guard.summary() if export.guard else None
    said = decided(probabilities, outside, labels, export.calibration, guard)
    write_golden(folder, index, export.golden, probabilities, cam, outside, said)


def _write_tables(
    export: "Export", prepared: "BackendInput", report: "ParityReport", folder: Path
) -> None:
    """What there is to say of each layer: sensitivity, cost, and what its rounding does."""
    if prepared.sensitivity:
        write_json(folder / "sensitivity.json", list(prepared.sensitivity))
    if export.lowered.graph is not None:
        from mobilekd.graphs.torch_nodes import layer_costs

        write_json(folder / "layers.json", layer_costs(export.lowered.graph()))
    found = blamed(export, report)
    if found is not None:
        write_json(folder / layer_errors.FILE, found.model_dump(mode="json"))


def _manifest(
    run: Run,
    recipe: Recipe,
    export: "Export",
    report: "ParityReport",
    folder: Path,
    notes: tuple[str, ...],
) -> Manifest:
    lowered, info = export.lowered, run.info
    model = folder / export.backend.model_file
    files = [model] if model.is_file() else [file for file in model.rglob("*") if file.is_file()]
    return Manifest(
        name=info.name,
        backend=export.backend.name,
        precision=export.precision,
        model_file=export.backend.model_file,
        files={},
        bytes=sum(file.stat().st_size for file in files),
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
        guard=export.guard.summary() if export.guard else None,
        delegation=lowered.delegation,
        parity=tuple(report.stages),
        gates=tuple(report.gates),
        memory=lowered.memory or {},
        least_ios=lowered.least_ios,
        chip=lowered.chip,
        accuracy=report.accuracy,
        notes=notes,
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


def blamed(export: "Export", report: "ParityReport") -> "LayerErrors | None":
    """What each layer's rounding does, on training photographs or else the golden ones; None where
    nothing is rounded.
    """
    from mobilekd.lowering.layer_errors import PHOTOGRAPHS, measured

    lowered = export.lowered
    if lowered.graph is None:
        return None
    data = export.evaluation_set
    rows = [row for row in report.stages if row.stage == StageName(StageId.SAVED_FILE)]
    if lowered.saved_layers is not None:
        source = "the outputs of the saved file's own layers"
    elif rows and rows[0].verified and rows[0].max_error is not None:
        source = (
            "the rounded graph, whose answers the saved file's equal within"
            f" {rows[0].max_error:.2g}"
        )
    else:
        source = "the rounded graph; no machine here ran the saved file"
    return measured(
        export.plain,
        lowered.graph(),
        lowered.eager_reference,
        export.golden if data is None else data.calibration(PHOTOGRAPHS),
        "golden" if data is None else "training",
        saved_layers=lowered.saved_layers,
        source=source,
        in_float=export.float_layers,
    )


def _open_questions(report: "ParityReport") -> tuple[str, ...]:
    """What no photograph decided, in sentences; they come first among an artifact's notes."""
    from mobilekd.lowering.decisions import undecided_note

    few = [undecided_note(gate) for gate in report.gates if gate.undecided]
    return (*(row.reason or "" for row in open_rows(report.stages)), *few)


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
