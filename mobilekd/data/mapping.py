"""Evaluating on other data: its classes are mapped onto the model's, explicitly; what has no place
is left out and counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mobilekd.data.dataset import Dataset
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
    ours = {label.key.lower(): i for i, label in enumerate(labels)}
    theirs = [label.key for label in dataset.classes]
    sent = {source.lower(): target.lower() for source, target in mapping.items()}
    for source, target in mapping.items():
        if source.lower() not in {key.lower() for key in theirs}:
            raise UserError(
                f"--map {source}={target}: the data has no class {source}; it has"
                f" {', '.join(theirs)}"
            )
        if target.lower() not in ours:
            raise UserError(
                f"--map {source}={target}: the model has no class {target}; it has"
                f" {', '.join(label.key for label in labels)}"
            )
    place = np.array(
        [ours.get(sent.get(key.lower(), key.lower()), -1) for key in theirs], dtype=np.int64
    )
    targets = np.where(dataset.targets >= 0, place[dataset.targets], -1)
    left_out = {
        key: count
        for (key, count), target in zip(dataset.counts().items(), place, strict=True)
        if target < 0 and count
    }
    kept = np.flatnonzero(targets >= 0)
    if not len(kept):
        raise UserError(
            f"{dataset.kind}: none of its classes ({', '.join(theirs)}) is one of the model's; map"
            " them with --map THEIRS=OURS"
        )
    mapped = replace(
        dataset.subset(kept),
        targets=targets[kept],
        classes=tuple(labels),
        hash=sha256_json([dataset.hash, sorted(sent.items()), [label.key for label in labels]]),
    )
    return mapped, left_out
