"""The photographs that judge an export, by role and only from the recorded split.

Training photographs calibrate, validation chooses, the test split judges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mobilekd.data import Dataset, difference, inputs, join_copies, load, make_split, pictures
from mobilekd.data.split import ROLES
from mobilekd.formats.labels import Label
from mobilekd.formats.pictures import Pictures
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import Role, Split
from mobilekd.support.errors import UserError


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Labelled photographs as the model takes them."""

    inputs: np.ndarray  # uint8 [N, 3, H, W]
    truth: np.ndarray  # int64 [N]
    lesions: tuple[str, ...]
    origins: tuple[str, ...] = ()  # "" where one is not known


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """A run's data with its split."""

    dataset: Dataset
    split: Split
    preprocess: Preprocess

    def calibration(self, count: int) -> np.ndarray:
        """uint8 ``[count, 3, H, W]``: training photographs, classes in turn, each class in the
        split's own order.
        """
        rows = self.dataset.rows(self.split.train)
        by_class = [
            np.flatnonzero(self.dataset.targets[rows] == target)
            for target in range(len(self.dataset.classes))
        ]
        turns = max((len(members) for members in by_class), default=0)
        chosen = [
            int(members[turn])
            for turn in range(turns)
            for members in by_class
            if turn < len(members)
        ][:count]
        return inputs(self.dataset, [self.split.train[i] for i in chosen], self.preprocess)

    def training(self) -> Pictures:
        """uint8 ``[N, 3, H, W]``: every training photograph."""
        return pictures(self.dataset, self.split.train, self.preprocess)

    def validation(self) -> LabelledImages:
        """What choices are made on."""
        return self._validation

    def test(self) -> LabelledImages:
        """What judges; read once per result."""
        return self._test

    @cached_property
    def _validation(self) -> LabelledImages:
        return self._labelled(self.split.validation)

    @cached_property
    def _test(self) -> LabelledImages:
        return self._labelled(self.split.test)

    def _labelled(self, ids: Sequence[str]) -> LabelledImages:
        rows = self.dataset.rows(ids)
        kept = [
            (name, row)
            for name, row in zip(ids, rows, strict=True)
            if self.dataset.targets[row] >= 0
        ]
        if not kept:
            raise UserError(
                "the split has no labelled photograph to judge by; check the recipe's [split]"
            )
        return LabelledImages(
            inputs(self.dataset, [name for name, _ in kept], self.preprocess),
            self.dataset.targets[[row for _, row in kept]],
            tuple(self.dataset.lesions[row] for _, row in kept),
            tuple(self.dataset.origins[row] for _, row in kept),
        )


def open_evaluation_set(
    recipe: Recipe,
    labels: Sequence[Label],
    split: Split | None,
    split_hash: str,
    *,
    roles: Sequence[Role] = ROLES,
    dataset: Dataset | None = None,
    pixels: Mapping[Role, str] | None = None,
) -> EvaluationSet:
    """A recipe's data; a split that is not at hand is made again, with the ``pixels`` that the run
    kept of it. ``UserError`` where it is not the data that the run was trained on, by all that
    :func:`mobilekd.data.difference` compares.

    ``roles`` are those whose photographs will be asked for: their pixels are compared. A
    ``dataset`` read already stands for the recipe's: the place does not count.
    """
    dataset = dataset or load(recipe.data)
    keys = [label.key for label in labels]
    if [label.key for label in dataset.classes] != keys:
        raise UserError(
            f"{recipe.name}: its classes are {', '.join(keys)}, the data's"
            f" {', '.join(label.key for label in dataset.classes)}, in that order; give the data"
            " that it was trained on"
        )
    dataset.policies.append(recipe.preprocess.to_preprocess())
    if split is None:
        split = _made_again(dataset, recipe, split_hash)
        split = split.model_copy(update={"pixels": dict(pixels or {})})
    if changed := difference(dataset, split, split_hash, roles):
        raise UserError(
            f"{recipe.name}: the data at {recipe.data.root or recipe.data.title} is not what it was"
            f" trained on ({changed}); give that"
        )
    hashed = [name for role in roles if role in split.pixels for name in getattr(split, role)]
    return EvaluationSet(
        join_copies(dataset, hashed, strict=False), split, recipe.preprocess.to_preprocess()
    )


def _made_again(dataset: Dataset, recipe: Recipe, split_hash: str) -> Split:
    """The split by the recipe. Copies were not always one lesion, and finding them costs a decoding
    of every photograph, so the split without them is tried first.
    """
    split = make_split(dataset, recipe.split)
    if split.hash() == split_hash or recipe.split.by == "photograph":
        return split
    return make_split(join_copies(dataset, strict=False), recipe.split)
