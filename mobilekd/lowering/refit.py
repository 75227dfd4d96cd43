"""An artifact with other constants: what follows from the network's answers is written again, and
the network is proven to be the same.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilekd.backends import Backend, get
from mobilekd.data import overlap_hashes
from mobilekd.formats.artifact import (
    Artifact,
    ClinicFit,
    Manifest,
    TrainingHashes,
    write_manifest,
)
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.constants import constants
from mobilekd.formats.gates import Gate
from mobilekd.formats.guard import GuardSummary
from mobilekd.formats.parity_names import GateId
from mobilekd.inference.other_data import EvaluatedPhotographs
from mobilekd.inference.predictor import Predictor
from mobilekd.lowering import parity
from mobilekd.lowering.model_card import fitted
from mobilekd.metrics.decide import decided
from mobilekd.support.errors import CannotRunHere, GateError
from mobilekd.support.files import write_json, write_text
from mobilekd.support.words import counted


def model_sha(manifest: Manifest) -> str:
    """Of the model: its file's, or that of the first file of a package."""
    name = manifest.model_file
    return manifest.files.get(name) or next(
        sha for file, sha in sorted(manifest.files.items()) if file.startswith(f"{name}/")
    )


@dataclass(frozen=True)
class Refit:
    """What was found on a clinic's photographs."""

    calibration: Calibration
    guard: GuardSummary | None
    clinic: ClinicFit
    loss: Gate


def write_refitted(
    folder: Path,
    source: Artifact,
    predictor: Predictor,
    refit: Refit,
    judged: EvaluatedPhotographs,
) -> None:
    """The source's files into ``folder``, with other constants, decisions, hashes, card and
    manifest; a ``GateError`` where more than the constants would differ.
    """
    manifest = source.manifest
    for path in source.folder.iterdir():
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        else:
            shutil.copy(path, folder / path.name)
    backend, model = get(manifest.backend), folder / manifest.model_file
    inside = backend.constants(model)
    name = f"{manifest.name}-fitted"
    count = counted(refit.clinic.photographs, "photograph")
    line = f"Fitted to {count} of one clinic; see its model card."
    said = constants(
        name=name,
        backend=manifest.backend,
        precision=manifest.precision,
        labels=manifest.labels,
        preprocess=manifest.preprocess,
        calibration=refit.calibration,
        outputs=manifest.outputs,
        card=f"{inside.get('card', '')}\n{line}",
        student=manifest.provenance.source_sha256,
        versions=manifest.provenance.versions,
        guard=refit.guard,
        soc=manifest.chip.soc if manifest.chip else None,
    )
    backend.rewrite(model, said)
    same = backend.network_hash(model) == backend.network_hash(source.model) and _answers_alike(
        source, backend, model
    )
    found = backend.constants(model)
    wrong = [key for key, value in said.items() if found.get(key) != value]
    changed = manifest.model_copy(update={"guard": refit.guard, "calibration": refit.calibration})
    _write_decisions(source, changed, folder)
    _write_hashes(predictor, judged, folder)
    gates = (
        *(gate for gate in manifest.gates if gate.name.id is not GateId.CONSTANTS),
        parity.at_most(GateId.CONSTANTS, len(wrong), 0),
        parity.at_least(GateId.NETWORK, float(same), 1),
        refit.loss,
    )
    if failed := [gate for gate in gates[-3:] if not gate.passed]:
        raise GateError(f"{parity.judged(failed[0])}; nothing was written; report it")
    files = [model] if model.is_file() else [path for path in model.rglob("*") if path.is_file()]
    changed = changed.model_copy(
        update={
            "name": name,
            "bytes": sum(path.stat().st_size for path in files),
            "gates": gates,
            "clinic": refit.clinic,
            "notes": (
                *manifest.notes,
                "its accuracy figures are of its answers before it was fitted; under clinic are"
                " those of the photographs that it was fitted to",
            ),
        }
    )
    card = folder / "MODEL_CARD.md"
    write_text(card, fitted(card.read_text(encoding="utf-8"), manifest, changed))
    write_manifest(folder, changed)


def _answers_alike(source: Artifact, backend: Backend, model: Path) -> bool:
    """Whether the new file gives the golden photographs the old one's very numbers, where this
    machine runs such files; True where it does not, and the bytes alone decide.
    """
    x = source.golden().inputs.astype(np.float32)
    try:
        new, old = backend.run(model, x), backend.run(source.model, x)
    except CannotRunHere:
        return True
    return all(np.array_equal(mine, theirs) for mine, theirs in zip(new, old, strict=True))


def _write_decisions(source: Artifact, changed: Manifest, folder: Path) -> None:
    """What is said of the golden photographs now; the file's answers to them stay."""
    golden = source.golden()
    said = decided(
        golden.probabilities, golden.outside, changed.labels, changed.calibration, changed.guard
    )
    write_json(folder / "golden" / "decisions.json", [one.model_dump(mode="json") for one in said])


def _write_hashes(predictor: Predictor, judged: EvaluatedPhotographs, folder: Path) -> None:
    """The photographs that it was fitted to beside those that trained it, so that ``evaluate``
    leaves both out.
    """
    known = predictor.training_hashes()
    assert known is not None  # refused before
    salt, before = known
    own = overlap_hashes(judged.dataset, judged.ids, salt)
    document = TrainingHashes(salt=salt, hashes=tuple(sorted({*before, *own})))
    write_json(folder / "training_hashes.json", document.model_dump(mode="json"))
