"""Two gloo processes compute what one does, share one teacher cache, and survive the loss of one of
them.
"""

import copy
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from fixtures.recipes import PLAIN
from fixtures.teachers import believe
from fixtures.warm import FORKSERVER, command, ended, free_port, rank_of_two, start
from safetensors.torch import load_file
from torch import nn
from torch.multiprocessing import start_processes

from mobilekd.cli import main
from mobilekd.commands.teach import teach
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.training_tables import StudentTable
from mobilekd.students import build
from mobilekd.teachers.logit_cache import LogitCache
from mobilekd.training.parallel import World

BATCH = 8

#: Whether the layers normalise ``[B, C]`` instead of pictures.
FLAT = (False, True)

SMALL = [
    "data.count=140",
    "data.size=40",
    "preprocess.width=32",
    "preprocess.height=32",
    "train.batch_size=16",
    "train.threads=1",
    "teach.epochs=1",
    "teach.batch_size=16",
    "teach.threads=1",
    "student.model=mobilenetv2",
    "student.width=0.35",
]
ALONE = [
    *SMALL,
    "teachers=[]",
    'losses=[{name="cross_entropy"}]',
    "train.views=0",
    "train.epochs=6",
]
TAUGHT = [*SMALL, "teachers=[{model='test_resnet'}]"]


def run_rank(silence: int, words: list[str]) -> None:
    """The command line, where a rank that is silent for so many seconds is lost (in earnest it is
    ten minutes), and where views take three seconds more to compute, so that a rank that does not
    wait for them comes too early.
    """
    from mobilekd.training import parallel

    def late(*given: object) -> object:
        time.sleep(3)
        return fill(*given)

    fill, LogitCache.fill = LogitCache.fill, late
    parallel.SILENCE = datetime.timedelta(seconds=silence)
    command(words)


def arguments(runs: Path, overrides: list[str], *more: str) -> list[str]:
    return [
        "distill",
        PLAIN,
        "--no-control",
        "--runs",
        str(runs),
        *more,
        *(word for one in overrides for word in ("--set", one)),
    ]


def start_rank(
    rank: int, port: int, words: list[str], log: Path, silence: int = 600
) -> BaseProcess:
    """One of two ranks as torchrun starts it, but without torchrun, which ends the other ranks when
    one dies.
    """
    return start(run_rank, silence, words, log=log, environment=rank_of_two(rank, port))


def both(folder: Path, words: list[str]) -> list[str]:
    """Run two ranks to their end; what each printed."""
    port, logs = free_port(), [folder / f"{rank}.log" for rank in (0, 1)]
    ranks = [start_rank(rank, port, words, log) for rank, log in enumerate(logs)]
    codes = [ended(rank, 300) for rank in ranks]
    said = [log.read_text() for log in logs]
    assert codes == [0, 0], "\n".join(said)
    return said


def weights(runs: Path) -> dict[str, torch.Tensor]:
    return load_file(runs / "demo" / "student.safetensors")


def network(flat: bool) -> nn.Module:
    """A student, or layers that normalise ``[B, C]`` as LeViT does."""
    torch.manual_seed(0)
    if not flat:
        return build(StudentTable(dropout=0), 7).double()
    layers = (
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 7),
    )
    return nn.Sequential(*layers).double()


def step(model: nn.Module, x: torch.Tensor, target: torch.Tensor) -> None:
    (nn.functional.cross_entropy(model(x), target, reduction="none").sum() / BATCH).backward()


def worker(rank: int, size: int, folder: str, x: torch.Tensor, target: torch.Tensor) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    world = World(rank, size)
    for flat in FLAT:
        model = network(flat).train()
        world.synchronise_batch_norm(model)
        step(model, x[rank::size], target[rank::size])
        world.sum_gradients(list(model.parameters()))
        gradients = [p.grad for p in model.parameters()]
        torch.save([model.state_dict(), gradients], f"{folder}/{rank}-{flat}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def photographs() -> tuple[torch.Tensor, torch.Tensor]:
    """``float64[B, 3, 64, 64]`` and the classes of these photographs."""
    drawn = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, 3, 64, 64, dtype=torch.float64, generator=drawn)
    return x, torch.arange(BATCH) % 7


