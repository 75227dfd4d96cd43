"""One process or several: what ``torchrun`` started, seen from a training loop.

Each rank takes its slice of every global batch, gradients are summed, and batch normalisation sees
the whole global batch, so the result is the single-process one up to the order of floating-point
sums. What stays a rank's own: dropout's and mixup's draws, and the pairs that batch losses (RKD,
DIST's columns, in-batch contrast) form.

A lost rank ends the others: gloo says so at once where a process died, after ``SILENCE`` where a
machine hangs. NCCL's own watchdog ends the process after that time without asking Python, and
torchrun ends its other processes as soon as one died; in every case the last checkpoint is whole
and ``--resume`` goes on from it.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from types import MethodType
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mobilekd.support.errors import UserError

#: A rank that owes the others its gradients for so long is lost.
SILENCE = timedelta(minutes=10)

#: How long ranks wait at a barrier: the leader may be filling teacher caches for hours.
PATIENCE = timedelta(days=2)


class LostRank(UserError):
    """Another rank died or fell silent; nothing is wrong with this one."""


@dataclass(frozen=True)
class World:
    """This process among its peers."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    # the group that barriers use; None is the one that computes
    waiting: dist.ProcessGroup | None = None

    @classmethod
    def from_environment(cls) -> "World":
        """Join torchrun's group when there is one (NCCL on CUDA, gloo on CPU); otherwise a world of
        one.
        """
        cuda = torch.cuda.is_available()
        local = int(os.environ.get("LOCAL_RANK", "0"))
        device = torch.device("cuda", local) if cuda else torch.device("cpu")
        # a training step asks for fewer digits itself; what judges and teaches keeps all of
        # float32's
        if cuda:
            torch.backends.cudnn.allow_tf32 = False
        if "WORLD_SIZE" not in os.environ:
            return cls(device=device)
        waiting = _join("nccl" if cuda else "gloo")
        return cls(dist.get_rank(), dist.get_world_size(), device, waiting)

    @property
    def leader(self) -> bool:
        """Rank 0 writes files and talks."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.size > 1:
            with _together():
                dist.barrier(self.waiting)

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Add up every rank's gradients in one flat message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        _all_reduce(flat)
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def sum(self, values: Tensor) -> Tensor:
        """Add up a tensor of figures over ranks."""
        if self.size > 1:
            _all_reduce(values)
        return values

    def synchronise_batch_norm(self, model: nn.Module) -> None:
        """Let every batch normalisation in ``model`` take its statistics over all ranks while
        training.
        """
        if self.size == 1:
            return
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.forward = MethodType(_synchronised_forward, module)  # type: ignore[method-assign]


@cache
def _join(backend: str) -> dist.ProcessGroup:
    """Join torchrun's group, once in a process; returns the group for waiting."""
    with _together():
        if not dist.is_initialized():
            dist.init_process_group(backend, timeout=SILENCE)
        return cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=PATIENCE))


@contextmanager
def _together() -> Iterator[None]:
    """What every rank must take part in: a failure of the communication is a ``LostRank``.

    gloo raises a bare ``RuntimeError`` for it, whose words differ (closed, reset, timed out), NCCL
    and the store a ``DistError``. What else torch raises here, out of memory for one, is a kind of
    ``RuntimeError`` of its own.
    """
    try:
        yield
    except RuntimeError as error:
        if type(error) is not RuntimeError and not isinstance(error, dist.DistError):
            raise
        reason = re.sub(r"^\[\S*\] ", "", str(error)).partition("\n")[0].partition(". ")[0]
        raise LostRank(
            f"another rank was lost ({reason}); start torchrun again with --resume, which goes on"
            " from the last checkpoint"
        ) from None


def _all_reduce(values: Tensor) -> None:
    """Add up ``values`` over ranks, in place."""
    with _together():
        dist.all_reduce(values)


@torch.library.custom_op("mobilekd::sum_over_ranks", mutates_args=())
def _sum_over_ranks(values: Tensor) -> Tensor:
    """The sum over ranks, with a gradient: every rank's loss depends on every rank's summand.

    An operator, so that torch.compile calls it as it is; its own all-reduce would raise other
    errors for a lost rank.
    """
    total = values.clone()
    _all_reduce(total)
    return total


_sum_over_ranks.register_fake(torch.empty_like)
_sum_over_ranks.register_autograd(lambda context, gradient: _sum_over_ranks(gradient))


def _synchronised_forward(self: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Batch normalisation over ``[B, C, ...]`` with global statistics; timm's fused activation
    follows, if any.
    """
    plain = type(self).forward
    if not self.training:
        return plain(self, x)
    dims, shape = [0, *range(2, x.dim())], (1, -1, *[1] * (x.dim() - 2))
    count = torch.full((1,), float(x.numel() // x.shape[1]), dtype=x.dtype, device=x.device)
    sums = _sum_over_ranks(torch.cat([x.sum(dims), count]))
    total = sums[-1]
    mean = sums[:-1] / total
    # A second pass for the variance: the mean of squares less the squared mean loses float32's
    # digits.
    variance = _sum_over_ranks((x - mean.view(shape)).square().sum(dims)) / total
    with torch.no_grad():
        assert self.running_mean is not None
        assert self.running_var is not None
        momentum = self.momentum or 0.1
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * total / (total - 1), momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
    scale = self.weight * torch.rsqrt(variance + self.eps)
    out = (x - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)
    for name in ("drop", "act"):
        fused = getattr(self, name, None)
        out = fused(out) if fused is not None else out
    return out
