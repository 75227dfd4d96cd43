"""What is trained on, in which order, at which rate: all pure functions of the recipe, the seed and
the epoch.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from mobilekd.formats.pictures import Pictures
from mobilekd.formats.training_tables import TrainTable
from mobilekd.support.errors import UserError
from mobilekd.support.words import counted


@dataclass(frozen=True)
class TrainingImages:
    """Photographs at storage size, ``targets`` -1 where there is no label."""

    ids: tuple[str, ...]
    targets: np.ndarray  # int64 [N]
    storage: Pictures  # uint8 [N, 3, h, w]
    #: share of an epoch's draws that have no label; 0 leaves it to their number
    unlabelled_share: float = 0.0
    #: how many are drawn in an epoch, where it is not as many as there are
    draws: int | None = None

    @property
    def epoch_size(self) -> int:
        """How many are drawn in an epoch."""
        return self.draws or len(self.ids)


@dataclass(frozen=True)
class Validation:
    """Preprocessed photographs that choose and calibrate."""

    inputs: Pictures  # uint8 [N, 3, H, W]
    targets: np.ndarray  # int64 [N]


def epoch_order(
    images: TrainingImages, table: TrainTable, classes: int, seed: int, epoch: int
) -> np.ndarray:
    """Rows in the order of one epoch, ``[images.epoch_size]``: a permutation (one after another,
    where it asks for more), or draws that even the classes out.

    ``sampling`` gives every class the same share, ``sqrt_sampling`` shares by the square root of
    its count. Photographs without a label keep a plain share, or ``images.unlabelled_share``.
    """
    random = np.random.default_rng([seed, epoch])
    count, size, labelled = len(images.ids), images.epoch_size, images.targets >= 0
    stated = images.unlabelled_share > 0 and not labelled.all()
    power = {"sampling": 1.0, "sqrt_sampling": 0.5}.get(table.balance, 0.0)
    if not power and not stated:
        whole = [random.permutation(count) for _ in range(math.ceil(size / count))]
        return np.concatenate(whole)[:size]
    counts = np.bincount(images.targets[labelled], minlength=classes).clip(1)
    weight = np.where(labelled, (counts.mean() / counts[images.targets]) ** power, 1.0)
    if stated:
        weight[labelled] *= (1 - images.unlabelled_share) / weight[labelled].sum()
        weight[~labelled] = images.unlabelled_share / (~labelled).sum()
    return random.choice(count, size, p=weight / weight.sum())


def batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Global batches of ``size`` rows; the last short one is dropped unless it is the only one."""
    whole = max(1, len(order) // size)
    for step in range(whole):
        yield order[step * size : (step + 1) * size]


def class_weights(targets: np.ndarray, classes: int) -> np.ndarray:
    """Inverse class frequency with mean 1 over photographs, float32 ``[C]``."""
    counts = np.bincount(targets[targets >= 0], minlength=classes).clip(1)
    return (counts.sum() / (classes * counts)).astype(np.float32)


def log_priors(targets: np.ndarray, classes: int) -> np.ndarray:
    """Log class frequency, float32 ``[C]``, added to the logits of the supervised loss (arXiv
    2007.07314).
    """
    counts = np.bincount(targets[targets >= 0], minlength=classes).clip(1)
    return np.log(counts / counts.sum()).astype(np.float32)


class Imbalance(TypedDict):
    """How the supervised loss evens classes out; both None where it does not."""

    class_weights: Tensor | None  # float32 [C]
    log_priors: Tensor | None  # float32 [C]


def imbalance(table: TrainTable, targets: np.ndarray, classes: int) -> Imbalance:
    """What the supervised loss needs for ``table.balance``: keyword arguments of ``Objective``."""
    weights, priors = table.balance == "weighted", table.balance == "logit_adjustment"
    return {
        "class_weights": torch.from_numpy(class_weights(targets, classes)) if weights else None,
        "log_priors": torch.from_numpy(log_priors(targets, classes)) if priors else None,
    }


def check_batch(
    stage: str, table: TrainTable, photographs: int | None = None, ranks: int = 1
) -> None:
    """A ``UserError`` where a step would give batch normalisation one photograph, or a rank none.

    ``stage`` is the table's name in the recipe; ``photographs`` are those to train on, if they were
    counted yet.
    """
    least = max(2, ranks)
    each = f"{least} photographs a step, since batch normalisation compares them"
    if ranks > 2:
        each = f"{least} photographs a step, one for each process"
    if table.batch_size < least:
        raise UserError(
            f"{stage}.batch_size = {table.batch_size}: training needs {each}; set"
            f" {stage}.batch_size={least} or more"
        )
    if photographs is not None and photographs < least:
        raise UserError(
            f"split: {counted(photographs, 'photograph')} to train on, and training needs {each};"
            " add photographs, or lower split.validation and split.test"
        )


def learning_rate(table: TrainTable, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up, then a cosine down to zero."""
    total = table.epochs * steps_per_epoch
    warmup = table.warmup_epochs * steps_per_epoch
    if step < warmup:
        return table.lr * (step + 1) / warmup
    return cosine(table.lr, step - warmup, total - warmup)


def cosine(lr: float, step: float, steps: float) -> float:
    """From ``lr`` at step 0 down to zero at step ``steps`` (arXiv 1608.03983, without restarts)."""
    return lr * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))


def make_optimizer(parameters: Sequence[nn.Parameter], table: TrainTable) -> torch.optim.Optimizer:
    """AdamW or SGD with Nesterov momentum; biases and normalisation are not decayed."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": table.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # one kernel for all parameters; on the CPU torch's own choice
    fused = all(p.is_cuda for p in parameters) or None
    if table.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=table.lr, fused=fused)
    return torch.optim.SGD(groups, lr=table.lr, momentum=0.9, nesterov=True, fused=fused)
