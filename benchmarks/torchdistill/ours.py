"""The step in mobilekd: decoded photographs from the store, views drawn in batches, the fastest
engine or the cache for the teacher.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from worker import Step, serve

from mobilekd.data import load, pictures
from mobilekd.formats.data_tables import AugmentTable, DataTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.training_tables import LossTable, StudentTable, TeacherTable, TrainTable
from mobilekd.losses import Objective, Outputs
from mobilekd.students import build
from mobilekd.teachers.engine import fastest
from mobilekd.teachers.logit_cache import LogitCache
from mobilekd.teachers.network import Teacher, build_teacher
from mobilekd.training.descent import train_epoch
from mobilekd.training.loop import DrawnBatch, Trainer
from mobilekd.training.parallel import World
from mobilekd.training.pixels import Drawer, draw_all, predict_logits
from mobilekd.training.schedule import TrainingImages
from mobilekd.training.views import Views

FIXED_VIEWS = 2


class Ours:
    """All that a step needs, and one method for each way to take a round of steps."""

    def __init__(self, step: Step, folder: Path) -> None:
        self.step, self.folder = step, folder
        torch.set_num_threads(step.threads)
        torch.manual_seed(0)
        dataset = load(DataTable(kind="folder", root=step.photographs))
        ids = dataset.ids[: step.steps * step.batch]
        storage = pictures(dataset, ids, Preprocess(step.storage, step.storage))
        self.images = TrainingImages(tuple(ids), dataset.targets[dataset.rows(ids)], storage)
        augment = AugmentTable(
            rotation=step.rotation,
            scale=step.scale,
            translate=step.translate,
            brightness=step.jitter,
            contrast=step.jitter,
            saturation=step.jitter,
            hue=step.hue,
        )
        self.views = Views(augment, Preprocess(step.size, step.size))
        self.drawer = Drawer(self.images, self.views, 0, torch.device("cpu"))
        network = build_teacher(TeacherTable(model=step.teacher), step.classes)
        self.teacher = Teacher(network)
        example = torch.rand(step.batch, 3, step.size, step.size) * 2 - 1
        self.engine, self.engine_name = fastest(self.teacher, example, photographs=10**6)
        self.student = build(StudentTable(width=step.student_width), step.classes)
        self.trainers = {views: self._trainer(views) for views in (0, FIXED_VIEWS)}
        self.forward = self.trainers[0]._compiled(10**6)
        self.cache = LogitCache(folder, what="benchmark")
        self.filled = 0
        for _ in range(FIXED_VIEWS):
            self.fill()

    def _trainer(self, views: int) -> Trainer:
        step = self.step
        tables = [
            LossTable(name="cross_entropy", weight=step.alpha),
            LossTable(
                name="hinton", weight=1 - step.alpha, options={"temperature": step.temperature}
            ),
        ]
        table = TrainTable.model_validate(
            {
                "epochs": 10**6,
                "batch_size": step.batch,
                "lr": step.lr,
                "weight_decay": step.weight_decay,
                "ema": 0.0,
                "balance": "none",
                "views": views,
                "compile": step.compile,
                "threads": step.threads,
            }
        )
        return Trainer(
            self.student,
            Objective(tables, classes=step.classes),
            table,
            self.views,
            classes=step.classes,
            seed=0,
            folder=self.folder,
            world=World(),
            what="benchmark",
            identity="",
            view_seed=0,
        )

    def _epoch(self, views: int) -> int:
        """The training loop's own epoch over the photographs of one round, without validation and
        checkpoint.
        """
        trainer = self.trainers[views]
        feed = self._cached if views else self._fresh
        trainer.run_epoch(self.forward, self.images, self.drawer, feed, self.step.steps)
        trainer.epoch += 1
        return len(self.images.ids)

    def _fresh(self, batch: DrawnBatch) -> Outputs:
        return Outputs(self.engine(batch.x))

    def _cached(self, batch: DrawnBatch) -> Outputs:
        names = [self.images.ids[row] for row in batch.rows]
        return Outputs(torch.from_numpy(self.cache.logits(batch.view, names)))

    def fresh(self) -> int:
        """Fresh views, the teacher runs."""
        return self._epoch(0)

    def cached(self) -> int:
        """Fixed views, drawn again; the teacher's outputs from the cache."""
        return self._epoch(FIXED_VIEWS)

    def fill(self) -> int:
        """What a fixed view costs once: drawn, and the teacher's outputs written."""
        drawn = draw_all(
            self.views, self.images, self.drawer.key, self.filled, torch.device("cpu")
        ).numpy()
        row_of = {name: row for row, name in enumerate(self.images.ids)}

        def compute(names: Sequence[str]) -> np.ndarray:
            chosen = drawn[[row_of[name] for name in names]]
            return predict_logits(
                self.engine, self.views, chosen, torch.device("cpu"), self.step.batch
            )

        self.cache.fill(self.filled, self.images.ids, compute)
        self.filled += 1
        return len(drawn)

    def floor(self) -> int:
        """The student's arithmetic alone: forward, loss, backward, optimiser on pixels and teacher
        outputs at hand.
        """
        step, trainer = self.step, self.trainers[0]
        x = torch.rand(step.batch, 3, step.size, step.size).to(memory_format=torch.channels_last)
        target, taught = (
            torch.zeros(step.batch, dtype=torch.int64),
            Outputs(torch.zeros(step.batch, step.classes)),
        )
        trainer.model.train()
        train_epoch(
            trainer.optimizer,
            [np.arange(step.batch)] * step.steps,
            lambda _, rows: trainer._losses(self.forward, x, target, taught, 0.0)[0].mean(),
            rate=lambda _: step.lr,
        )
        return step.steps * step.batch


def main() -> None:
    step = Step.from_arguments()
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(step, Path(folder))
        networks = (ours.teacher.network, ours.student)
        parameters = [sum(value.numel() for value in network.parameters()) for network in networks]
        modes = {"fresh": ours.fresh, "cached": ours.cached, "fill": ours.fill, "floor": ours.floor}
        serve(
            modes,
            {
                "parameters": parameters,
                "torch": torch.__version__,
                "teacher_engine": ours.engine_name,
            },
        )


if __name__ == "__main__":
    main()
