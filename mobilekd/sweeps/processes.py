"""Cells as processes of this machine, several at a time, each with a GPU where that is asked."""

import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mobilekd.data import check_place
from mobilekd.formats.recipe import Recipe
from mobilekd.support.progress import say
from mobilekd.sweeps.place import Cell, Command, job, result, start


class Processes:
    """Cells at work, each in a process of its own that ends with this one.

    ``jobs`` of them go at once. With ``per_gpu`` instead, so many go at once on each GPU that this
    process may see, and a cell sees only its own; without a GPU it is ``jobs``.
    """

    def __init__(self, runs: Path, control: bool, jobs: int | None, per_gpu: int | None) -> None:
        self.runs, self.control = runs, control
        gpus: Sequence[str | None] = (visible_gpus() if per_gpu else []) or [None]
        self.free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        slots = [gpu for _ in range(per_gpu or jobs or 1) for gpu in gpus]
        for gpu in slots:  # one cell on each GPU before a second one on any
            self.free.put(gpu)
        self.pool = ThreadPoolExecutor(len(slots))
        self.processes: set[subprocess.Popen[str]] = set()
        self.stopped = threading.Event()

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.stopped.set()
            for process in list(self.processes):
                process.terminate()
        self.pool.shutdown(cancel_futures=True)

    def check(self, recipes: Sequence[Recipe]) -> None:
        """Where all cells want the same photographs, what is missing is told once, not by every
        cell.
        """
        if recipes and all(recipe.data == recipes[0].data for recipe in recipes):
            check_place(recipes[0].data)

    def train(self, command: Command, recipes: Sequence[Recipe]) -> list[Cell]:
        """Teach or distill each recipe; a cell that fails says so and stops no other."""
        return list(self.pool.map(lambda recipe: self._train(recipe, command), recipes))

    def _train(self, recipe: Recipe, command: Command) -> Cell:
        if self.stopped.is_set():
            return Cell(recipe.name, "failed", "stopped before it began")
        gpu = self.free.get()  # as many threads as slots: one is always free
        try:
            say(f"sweep: {command} {recipe.name}" + (f" on GPU {gpu}" if gpu else ""))
            env = None if gpu is None else {**os.environ, "CUDA_VISIBLE_DEVICES": gpu}
            told = job(command, recipe, self.runs, control=self.control)
            with start(told, env=env) as process:
                self.processes.add(process)
                if self.stopped.is_set():
                    process.terminate()
                assert process.stdout
                answer = process.stdout.read()
            self.processes.discard(process)
        finally:
            self.free.put(gpu)
        return result(recipe.name, self.runs / recipe.name, process.returncode, answer)


def visible_gpus() -> list[str]:
    """The CUDA devices that this process may see, in the words of ``CUDA_VISIBLE_DEVICES``."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    every = named.split(",") if named else [str(number) for number in range(count)]
    return [name.strip() for name in every[:count]]
