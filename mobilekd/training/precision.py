"""Which number format a training step on CUDA computes in: chosen by timing it, because neither
always wins.

bfloat16 halves the memory traffic, but its casts are more kernels, and a small network at a small
batch waits for kernels to be launched and not for memory: on an H200 a MobileNetV2-0.35 at 128
pixels trains 1.7 times faster without (``benchmarks/training/steps.py``).
"""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: Steps that are timed in each format; the first ones, which load kernels, are not.
WARM_UP, TIMED = 3, 10


def autocast_pays(model: nn.Module, x: Tensor) -> bool:
    """Whether forward and backward of ``model`` on ``x`` ``[B, 3, H, W]`` are faster in bfloat16;
    False off CUDA.
    """
    if x.device.type != "cuda":
        return False
    trial = copy.deepcopy(model).train()
    with torch.random.fork_rng([x.device]):
        plain, cast = (_seconds(trial, x, amp) for amp in (False, True))
    return cast < plain


def _seconds(model: nn.Module, x: Tensor, amp: bool) -> float:
    began = 0.0
    for step in range(WARM_UP + TIMED):
        if step == WARM_UP:
            torch.cuda.synchronize(x.device)
            began = time.perf_counter()
        with tf32(x.device):
            with torch.autocast("cuda", torch.bfloat16, enabled=amp):
                loss = model(x).float().square().mean()
            loss.backward()
    torch.cuda.synchronize(x.device)
    return time.perf_counter() - began


@contextmanager
def tf32(device: torch.device) -> Iterator[None]:
    """Let convolutions on CUDA take TF32 for a training step; what judges and teaches keeps float32
    whole.
    """
    if device.type != "cuda":
        yield
        return
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = False
