"""Evaluating on other data: its classes are mapped onto the model's, explicitly; what has no place
is left out and counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mobilekd.data.classes import folded
from mobilekd.data.dataset import Dataset, Notes, some
from mobilekd.formats.artifact import Label
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json


def map_classes(
    dataset: Dataset, mapping: Mapping[str, str], labels: Sequence[Label]
) -> tuple[Dataset, dict[str, int]]:
    """``dataset`` with targets that index ``labels``, and how many photographs of which class were
    left out.

    A class keeps its key where ``labels`` has it (case aside), unless ``mapping`` (``{"SCC":
    "akiec"}``) sends it elsewhere.
    """
    ours = {folded(label.key): i for i, label in enumerate(labels)}
    theirs = [label.key for label in dataset.classes]
    sent: dict[str, str] = {}
    for source, target in mapping.items():
        if sent.setdefault(folded(source), folded(target)) != folded(target):
            raise UserError(
                f"--map {source}={target}: {source} has another place already; give each class one"
            )
        if folded(source) not in {folded(key) for key in theirs}:
            raise UserError(
                f"--map {source}={target}: the data has no class {source}; it has"
                f" {', '.join(theirs)}"
            )
        if folded(target) not in ours:
            raise UserError(
                f"--map {source}={target}: the model has no class {target}; it has"
                f" {', '.join(label.key for label in labels)}"
            )
    place = np.array(
        [ours.get(sent.get(folded(key), folded(key)), -1) for key in theirs], dtype=np.int64
    )
    targets = np.where(dataset.targets >= 0, place[dataset.targets], -1)
    kept = np.flatnonzero(targets >= 0)
    if not len(kept):
        raise UserError(
            f"{dataset.kind}: none of its classes ({', '.join(theirs)}) is one of the model's; map"
            " them with --map THEIRS=OURS"
        )
    notes, left_out = Notes(dataset.notes), {}
    for i, (key, target) in enumerate(zip(theirs, place, strict=True)):
        names = [dataset.ids[row] for row in np.flatnonzero(dataset.targets == i)]
        if target < 0 and names:
            left_out[key] = len(names)
            notes.add(
                f"evaluate: {some(names, 'photograph')} of class {key} left out, because the model"
                f" has no such class; --map {key}={_nearest(key, labels)} would judge them"
            )
    mapped = replace(
        dataset.subset(kept),
        targets=targets[kept],
        classes=tuple(labels),
        notes=tuple(notes),
        hash=sha256_json([dataset.hash, sorted(sent.items()), [label.key for label in labels]]),
    )
    return mapped, left_out


def _nearest(key: str, labels: Sequence[Label]) -> str:
    """The model's class of that name in words, else a place to fill in."""
    words = {folded(label.text): label.key for label in labels}
    return words.get(folded(key.replace("_", " ")), "OURS")