@pytest.fixture(scope="module")
def two_ranks(
    tmp_path_factory: pytest.TempPathFactory, photographs: tuple[torch.Tensor, torch.Tensor]
) -> Path:
    """What each of two ranks has after one step of each network."""
    folder = tmp_path_factory.mktemp("ranks")
    start_processes(worker, (2, str(folder), *photographs), 2, start_method=FORKSERVER)
    return folder


@pytest.mark.parametrize("flat", FLAT)
def test_gradients_and_statistics_are_those_of_one_process(
    two_ranks: Path, photographs: tuple[torch.Tensor, torch.Tensor], flat: bool
) -> None:
    alone = network(flat).train()
    before = copy.deepcopy(alone.state_dict())
    step(alone, *photographs)
    for rank in range(2):
        state, gradients = torch.load(two_ranks / f"{rank}-{flat}.pt", weights_only=True)
        for name, value in alone.state_dict().items():
            assert torch.allclose(value, state[name], rtol=1e-9, atol=1e-9), name
        for mine, theirs in zip(alone.parameters(), gradients, strict=True):
            assert mine.grad is not None
            assert torch.allclose(
                mine.grad, theirs, rtol=1e-6, atol=1e-9 * float(mine.grad.abs().max() + 1)
            )
    assert any(
        not torch.equal(before[name], value)
        for name, value in alone.state_dict().items()
        if "running_mean" in name
    )


def deserter(rank: int, size: int, folder: str) -> None:
    """Rank 1 leaves after a compiled step; rank 0 notes what the next one raises."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    World(rank, size).synchronise_batch_norm(model)
    forward = torch.compile(model, backend="aot_eager", fullgraph=True)
    x = torch.randn(4, 3, 8, 8)
    forward(x).sum().backward()
    if rank == 1:
        os._exit(0)
    try:
        forward(x).sum().backward()
    except Exception as error:
        Path(folder, "raised").write_text(f"{type(error).__name__}: {error}")


def test_compiled_code_says_too_that_a_rank_was_lost(tmp_path: Path) -> None:
    start_processes(deserter, (2, str(tmp_path)), 2, start_method=FORKSERVER)
    assert (tmp_path / "raised").read_text().startswith("LostRank: another rank was lost (")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks make of ``ALONE`` when neither is lost."""
    folder = tmp_path_factory.mktemp("undisturbed")
    both(folder, arguments(folder / "runs", ALONE))
    return folder / "runs"


