"""One epoch of training: for each batch a loss, its gradients and a step of the optimiser.

``Trainer`` (:mod:`mobilekd.training.loop`) repeats it with teachers, several processes and
checkpoints around it; quantisation-aware training repeats it on a rounded graph.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor


def train_epoch(
    optimizer: torch.optim.Optimizer,
    batches: Iterable[np.ndarray],
    loss: Callable[[int, np.ndarray], Tensor],
    *,
    rate: Callable[[int], float],
    first_step: int = 0,
    backward: Callable[[Tensor], None] = torch.autograd.backward,
    after_step: Callable[[int], None] = lambda step: None,
) -> None:
    """One step of ``optimizer`` for each batch of rows (int ``[B]``).

    Steps are counted on from ``first_step``. ``rate`` gives a step's learning rate, ``loss`` the
    scalar to lower for a step and its rows, ``backward`` turns that into gradients.
    """
    for step, rows in enumerate(batches, first_step):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        value = loss(step, rows)
        optimizer.zero_grad(set_to_none=True)
        backward(value)
        optimizer.step()
        after_step(step)
