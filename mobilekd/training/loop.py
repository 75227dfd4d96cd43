"""One training loop for teachers and students, on one process or several.

Everything random is a pure function of (seed, epoch, step, photograph), so a checkpoint holds no
generator state and a run that was killed and resumed ends with the same bits as one that was not
(on CPU).
"""

import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mobilekd.formats.runs import METRICS
from mobilekd.formats.training_tables import TrainTable
from mobilekd.losses import Objective, Outputs, Taps
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_bytes
from mobilekd.support.progress import say, time_left, track
from mobilekd.support.words import counted
from mobilekd.training import compiled
from mobilekd.training.descent import train_epoch
from mobilekd.training.parallel import LostRank, World
from mobilekd.training.pixels import Drawer, predict_logits, quick_scores
from mobilekd.training.precision import autocast_pays, tf32
from mobilekd.training.schedule import (
    TrainingImages,
    Validation,
    batches,
    epoch_order,
    learning_rate,
    make_optimizer,
)
from mobilekd.training.state import CHECKPOINT, Average, read_checkpoint
from mobilekd.training.views import Views


@dataclass(frozen=True)
class DrawnBatch:
    """One batch as the student sees it, and what a teacher needs to see the same."""

    rows: np.ndarray  # int64 [B], of TrainingImages
    view: int
    view_seed: int
    x: Tensor  # the student's normalised input, mixed where the recipe asks for it
    mix: Callable[[Tensor], Tensor]  # mixes other normalised inputs of the batch likewise


#: Where a teacher's outputs for a batch come from.
TeacherFeed = Callable[[DrawnBatch], Outputs]


@dataclass
class Clock:
    """Time spent training, added up over resumed stretches."""

    seconds: float = 0.0
    images: int = 0
    started: float = field(default_factory=time.monotonic)

    def total(self) -> float:
        """Seconds until now."""
        return self.seconds + time.monotonic() - self.started


