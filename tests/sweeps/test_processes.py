"""Cells as processes of this machine: how many at once, and which GPU each sees."""

from collections import Counter
from pathlib import Path

import pytest
from fixtures.recipes import PLAIN

from mobilekd.commands.sweep import cells, sweep
from mobilekd.support.errors import UserError
from mobilekd.sweeps import place, processes

#: A cell that fails with what it sees of GPUs and when it ran.
SEES = (
    "import os, sys, time; sys.stdin.readline(); began = time.time(); time.sleep(0.5);"
    " print(os.environ.get('CUDA_VISIBLE_DEVICES'), began, time.time()); sys.exit(2)"
)


def seen(
    monkeypatch: pytest.MonkeyPatch, gpus: list[str], count: int, jobs: int | None, per_gpu: int
) -> list[tuple[str, float, float]]:
    """What each of ``count`` cells sees on a machine with these GPUs, its start and its end."""
    monkeypatch.setattr(place, "PROGRAM", SEES)
    monkeypatch.setattr(processes, "visible_gpus", lambda: gpus)
    recipes = cells([PLAIN], grid={}, seeds=tuple(range(count)), smoke=True)
    with processes.Processes(Path("runs"), False, jobs, per_gpu) as running:
        done = running.train("distill", recipes)
    rows = [cell.detail.split() for cell in done]
    return [(gpu, float(began), float(ended)) for gpu, began, ended in rows]


def most_at_once(spans: list[tuple[float, float]]) -> int:
    return max(sum(b <= began < e for b, e in spans) for began, _ in spans)


def test_each_gpu_has_as_many_as_told_and_a_cell_sees_its_own(monkeypatch: pytest.MonkeyPatch):
    found = seen(monkeypatch, ["3", "MIG-5"], 8, None, 2)
    assert Counter(gpu for gpu, _, _ in found) == {"3": 4, "MIG-5": 4}
    for gpu in ("3", "MIG-5"):
        assert most_at_once([(b, e) for name, b, e in found if name == gpu]) <= 2
    assert {gpu for gpu, _, _ in sorted(found, key=lambda one: one[1])[:2]} <= {"3", "MIG-5"}


def test_without_a_gpu_it_is_jobs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = seen(monkeypatch, [], 5, None, 2)
    assert {gpu for gpu, _, _ in found} == {"None"}
    assert most_at_once([(b, e) for _, b, e in found]) <= 2


def test_the_gpus_of_this_process_are_those_it_may_see(monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-8")
    assert processes.visible_gpus() == ["4", "GPU-8"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert processes.visible_gpus() == ["0", "1"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"jobs": 0}, "--jobs 0: nothing would run"),
        ({"per_gpu": -1}, "--per-gpu -1: nothing would run"),
        ({"on": "ray", "cpus": 0}, "--cpus 0: nothing would run"),
        ({"jobs": 2, "per_gpu": 2}, "both say how many runs go at once"),
        ({"address": "auto"}, "--address: only a Ray cluster has that; add --on ray"),
        ({"cpus": 2}, "--cpus: only a Ray cluster has that; add --on ray"),
    ],
)
def test_options_that_contradict_are_refused(wrong: dict, words: str, tmp_path: Path):
    with pytest.raises(UserError, match=words):
        sweep([PLAIN], smoke=True, runs=tmp_path / "runs", **wrong)
    assert not (tmp_path / "runs").exists()
