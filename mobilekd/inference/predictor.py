"""Whatever can answer a photograph, behind one face: a run, a shipped reference, or an artifact of
any backend.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.formats.artifact import Artifact, TrainingHashes, open_artifact
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.document import read_document
from mobilekd.formats.guard import GuardSummary
from mobilekd.formats.labels import Label
from mobilekd.formats.pictures import Pictures
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import from_dict
from mobilekd.formats.runs import SPLIT, Role, Run, Split, open_run, read_split
from mobilekd.metrics.calibrate import rescaled
from mobilekd.support.errors import UserError
from mobilekd.support.progress import track

#: Photographs answered at once, which bounds memory.
BATCH = 64


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers to photographs in their order."""

    probabilities: np.ndarray  # float64 [N, C]
    scores: np.ndarray | None  # float [N], the guard's; None where there is none
    outside: np.ndarray | None  # bool [N]: not the photographs that the model knows


@dataclass(frozen=True, eq=False)
class Predictor:
    """What is judged or asked."""

    name: str
    kind: str  # run, reference, artifact
    labels: tuple[Label, ...]
    preprocess: Preprocess
    calibration: Calibration
    recipe: Recipe
    # None where the split is not at hand: make it from the recipe and check the hash
    split: Split | None
    split_hash: str
    split_by: str  # what the split kept together, in the words of run.json
    data_hash: str  # of the data set that it was trained on
    pixels: Mapping[Role, str]  # of a split that is not at hand, where they were kept
    folder: Path
    # float32 [N, 3, H, W] -> probabilities [N, C] first; with a guard its scores [N, 1] last
    forward: Callable[[np.ndarray], Sequence[np.ndarray]]
    guard: GuardSummary | None = None  # None for what was made before there was one
    # backend, precision, model, parameters, MACs, bytes
    facts: dict[str, Any] = field(default_factory=dict)

    def answer(self, pictures: Pictures) -> np.ndarray:
        """Preprocessed pictures uint8 ``[N, 3, H, W]`` -> calibrated probabilities float64 ``[N,
        C]``.
        """
        return self.answers(pictures).probabilities

    def answers(self, pictures: Pictures) -> "Answers":
        """Preprocessed pictures uint8 ``[N, 3, H, W]`` -> probabilities, and what the guard
        says.
        """
        parts = [slice(start, start + BATCH) for start in range(0, len(pictures), BATCH)]
        answers = [
            self.forward(pictures[part].astype(np.float32))
            for part in track(parts, f"asking {self.name}")
        ]
        probabilities = np.concatenate([given[0] for given in answers]).astype(np.float64)
        if probabilities.shape != (len(pictures), len(self.labels)):
            raise UserError(
                f"{self.folder}: answers of shape {probabilities.shape[1:]} for {len(self.labels)}"
                " classes; export again"
            )
        scores = None
        if self.guard:
            scores = np.concatenate([given[-1].reshape(-1) for given in answers])
            if scores.shape != (len(pictures),):
                raise UserError(
                    f"{self.folder}: {len(scores)} scores of the guard for {len(pictures)}"
                    " photographs; export again"
                )
        finite = np.isfinite(probabilities).all(1)
        bad = int((~(finite if scores is None else finite & np.isfinite(scores))).sum())
        if bad:
            raise UserError(
                f"{self.folder}: NaN or infinity in {bad} of {len(pictures)} answers; the model is"
                " broken, train or export again"
            )
        outside = None if scores is None or not self.guard else self.guard.refuses(scores)
        return Answers(rescaled(probabilities, self.calibration.rescale), scores, outside)

    def training_hashes(self) -> tuple[str, list[str]] | None:
        """Salt and hashes of the photographs that trained and calibrated it, where the folder
        carries them.
        """
        path = self.folder / "training_hashes.json"
        if not path.exists():
            return None
        trained_on = read_document(path, TrainingHashes, "list of training hashes")
        return trained_on.salt, list(trained_on.hashes)


def open_predictor(target: str | Path, runs: Path = Path("runs")) -> Predictor:
    """A run by name or folder, ``reference:NAME``, or an artifact's folder."""
    target = os.path.expanduser(target)
    folder = Path(target)
    if folder.name == "manifest.json" or (folder / "manifest.json").is_file():
        return _artifact(open_artifact(folder), runs)
    if folder.is_file():
        raise UserError(f"{target}: a file; give the run's or the artifact's folder")
    return _run(open_run(target, runs))


def _run(run: Run) -> Predictor:
    import torch

    from mobilekd.students import Deployable, load

    recipe, calibration, guard = run.recipe, run.calibration, run.guard
    preprocess = recipe.preprocess.to_preprocess()
    model = Deployable(load(run), preprocess, calibration, guard=guard).eval()

    def forward(pictures: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            given = model(torch.from_numpy(pictures))
            return [output.numpy() for output in (given if guard else (given,))]

    return Predictor(
        name=run.info.name,
        kind="reference" if run.reference else "run",
        labels=run.info.labels,
        preprocess=recipe.preprocess.to_preprocess(),
        calibration=calibration,
        recipe=recipe,
        split=run.split,
        split_hash=run.info.split_hash,
        split_by=run.info.split_by,
        data_hash=run.info.data_hash,
        pixels=run.info.pixels,
        folder=run.folder,
        forward=forward,
        guard=guard.summary() if guard else None,
        facts={
            "backend": "eager",
            "precision": "fp32",
            "model": recipe.student.model,
            "parameters": run.info.parameters,
            "macs": run.info.macs,
            "bytes": run.weights.stat().st_size,
            "is_control": run.info.is_control,
        },
    )


def own_split(path: Path, split_hash: str) -> Split | None:
    """The split of the run that an artifact came from; None where it is not here, or is that of
    another run of the name.
    """
    split = read_split(path) if path.exists() else None
    return split if split is not None and split.hash() == split_hash else None


def _artifact(artifact: Artifact, runs: Path) -> Predictor:
    from mobilekd.backends import get

    manifest = artifact.manifest
    backend = get(manifest.backend)
    source = manifest.provenance.run
    split = runs / source / SPLIT

    def forward(pictures: np.ndarray) -> list[np.ndarray]:
        return backend.run(artifact.model, pictures)

    return Predictor(
        name=manifest.name,
        kind="artifact",
        labels=manifest.labels,
        preprocess=manifest.preprocess,
        calibration=manifest.calibration,
        recipe=from_dict(manifest.provenance.recipe, str(artifact.folder / "manifest.json")),
        split=own_split(split, manifest.provenance.split_hash),
        split_hash=manifest.provenance.split_hash,
        split_by=manifest.provenance.split_by,
        data_hash=manifest.provenance.data_hash,
        pixels={},
        folder=artifact.folder,
        forward=forward,
        guard=manifest.guard,
        facts={
            "backend": manifest.backend,
            "precision": manifest.precision,
            "model": manifest.student.model,
            "parameters": manifest.student.parameters,
            "macs": manifest.student.macs,
            "bytes": manifest.bytes,
            "sha256": manifest.files.get(manifest.model_file),
            "run": source,
        },
    )
