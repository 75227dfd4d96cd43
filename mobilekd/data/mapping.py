"""Classes under other names: those of a recipe's data (``data.map``), and those of other data that
judges a model, mapped onto the model's. Explicit, and what has no place is left out and counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mobilekd.data.classes import COLUMNS, NAMES, folded, in_usual_order, normal
from mobilekd.data.classes import labels as labels_of
from mobilekd.data.dataset import Dataset, Notes, some
from mobilekd.formats.labels import Label
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json


def map_classes(
    dataset: Dataset,
    mapping: Mapping[str, str],
    labels: Sequence[Label],
    command: str = "evaluate",
) -> tuple[Dataset, dict[str, int]]:
    """``dataset`` with targets that index ``labels``, and how many photographs of which class were
    left out.

    A class keeps its key where ``labels`` has it (case aside), unless ``mapping`` (``{"SCC":
    "akiec"}``) sends it elsewhere. What is left out is said in the name of ``command``.
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
                f"{command}: {some(names, 'photograph')} of class {key} left out, because the model"
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


def rename_classes(dataset: Dataset, mapping: Mapping[str, str]) -> Dataset:
    """``dataset`` with its classes called as ``mapping`` (``data.map``) says; those that get one
    name become one class, and a class that is sent to "" is left out. All is counted.

    Known classes come in their usual order (:data:`classes.NAMES`) where all are known, else all
    by name. ``UserError`` for a class that the data does not have.
    """
    theirs = [label.key for label in dataset.classes]
    own = {folded(key): key for key in theirs}
    sent: dict[str, str] = {}
    for source, target in mapping.items():
        key = own.get(folded(source)) or own.get(COLUMNS.get(source.upper(), ""))
        if key is None:
            raise UserError(
                f"data.map: {source} = {target!r}: the data has no class {source}; it has"
                f" {', '.join(theirs)}"
            )
        known = {**{name: name for name in NAMES}, **own}
        wanted = known.get(folded(target), normal(target))
        if sent.setdefault(key, wanted) != wanted:
            raise UserError(
                f"data.map: {key} is sent to {sent[key]!r} and to {wanted!r}; keep one of them"
            )
    place = {key: sent.get(key, key) for key in theirs}
    keys = set(place.values()) - {""}
    if len(keys) < 2:
        raise UserError(
            f"data.map: leaves {some(sorted(keys), 'class')}; a model tells at least two apart"
        )
    order = in_usual_order(keys)
    index = {key: i for i, key in enumerate(order)} | {"": -1}
    moved = np.array([index[place[key]] for key in theirs], dtype=np.int64)
    notes = Notes(dataset.notes)
    for i, key in enumerate(theirs):
        names = [dataset.ids[row] for row in np.flatnonzero(dataset.targets == i)]
        if names and place[key] != key:
            said = f"count as {place[key]}" if place[key] else "left out"
            notes.add(f"data.map: {some(names, 'photograph')} of class {key} {said}")
    targets = np.where(dataset.targets >= 0, moved[dataset.targets], -1)
    kept = np.flatnonzero((dataset.targets < 0) | (targets >= 0))
    return replace(
        dataset.subset(kept),
        targets=targets[kept],
        classes=labels_of(order),
        notes=tuple(notes),
        hash=sha256_json([dataset.hash, "map", [[key, place[key]] for key in theirs]]),
    )


def _nearest(key: str, labels: Sequence[Label]) -> str:
    """The model's class of that name in words, else a place to fill in."""
    words = {folded(label.text): label.key for label in labels}
    return words.get(folded(key.replace("_", " ")), "OURS")