@pytest.mark.parametrize(("lost", "how"), [(1, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_a_lost_rank_ends_the_other_with_one_line(tmp_path: Path, lost: int, how: int) -> None:
    """Killed, or silent like a machine that hangs: the other ends with 2."""
    lose(tmp_path, lost, how)


def test_after_a_lost_rank_resume_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: Path
) -> None:
    """The leader, which writes the checkpoints, is lost; torchrun goes on from its last one."""
    lose(tmp_path, 0, signal.SIGKILL)
    runs = tmp_path / "runs"
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        f"--master-port={free_port()}",
        "-m",
        "mobilekd",
    ]
    subprocess.run(
        [*launch, *arguments(runs, ALONE, "--resume")],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    steps = [
        json.loads(line)["epoch"]
        for line in (runs / "demo" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, 7))
    for name, value in weights(undisturbed).items():
        assert torch.equal(value, weights(runs)[name]), name


def lose(tmp_path: Path, lost: int, how: int) -> None:
    """Start two ranks, lose one after the first checkpoint, and judge how the other ends."""
    runs, port = tmp_path / "runs", free_port()
    silence = 20 if how == signal.SIGSTOP else 600
    ranks = [
        start_rank(rank, port, arguments(runs, ALONE), tmp_path / f"{rank}.log", silence)
        for rank in (0, 1)
    ]
    deadline = time.monotonic() + 300
    while not (runs / "demo" / "checkpoint.pt").exists():
        assert all(rank.is_alive() for rank in ranks), "the run ended before a rank could be lost"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(ranks[lost].pid or 0, how)
    try:
        code = ended(ranks[1 - lost], 100)
    finally:
        for rank in ranks:
            rank.kill()
            rank.join()
    errors = (tmp_path / f"{1 - lost}.log").read_text()
    lines = [line for line in errors.splitlines() if line.startswith("mobilekd ")]
    assert code == 2, errors
    assert len(lines) == 1
    assert errors.splitlines()[-1] == lines[0]
    assert lines[0].startswith("mobilekd distill: demo, epoch ")
    assert "another rank was lost (" in lines[0]
    assert "start torchrun again with --resume" in lines[0]
    assert "Traceback" not in errors
    assert not (runs / "demo" / "run.json").exists()


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a teacher; whether it knows much is not what is tested here, so it is written
    down that it does.
    """
    runs = tmp_path_factory.mktemp("taught")
    (folder,) = teach(load_recipe(PLAIN, TAUGHT), runs)
    believe(folder)
    return folder


def test_two_ranks_share_the_cache_that_the_leader_fills(tmp_path: Path, taught: Path) -> None:
    """The tolerance of test_distill.py: the weights lie apart by less than a quarter of the way
    that they moved.
    """
    alike = [
        *TAUGHT,
        f"teachers.0.trained='{taught}'",
        "student.dropout=0",
        "preprocess.width=32",
        "train.optimizer=sgd",
        "train.lr=1e-3",
        "train.warmup_epochs=0",
        "train.epochs=2",
        "train.ema=0",
        "train.views=2",
        "train.batch_size=64",
    ]
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(arguments(one, alike)) == 0
    said = both(tmp_path, arguments(two, alike))
    filling = "teachers: 2 views to compute once"
    assert filling in said[0]
    assert filling not in said[1]
    files = [
        {path.name: path for path in (runs / ".cache" / "teachers").glob("*/view-*.npz")}
        for runs in (one, two)
    ]
    assert sorted(files[0]) == sorted(files[1]) == ["view-000.npz", "view-001.npz"]
    for name, path in files[0].items():
        mine, theirs = np.load(path), np.load(files[1][name])
        assert np.array_equal(mine["ids"], theirs["ids"])
        assert np.array_equal(mine["logits"], theirs["logits"])
    torch.manual_seed(0)
    begin = dict(build(load_recipe(PLAIN, alike).student, 7).named_parameters())
    first, second = weights(one), weights(two)
    moved = sum(float((first[name] - value.detach()).pow(2).sum()) for name, value in begin.items())
    apart = sum(float((first[name] - second[name]).pow(2).sum()) for name in begin)
    assert moved > 0
    assert (apart / moved) ** 0.5 < 0.25, f"{apart**0.5} apart after moving by {moved**0.5}"


def test_a_rank_reads_the_views_that_the_leader_completed(tmp_path: Path, taught: Path) -> None:
    """A cache that misses photographs: a rank that looked into it before the leader was done must
    not keep what it saw.
    """
    recipe = [*TAUGHT, f"teachers.0.trained='{taught}'", "train.views=1", "train.epochs=1"]
    runs = tmp_path / "runs"
    both(tmp_path, arguments(runs, recipe))
    (path,) = (runs / ".cache" / "teachers").glob("*/view-000.npz")
    whole = dict(np.load(path))
    np.savez(path, ids=whole["ids"][:40], logits=whole["logits"][:40])
    both(tmp_path, arguments(runs, [*recipe, "name=again"]))
    assert sorted(np.load(path)["ids"]) == sorted(whole["ids"])
