"""Labelled photographs from elsewhere: classes mapped, copies joined, and those that a student has
seen in training left out and counted.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mobilekd.data import (
    Dataset,
    called_alike,
    check_place,
    join_copies,
    load,
    map_classes,
    overlapping,
    training_hashes,
)
from mobilekd.data.dataset import WORDS, Notes, some
from mobilekd.data.overlap import OWN
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.runs import Role
from mobilekd.inference.evaluation_set import EvaluationSet, open_evaluation_set
from mobilekd.inference.predictor import Predictor
from mobilekd.support.errors import UserError


@dataclass(frozen=True, eq=False)
class EvaluatedPhotographs:
    """The photographs that judge: labelled, mapped onto the student's classes, unseen in
    training.
    """

    dataset: Dataset
    ids: tuple[str, ...]
    role: str  # test, or all
    left_out: dict[str, Any]
    leaky: bool | None  # None: nobody can know whether it saw them in training


def load_named(table: DataTable) -> Dataset:
    """The data that options name, as much of them as is there; what is wrong with them is told in
    the words of the options, not of a recipe.
    """
    with _in_options():
        return load(table, part=True)


def check_named(table: DataTable) -> None:
    """A ``UserError`` in the same words where a folder or file that options name is missing."""
    with _in_options():
        check_place(table)


#: What messages about data say of a recipe's keys -> what it is as options, in this order.
OPTIONS = (
    (r"(?:--set\s)?\bdata\.columns\.(\w+)=", r"--column \1="),
    (r"\bdata\.columns\.(\w+)(?=:)", r"--column \1"),
    (r"\bdata\.columns\.(\w+)", r"--column \1=NAME"),
    (r"leave its id out with data\.exclude", "name a file with its id (--exclude FILE)"),
    (r"\(data\.exclude = \[(.*?)\] for the first\)", r"(\1 for the first)"),
    (r"(?:--set\s)?\bdata\.kind=(\w+)", r"--data \1"),
    (r"(?:--set\s)?\bdata\.(root|labels|metadata|exclude|origin)\s?=\s?", r"--\1 "),
    (r"\bdata\.(root|labels|metadata|exclude|origin|columns)\b", r"--\1"),
    (r"--columns\b", "--column"),
)


def in_option_words(text: str) -> str:
    """``text`` about a recipe's keys of ``[data]`` in the words of ``evaluate``'s and
    ``calibrate``'s options.
    """
    for written, option in OPTIONS:
        text = re.sub(written, option, text)
    return text


@contextmanager
def _in_options() -> Iterator[None]:
    """Whatever is said, noted or refused of data inside is in the words of options."""
    before = WORDS.set(in_option_words)
    try:
        yield
    except UserError as error:
        raise UserError(in_option_words(str(error))) from None
    finally:
        WORDS.reset(before)


def own_data(
    predictor: Predictor, roles: Sequence[Role] = ("test",), dataset: Dataset | None = None
) -> EvaluationSet:
    """The data that trained it; ``UserError`` where it is not here, or ``dataset`` is not it."""
    return open_evaluation_set(
        predictor.recipe,
        predictor.labels,
        predictor.split,
        predictor.split_hash,
        roles=roles,
        dataset=dataset,
        pixels=predictor.pixels,
    )


def other_data(
    predictor: Predictor, dataset: Dataset, mapping: Mapping[str, str], command: str
) -> EvaluatedPhotographs:
    """All labelled photographs whose class has a place, without those that it has seen; what is
    left out is said in the name of ``command``.
    """
    labelled = int((dataset.targets >= 0).sum())
    mapped, unmapped = map_classes(dataset, mapping, predictor.labels, command)
    mapped.policies.append(predictor.preprocess)
    with _in_options():
        mapped = join_copies(mapped)
    notes = Notes(mapped.notes)
    left_out: dict[str, Any] = {
        "unlabelled": len(dataset.ids) - labelled,
        "unmapped": unmapped,
        "overlap": None,
    }
    seen = np.zeros(len(mapped.ids), bool)
    trained = predictor.training_hashes() or _hash_training_data(predictor)
    if trained is not None:
        salt, hashes = trained
        seen = overlapping(mapped, mapped.ids, hashes, salt)
        left_out["overlap"] = int(seen.sum())
        if (
            mapped.kind in OWN
            and (alike := called_alike(mapped, mapped.ids, hashes, salt) & ~seen).any()
        ):
            called = [name for name, same in zip(mapped.ids, alike, strict=True) if same]
            left_out["called_alike"] = len(called)
            left_out["reason"] = (
                f"{some(called, 'photograph')} of the class and name of one of training, with other"
                " pixels; saved again or resized it would be so, too"
            )
            notes.add(f"{command}: {left_out['reason']}, so overlap with training is unknown")
    else:
        left_out["reason"] = _unknown_overlap(predictor)
        if predictor.split is not None:
            used = {*predictor.split.train, *predictor.split.validation}
            seen = np.array([name in used for name in mapped.ids], dtype=bool)
            left_out["overlap_by_name"] = int(seen.sum())
        notes.add(f"{command}: {left_out['reason']}")
    if seen.any():
        names = [name for name, was_seen in zip(mapped.ids, seen, strict=True) if was_seen]
        notes.add(f"{command}: {some(names, 'photograph')} used in training left out")
    ids = tuple(name for name, was_seen in zip(mapped.ids, seen, strict=True) if not was_seen)
    if not ids:
        raise UserError(
            f"{predictor.name}: every labelled photograph of this data was trained on; {command}"
            " on other photographs"
        )
    leaky = None if "reason" in left_out else False
    return EvaluatedPhotographs(replace(mapped, notes=tuple(notes)), ids, "all", left_out, leaky)


def _unknown_overlap(predictor: Predictor) -> str:
    known = (
        "photographs are compared by name alone"
        if predictor.split is not None
        else "nothing can be compared"
    )
    return (
        "the training photographs are not here and no hashes of them travel along, so"
        f" {known} and overlap with training is unknown; this may be a result on photographs that"
        " were trained on"
    )


def _hash_training_data(predictor: Predictor) -> tuple[str, list[str]] | None:
    try:
        own = own_data(predictor, ("train", "validation"))
    except UserError:
        return None
    made = training_hashes(own.dataset, own.split)
    return made.salt, list(made.hashes)
