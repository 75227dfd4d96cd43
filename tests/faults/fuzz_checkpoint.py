"""The smallest training that goes on from a checkpoint, for ``fuzz_targets.checkpoint``."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mobilekd.formats.data_tables import AugmentTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.training_tables import LossTable, TrainTable
from mobilekd.losses import Objective
from mobilekd.training.loop import Trainer
from mobilekd.training.parallel import World
from mobilekd.training.schedule import TrainingImages, Validation
from mobilekd.training.views import Views

SIZE, CLASSES, COUNT = 8, 3, 4


class Network(nn.Module):
    """A batch norm and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.classifier = nn.Linear(3, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.norm(x).mean((2, 3)))


def trainer(folder: Path) -> Callable[[], object]:
    """A function that trains one epoch into ``folder``, or goes on from its checkpoint."""
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 3, SIZE, SIZE), dtype=np.uint8)
    targets = np.arange(COUNT) % CLASSES
    table = TrainTable(epochs=1, batch_size=2, compile="no", ema=0.5)

    def go() -> object:
        torch.manual_seed(0)
        trainer = Trainer(
            Network(),
            Objective((LossTable(name="cross_entropy"),), classes=CLASSES),
            table,
            Views(AugmentTable(), Preprocess(SIZE, SIZE)),
            classes=CLASSES,
            seed=0,
            folder=folder,
            world=World(),
            what="odd",
            identity="one",
            view_seed=0,
        )
        images = TrainingImages(tuple("abcd"), targets, pixels)
        with contextlib.redirect_stderr(io.StringIO()):
            trainer.restore()
            return trainer.fit(images, Validation(pixels, targets), None)

    return go


def read(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def write(state: Any, path: Path) -> None:
    torch.save(state, path)