class Trainer:
    """Trains ``model`` under ``objective``; ``fit`` runs to the end, from the checkpoint in
    ``folder`` if asked.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        table: TrainTable,
        views: Views,
        *,
        classes: int,
        seed: int,
        folder: Path,
        world: World,
        what: str,
        identity: str,
        view_seed: int,
        earlier_identity: str = "",
    ) -> None:
        self.model = model.to(  # type: ignore[call-overload]
            world.device, memory_format=torch.channels_last
        )
        self.objective = objective.to(world.device)
        self.table, self.views, self.classes, self.seed = table, views, classes, seed
        self.folder, self.world, self.what, self.view_seed = folder, world, what, view_seed
        self.identity, self.earlier_identity = identity, earlier_identity
        self.metrics = ""  # one line of JSON for every epoch so far
        self.parameters = [
            p for p in (*self.model.parameters(), *self.objective.parameters()) if p.requires_grad
        ]
        self.optimizer = make_optimizer(self.parameters, table)
        self.average = Average(self.model, table.ema)
        self.clock = Clock()
        self.epoch = 0
        self._amp: bool | None = None  # chosen on the first step
        if table.threads:
            torch.set_num_threads(table.threads)

    # ---- the story
    # ------------------------------------------------------------

    def fit(
        self,
        images: TrainingImages,
        validation: Validation | None,
        teacher: TeacherFeed | None,
    ) -> nn.Module:
        """Train to the last epoch and return the model with its averaged weights, in eval mode.
        Without ``validation`` no epoch is judged.
        """
        steps = max(1, images.epoch_size // self.table.batch_size)
        self.clock.started = time.monotonic()
        self.world.synchronise_batch_norm(self.model)
        forward = self._compiled(steps)
        drawer = Drawer(images, self.views, self.view_seed, self.world.device)
        # ranks read photographs each at their own speed; from here on a silent one is lost
        self.world.barrier()
        while self.epoch < self.table.epochs:
            began = time.monotonic()
            try:
                losses = self.run_epoch(forward, images, drawer, teacher, steps)
            except LostRank as lost:
                raise LostRank(f"{self.what}, epoch {self.epoch + 1}: {lost}") from None
            self.epoch += 1
            if not self.table.ema:
                self.average = Average(self.model, 0.0)
            scores = self._validate(validation) if validation else {}
            line = {
                "epoch": self.epoch,
                "lr": self.optimizer.param_groups[0]["lr"],
                "seconds": round(time.monotonic() - began, 2),
                **{f"loss.{name}": round(value, 5) for name, value in losses.items()},
                **scores,
            }
            self.save(line)
            if self.world.leader:
                to_go = (time.monotonic() - began) * (self.table.epochs - self.epoch)
                left = f", {time_left(to_go)}" if to_go else ""
                words = self._words(line)
                say(f"{self.what}: epoch {self.epoch} of {self.table.epochs}, {words}{left}")
        self.model.load_state_dict(self.average.values)
        return self.model.eval()

    def run_epoch(
        self,
        forward: Callable[[Tensor], Tensor],
        images: TrainingImages,
        drawer: Drawer,
        teacher: TeacherFeed | None,
        steps: int,
    ) -> dict[str, float]:
        """One pass over ``images`` in ``steps`` batches; each loss's mean over the batches, by its
        name.
        """
        self.model.train()
        order = epoch_order(images, self.table, self.classes, self.seed, self.epoch)
        view = self.epoch % self.table.views if self.table.views else self.epoch
        sums: dict[str, Tensor] = {}
        shown = track(
            batches(order, self.table.batch_size),
            f"{self.what} epoch {self.epoch + 1} of {self.table.epochs}",
            steps,
            after=(self.table.epochs - self.epoch - 1) * steps,
        )
        first_step = self.epoch * steps

        def loss(step: int, global_rows: np.ndarray) -> Tensor:
            rows = global_rows[self.world.rank :: self.world.size]
            torch.manual_seed(_mix(self.seed, self.epoch, step - first_step, self.world.rank))
            target = torch.from_numpy(images.targets[rows]).to(self.world.device)
            mix = self._mixture(len(rows), step - first_step)
            x = self.views.normalise(drawer.draw(rows, view))
            if mix is not None:
                x, target = mix(x), mix(self._one_hot(target))
            batch = DrawnBatch(rows, view, self.view_seed, x, mix or (lambda other: other))
            taught = teacher(batch) if teacher is not None else None
            progress = step / max(1, self.table.epochs * steps)
            per_example, parts = self._losses(forward, x, target, taught, progress)
            for name, value in parts.items():
                sums[name] = sums.get(name, torch.zeros((), device=self.world.device)) + value
            self.clock.images += len(global_rows)
            # gradients are those of the mean over the global batch
            return per_example.sum() / len(global_rows)

        train_epoch(
            self.optimizer,
            shown if self.world.leader else batches(order, self.table.batch_size),
            loss,
            rate=lambda step: learning_rate(self.table, step, steps),
            first_step=first_step,
            backward=self._backward,
            after_step=self._average,
        )
        means = {
            name: float(self.world.sum(value) / steps / self.world.size)
            for name, value in sums.items()
        }
        if not all(math.isfinite(value) for value in means.values()):
            raise UserError(
                f"{self.what}: the loss became {means} in epoch {self.epoch + 1}; lower train.lr or"
                f" look at the data. The checkpoint of epoch {self.epoch} is kept"
            )
        return means

    def _losses(
        self,
        forward: Callable[[Tensor], Tensor],
        x: Tensor,
        target: Tensor,
        taught: Outputs | None,
        progress: float,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """This rank's losses of one batch, ``[B]``, and their parts by name; ``progress`` is the
        share of all steps that are done.
        """
        if self._amp is None:
            self._amp = autocast_pays(self.model, x)
            if x.is_cuda:
                say(
                    f"{self.what}: computing in {'bfloat16' if self._amp else 'float32'}, the"
                    " faster of both here"
                )
        cast = torch.autocast(x.device.type, torch.bfloat16, enabled=self._amp)
        with tf32(x.device), cast:
            with Taps(self.model, self.objective.student_layers) as taps:
                logits = forward(x)
            per_example, parts = self.objective(
                Outputs(logits.float(), taps.features), taught, target, progress
            )
        return per_example, parts

    def _backward(self, loss: Tensor) -> None:
        """Gradients of ``loss``, added up over ranks."""
        with tf32(self.world.device):
            torch.autograd.backward(loss)
        self.world.sum_gradients(self.parameters)

    def _average(self, step: int) -> None:
        if self.table.ema:
            self.average.update(step)

    # ---- mixup
    # ------------------------------------------------------------

    def _mixture(self, size: int, step: int) -> Callable[[Tensor], Tensor] | None:
        """Mixes each of ``size`` rows with another (arXiv 1710.09412), any tensor of the batch
        alike; None without mixup.
        """
        if not self.table.mixup:
            return None
        random = np.random.default_rng([self.seed, self.epoch, step, self.world.rank])
        share = float(random.beta(self.table.mixup, self.table.mixup))
        other = torch.from_numpy(random.permutation(size)).to(self.world.device)
        return lambda values: share * values + (1 - share) * values[other]

    def _one_hot(self, target: Tensor) -> Tensor:
        """Labels ``[B]`` -> probabilities ``[B, C]``, all 0 where there is no label."""
        one_hot = torch.nn.functional.one_hot(target.clamp_min(0), self.classes).float()
        return one_hot * (target >= 0)[:, None]

    # ---- checks and files
    # ------------------------------------------------------------

    @torch.no_grad()
    def _validate(self, validation: Validation) -> dict[str, float]:
        """Balanced accuracy, accuracy and NLL of the averaged weights on validation."""
        own = {key: value.clone() for key, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.values)
        logits = predict_logits(self.model.eval(), self.views, validation.inputs, self.world.device)
        self.model.load_state_dict(own)
        return quick_scores(logits, validation.targets, self.classes)

    def save(self, line: dict[str, Any]) -> None:
        """Write the checkpoint, then the metrics line; both are atomic, and the checkpoint holds
        every line so far.
        """
        if not self.world.leader:
            return
        self.metrics += json.dumps(line) + "\n"
        buffer = io.BytesIO()
        state = {
            "identity": self.identity,
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "average": self.average.values,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "seconds": self.clock.total(),
            "images": self.clock.images,
            "metrics": self.metrics,
        }
        torch.save(state, buffer)
        write_bytes(self.folder / CHECKPOINT, buffer.getvalue())
        write_bytes(self.folder / METRICS, self.metrics.encode())

    def begin_again(self) -> None:
        """Begin from the model's weights as they are now; they were trained elsewhere."""
        self.average = Average(self.model, self.table.ema)

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one and it belongs to this very recipe and
        data. Writes nothing.
        """
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        state = read_checkpoint(path)
        if state.identity not in (self.identity, self.earlier_identity):
            raise UserError(
                f"{path}: belongs to another recipe, split or teacher; resume with the recipe that"
                f" it was begun with, or use another name (--set name=...)"
            )
        if state.epoch > self.table.epochs:
            raise UserError(
                f"{path}: is of epoch {state.epoch} and the recipe has {self.table.epochs};"
                " remove it and start again"
            )
        state.load_into(path, self.model, self.objective, self.optimizer)
        self.epoch, self.metrics = state.epoch, state.metrics
        self.average.values = {
            key: value.to(self.world.device) for key, value in state.average.items()
        }
        self.clock = Clock(state.seconds, state.images)
        if self.world.leader:
            say(f"{self.what}: going on after epoch {self.epoch}")

    def _compiled(self, steps: int) -> Callable[[Tensor], Tensor]:
        """The model's forward, compiled when that pays over all epochs of ``steps`` steps, and
        nothing has to look inside.

        What is left of a resumed run does not count: compiled and eager steps differ in their last
        bits.
        """
        # on CUDA it was not seen to pay
        long = steps * self.table.epochs >= compiled.PAYS_AFTER and self.world.device.type == "cpu"
        wanted = self.table.compile == "yes" or (self.table.compile == "auto" and long)
        if wanted and self.objective.student_layers:
            say(f"{self.what}: eager, because feature losses look at layers inside")
            wanted = False
        if self.world.leader:
            to_go = steps * (self.table.epochs - self.epoch)
            say(
                f"{self.what}: {counted(to_go, 'step')} to go, {'compiled' if wanted else 'eager'},"
                f" channels_last, {self.world.device}"
            )
        return compiled.compiled_or_eager(self.model, self.what) if wanted else self.model

    @staticmethod
    def _words(line: dict[str, Any]) -> str:
        losses = ", ".join(
            f"{key.removeprefix('loss.')} {value:.3f}"
            for key, value in line.items()
            if key.startswith("loss.")
        )
        seconds = f"({line['seconds']:.0f} s)"
        if "balanced_accuracy" not in line:
            return f"{losses} {seconds}"
        return (
            f"{losses}; validation balanced accuracy {line['balanced_accuracy']:.3f}, nll"
            f" {line['nll']:.3f} {seconds}"
        )


def _mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(2, np.uint64)[0] >> np.uint64(1))
