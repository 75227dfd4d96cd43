"""Two gloo processes compute the gradients and statistics of one, to the last digits of float64."""

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import nn

from mobilekd.parallel import World
from mobilekd.recipe import StudentTable
from mobilekd.students import build

BATCH = 8


def network() -> nn.Module:
    torch.manual_seed(0)
    return build(StudentTable(dropout=0), 7).double()


def step(model: nn.Module, x: torch.Tensor, target: torch.Tensor) -> None:
    (nn.functional.cross_entropy(model(x), target, reduction="none").sum() / BATCH).backward()


def worker(rank: int, size: int, folder: str, x: torch.Tensor, target: torch.Tensor) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    world = World(rank, size)
    model = network().train()
    world.synchronise_batch_norm(model)
    step(model, x[rank::size], target[rank::size])
    world.sum_gradients(list(model.parameters()))
    torch.save([model.state_dict(), [p.grad for p in model.parameters()]], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("size", [2])
def test_gradients_and_statistics_are_those_of_one_process(tmp_path: Path, size: int) -> None:
    x = torch.randn(BATCH, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    target = torch.arange(BATCH) % 7
    alone = network().train()
    before = copy.deepcopy(alone.state_dict())
    step(alone, x, target)
    multiprocessing.spawn(worker, (size, str(tmp_path), x, target), nprocs=size)
    for rank in range(size):
        state, gradients = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in alone.state_dict().items():
            assert torch.allclose(value, state[name], rtol=1e-9, atol=1e-9), name
        for mine, theirs in zip(alone.parameters(), gradients, strict=True):
            assert mine.grad is not None
            assert torch.allclose(mine.grad, theirs, rtol=1e-6, atol=1e-9 * float(mine.grad.abs().max() + 1))
    assert any(not torch.equal(before[name], value) for name, value in alone.state_dict().items() if "running_mean" in name)
