"""What teach and distill share: a recipe's data read, checked and split, its photographs at hand,
its views.

Everything here happens before an epoch is spent, so a broken photograph or a wrong table ends the
run at once.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mobilekd.data import (
    Dataset,
    check_photographs,
    difference,
    generate_unlabelled,
    join_copies,
    load,
    load_unlabelled,
    make_split,
    overlap_hashes,
    overlapping,
    photograph_sizes,
    pictures,
    say_roles,
    with_pixels,
)
from mobilekd.data.dataset import Notes, some
from mobilekd.data.joined_pictures import first, joined
from mobilekd.formats.data_tables import AugmentTable, DataTable, SplitTable, UnlabelledTable
from mobilekd.formats.document import Document, read_document
from mobilekd.formats.pictures import Pictures, Policy
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import shape
from mobilekd.formats.runs import NO_LESIONS, SPLIT, Split, read_split
from mobilekd.formats.teacher import RECORD, TeacherRecord, taught_before
from mobilekd.formats.training_tables import TeacherTable, TrainTable
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json, write_json
from mobilekd.support.progress import say
from mobilekd.support.words import counted
from mobilekd.training.schedule import TrainingImages, Validation
from mobilekd.training.storage import Storage
from mobilekd.training.views import Views


@dataclass(frozen=True)
class Experiment:
    """Photographs that were read, checked and split, and how a model takes them."""

    dataset: Dataset
    split: Split
    preprocess: Preprocess
    augment: AugmentTable
    seed: int
    data: DataTable
    unlabelled_table: UnlabelledTable | None = None  # None: labelled photographs alone
    models: tuple[Preprocess, ...] = ()  # how the teachers take a photograph
    _images: dict[Storage, TrainingImages] = field(default_factory=dict, repr=False, compare=False)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.dataset.classes)

    @property
    def views(self) -> Views:
        """How training photographs are varied."""
        return Views(self.augment, self.preprocess)

    def storage(self, preprocess: Preprocess) -> Storage:
        """How the photographs wait for a model that takes ``preprocess``."""
        return Storage.for_sizes(preprocess, self._sizes)

    @cached_property
    def _sizes(self) -> list[tuple[int, int]]:
        return photograph_sizes(self.dataset, self.split.train)

    @cached_property
    def unlabelled(self) -> tuple[tuple[Dataset, tuple[str, ...]], ...]:
        """The recipe's folders of unlabelled photographs, each with those of it that join: none
        that the data set or an earlier folder holds, under whatever name.
        """
        known: set[str] = set()
        folders: list[tuple[Dataset, tuple[str, ...]]] = []
        for extra in self._without_labels():
            if not folders:
                known.update(overlap_hashes(self.dataset, self.dataset.ids, ""))
            extra.policies.extend(policies(self._sizes, self.preprocess, *self.models))
            taken = overlapping(extra, extra.ids, known, "")
            more = tuple(name for name, own in zip(extra.ids, taken, strict=True) if not own)
            known.update(overlap_hashes(extra, extra.ids, ""))
            held = [name for name, own in zip(extra.ids, taken, strict=True) if own]
            left = f"; {some(held, 'photograph')} that the data set holds left out" if held else ""
            say(f"data: {some(more, 'unlabelled photograph')} joined to the distillation{left}")
            folders.append((extra, more))
        return tuple(folders)

    def _without_labels(self) -> Iterator[Dataset]:
        if self.unlabelled_table is None:
            return
        for folder in self.unlabelled_table.folders:
            yield load_unlabelled(Path(folder), self.unlabelled_table.licence)
        if self.data.kind == "synthetic" and self.data.without_labels:
            yield generate_unlabelled(self.data)

    @property
    def _share(self) -> float:
        return self.unlabelled_table.share if self.unlabelled_table else 0.0

    @property
    def unlabelled_hash(self) -> str | None:
        """Identifies the unlabelled photographs and their share; None where there are none."""
        if not self.unlabelled:
            return None
        hashes = [extra.hash for extra, _ in self.unlabelled]
        share = self._share
        return hashes[0] if len(hashes) == 1 and not share else sha256_json([hashes, share])

    @property
    def training_targets(self) -> np.ndarray:
        """Labels of the training photographs, int64 ``[N]``."""
        return self.targets(self.split.train)

    @property
    def training_images(self) -> TrainingImages:
        """The training photographs as the student sees them."""
        return self.images(self.preprocess)

    @property
    def labelled_images(self) -> TrainingImages:
        """Those of them that have a place in the data set, drawn as often as all of them are: what
        a control learns from in as many steps.
        """
        images, count = self.training_images, len(self.split.train)
        return TrainingImages(
            images.ids[:count],
            images.targets[:count],
            first(images.storage, count),
            draws=len(images.ids) if len(images.ids) > count else None,
        )

    def images(self, preprocess: Preprocess) -> TrainingImages:
        """The training photographs for a model that takes ``preprocess``, with the unlabelled ones
        behind them; models that share a storage share them.
        """
        storage = self.storage(preprocess)
        if storage not in self._images:
            self._images[storage] = self._read(storage)
        return self._images[storage]

    def _read(self, storage: Storage) -> TrainingImages:
        parts = [pictures(self.dataset, self.split.train, storage)]
        ids, targets = self.split.train, self.training_targets
        for number, (extra, more) in enumerate(self.unlabelled):
            parts.append(pictures(extra, more, storage))
            # folders may use one name for two photographs
            names = more if number == 0 else tuple(f"{number}/{name}" for name in more)
            ids, targets = (*ids, *names), np.concatenate([targets, np.full(len(more), -1)])
        return TrainingImages(ids, targets, joined(parts), self._share)

    @cached_property
    def validation_ids(self) -> tuple[str, ...]:
        """The labelled photographs of validation."""
        labelled = self.targets(self.split.validation) >= 0
        return tuple(np.array(self.split.validation)[labelled].tolist())

    @cached_property
    def validation(self) -> Validation:
        """The photographs that choose and calibrate, as the student takes them."""
        return self.validation_of(self.preprocess)

    def validation_of(self, preprocess: Preprocess) -> Validation:
        """The same as a model of ``preprocess`` takes them."""
        ids = self.validation_ids
        return Validation(self.inputs(ids, preprocess), self.targets(ids))

    def inputs(self, ids: Sequence[str], preprocess: Preprocess | None = None) -> Pictures:
        """Photographs as the student takes them, or a model of another ``preprocess``: uint8 ``[N,
        3, H, W]``.
        """
        return pictures(self.dataset, ids, preprocess or self.preprocess)

    def targets(self, ids: Sequence[str]) -> np.ndarray:
        """Labels of ``ids``, int64 ``[N]``."""
        return self.dataset.targets[self.dataset.rows(ids)]

    def identity(
        self,
        stage: Literal["teach", "pretrain", "train"],
        *parts: Document,
        also: Sequence[str | None] = (),
        preprocess: Preprocess | None = None,
    ) -> str:
        """What a checkpoint must share to be gone on from: all that shapes its weights, and nothing
        else. ``preprocess`` is a teacher's, where it is not the student's.

        Photographs count by what they show, files of weights by their hash in ``also``; where they
        lie counts nowhere.
        """
        return sha256_json(
            [
                self.seed,
                self.split.hash(),
                self.split.pixels,
                [label.key for label in self.dataset.classes],
                stage,
                self.unlabelled_hash,
                (preprocess or self.preprocess).to_dict(),
                shape(self.augment),
                *(shape(table) for table in parts),
                *also,
            ]
        )

    @property
    def split_by(self) -> str:
        """What the split kept together, in the words of ``run.json``."""
        unknown = self.split.by == "lesion" and not self.dataset.lesions_known
        return NO_LESIONS if unknown else self.split.by

    def keep_split(self, folder: Path) -> None:
        """Write the split into a run's folder, where everything that judges the run will
        read it.
        """
        if not (folder / SPLIT).exists():
            write_json(folder / SPLIT, self.split.model_dump(mode="json"))

    def view_seed(self, table: TrainTable) -> int:
        """Fixed views are the same for every seed, so that all of them share one teacher cache;
        fresh ones are not.
        """
        return 0 if table.views else self.seed


def prepare(
    data: DataTable,
    split_table: SplitTable,
    preprocess: Preprocess,
    augment: AugmentTable,
    seed: int,
    *folders: Path,
    unlabelled: UnlabelledTable | None = None,
    models: Sequence[Preprocess] = (),
) -> Experiment:
    """Load, check and split the data; a split that one of ``folders`` holds already must be the
    same. Writes nothing but what the user's store keeps of photographs, in all sizes in which
    ``preprocess`` and the teachers' ``models`` take them.
    """
    dataset = load(data)
    say_roles(dataset, guessed=not data.roles)
    notes: list[str] = []
    split = make_split(dataset, split_table, notes)
    refuse_empty_parts(dataset, split, split_table)
    with suppress(UserError):  # broken headers, too: what follows counts all that is broken
        sizes = photograph_sizes(dataset, split.train)
        dataset.policies.extend(policies(sizes, preprocess, *models))
    hashes = check_photographs(dataset)
    lesions_joined = join_copies(dataset, apart=split_table.by == "photograph", hashes=hashes)
    if lesions_joined.lesions != dataset.lesions:
        notes = []
        split = make_split(lesions_joined, split_table, notes)
        refuse_empty_parts(lesions_joined, split, split_table)
    told = Notes(lesions_joined.notes)
    for note in notes:
        told.add(note)
    dataset = replace(lesions_joined, notes=tuple(told))
    split = with_pixels(dataset, split, hashes)
    for folder in folders:
        path = folder / SPLIT
        if path.exists():
            changed = difference(dataset, read_split(path), split.hash())
            if changed:
                raise UserError(
                    f"{path}: was made from other data or another [split] ({changed}); use another"
                    f" name, or remove {folder} to start again"
                )
    leak = " (LEAKY: lesions are on both sides)" if split.leaky else ""
    made = Experiment(dataset, split, preprocess, augment, seed, data, unlabelled, tuple(models))
    counts = f"{len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test"
    say(f"data: {dataset.kind}, {counts}, split by {made.split_by}{leak}, hash {split.hash()[:12]}")
    return made


def teachers_sizes(tables: Sequence[TeacherTable], student: Preprocess) -> list[Preprocess]:
    """In which sizes the teachers of a recipe take photographs, as far as that is known before they
    are opened.
    """
    found = []
    for table in tables:
        own = Preprocess(table.width or student.width, table.height or student.height)
        if taught_before(table) and table.trained:
            with suppress(UserError):  # opening it says what is wrong
                record = read_document(Path(table.trained) / RECORD, TeacherRecord, "teacher")
                own = Preprocess(**record.preprocess)
        found.append(own)
    return found


def policies(sizes: list[tuple[int, int]], *models: Preprocess) -> list[Policy]:
    """In which sizes photographs of ``sizes`` will be asked for: as each model takes them, and as
    they wait for its views.
    """
    wanted: list[Policy] = [*models, *(Storage.for_sizes(model, sizes) for model in models)]
    return list({sha256_json(policy.rule()): policy for policy in wanted}.values())


#: What each part of a split is for, in a message's words.
PURPOSES = {
    "train": "to learn from",
    "validation": "to choose and calibrate by",
    "test": "to judge by",
}


def refuse_empty_parts(dataset: Dataset, split: Split, table: SplitTable) -> None:
    """Every part is needed at the latest by what comes after training, so an empty one is refused
    before an epoch.
    """
    for role, purpose in PURPOSES.items():
        ids = getattr(split, role)
        if (dataset.targets[dataset.rows(ids)] >= 0).any():
            continue
        held = counted(len(ids), "photograph")
        which = f"has {held}, none of them labelled" if ids else "is empty"
        share = f"split.{role} = {getattr(table, role, 'the rest')}"
        if table.by == "lists":
            share, remedy = str(table.lists), f"list labelled photographs under {role} there"
        elif role == "train":
            remedy = "lower split.validation or split.test, or add photographs"
        else:
            default = SplitTable.model_fields[role].default
            remedy = f"set split.{role} to {default} or more, or add photographs"
        raise UserError(
            f"split: {role} {which} ({share}, {counted(len(dataset), 'photograph')} in all), which"
            f" leaves nothing {purpose}; {remedy}"
        )


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, preprocess: Preprocess) -> int:
    """Multiply-accumulates of convolutions and linear layers for one photograph."""
    counter = FlopCounterMode(display=False)
    device = next(model.parameters()).device
    with counter, torch.no_grad():
        model(torch.zeros(1, 3, preprocess.height, preprocess.width, device=device))
    return int(counter.get_total_flops()) // 2
