"""Quantisation-aware training taught by a teacher (1911.12491): a few epochs on the rounded graph,
batch norms folded.

The rounded student learns the teacher's probabilities; without a teacher at hand the student in
floating point teaches, which is what the rounded one is measured against. Labels are not used, so
nothing here can overfit to them.
"""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, fx

from mobilekd.lowering.quantize.simulate import Simulation, answers
from mobilekd.support.progress import track
from mobilekd.support.words import counted
from mobilekd.training.descent import train_epoch
from mobilekd.training.schedule import cosine

#: uint8 photographs' batch as float32 ``[B, 3, H, W]`` and their rows -> probabilities ``[B, C]``
Teacher = Callable[[Tensor, np.ndarray], Tensor]


def train(
    graph: fx.GraphModule,
    prepared: fx.GraphModule,
    photographs: np.ndarray,
    held: np.ndarray,
    *,
    teacher: Teacher | None,
    epochs: int,
    lr: float,
    batch_size: int = 32,
    seed: int = 0,
) -> str:
    """Train ``prepared`` (calibrated) in place on uint8 ``photographs`` and keep the epoch closest
    to ``graph`` on ``held``.

    The start counts as epoch 0, so training cannot make it worse by that measure. Returns what came
    out, in words.
    """
    random = np.random.default_rng(seed)
    parameters = [value for value in prepared.parameters() if value.is_floating_point()]
    optimizer = torch.optim.AdamW(
        [value.requires_grad_() for value in parameters], lr=lr, weight_decay=0.0
    )
    steps = math.ceil(len(photographs) / batch_size)
    wanted = answers(graph, held)

    def loss(step: int, rows: np.ndarray) -> Tensor:
        batch = _flipped(torch.from_numpy(photographs[rows]).float(), random)
        with torch.no_grad():
            target = teacher(batch, rows) if teacher else _first(graph(batch))
        given = _first(prepared(batch))
        lost = target * (target.clamp(min=1e-8).log() - given.clamp(min=1e-8).log())
        return lost.sum(1).mean()

    with Simulation(prepared) as simulation:
        errors = [_divergence(wanted, simulation.answers(held))]
        best = copy.deepcopy(prepared.state_dict())
        for epoch in track(range(epochs), "quantisation-aware training", epochs):
            order = random.permutation(len(photographs))
            train_epoch(
                optimizer,
                np.split(order, range(batch_size, len(order), batch_size)),
                loss,
                rate=lambda step: cosine(lr, step, epochs * steps),
                first_step=epoch * steps,
            )
            errors.append(_divergence(wanted, simulation.answers(held)))
            if errors[-1] == min(errors):
                best = copy.deepcopy(prepared.state_dict())
        prepared.load_state_dict(best)
    for value in parameters:
        value.requires_grad_(False)
    course = ", ".join(f"{error:.3g}" for error in errors)
    return (
        f"quantisation-aware training, {counted(epochs, 'epoch')}, taught by the student in"
        f" floating point{' and its teachers' if teacher else ''}: divergence from it on"
        f" {len(held)} held-out training photographs by epoch {course}; epoch"
        f" {errors.index(min(errors))} kept"
    )


def _first(answer: Tensor | tuple[Tensor, ...]) -> Tensor:
    return answer[0] if isinstance(answer, (tuple, list)) else answer


def _flipped(batch: Tensor, random: np.random.Generator) -> Tensor:
    axes = [axis for axis in (2, 3) if random.random() < 0.5]
    return batch.flip(axes) if axes else batch


def _divergence(wanted: np.ndarray, given: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence in nats."""
    return float(
        np.mean(
            np.sum(wanted * (np.log(np.maximum(wanted, 1e-8)) - np.log(np.maximum(given, 1e-8))), 1)
        )
    )
