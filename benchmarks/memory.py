"""Does memory grow with the data, with views or with epochs, and how long is it to the first step?

    python benchmarks/memory.py HAM10000_FOLDER --output benchmarks/results/memory.json

The same photographs once, twice, five and ten times, as links under other names. Each size is
read by a process of its own (forked with Python's imports done), first with an empty store of
decoded photographs (cold), then again (warm): it prepares the data as distill does, takes steps on
views that are drawn, a few epochs of them, and judges validation after each. Then the smallest and
the largest without a store; even so fixed views are not kept, as they were before. A call that was
killed goes on, in a folder `.work` beside the output.

Memory is the process's own: `Anonymous` of /proc/self/smaps_rollup, sampled, which leaves out the
kernel's page cache; PSS and the highest RSS (VmHWM) stand beside it. With `--copies` every
photograph gets bytes of its own behind its end, so that none is found by another's content.

What it costs to read a photograph from the store, compare its checksum and draw a fixed view again,
where the view was kept in memory before, is told by steps of both kinds in turns, in CPU time,
because that holds on a machine that is busy with other things.
"""

import argparse
import csv
import gc
import json
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from mobilekd.cli import SELDOM
from mobilekd.formats.recipe_file import from_dict
from mobilekd.losses import Objective
from mobilekd.students import build
from mobilekd.support.files import write_json
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.training.experiment import prepare
from mobilekd.training.loop import Trainer
from mobilekd.training.parallel import World
from mobilekd.training.pixels import Drawer, draw_all, predict_logits
from mobilekd.training.schedule import TrainingImages, imbalance

STEPS, BATCH, VIEWS, ROUNDS = 4, 16, 20, 5


def lay_out(root: Path, folder: Path, photographs: int, times: int, *, copies: bool) -> None:
    """``photographs`` of HAM10000 below ``folder``, a folder for each class, ``times`` over."""
    with (root / "HAM10000_metadata.csv").open() as file:
        rows = sorted((row["image_id"], row["dx"]) for row in csv.DictReader(file))
    every = len(rows) // photographs  # from all of the archive, so that rare classes are there
    for name, key in rows[::every][:photographs]:
        source = next(root.glob(f"HAM10000_images_part_*/{name}.jpg"))
        for turn in range(times):
            target = folder / key / f"{name}-{turn}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():  # laid out by a call that was killed
                continue
            if copies:
                part = target.with_suffix(".part")
                part.write_bytes(source.read_bytes() + f"{turn}".encode())
                part.replace(target)
            else:  # a hard link would change the time of the archive's own file
                target.symlink_to(source.resolve())


class Peak(threading.Thread):
    """The highest memory of this process, in MB, sampled; where the call that began it was killed,
    the process ends, so that it is not in the way of the next.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.highest = {"Anonymous": 0.0, "Pss": 0.0}
        self.parent = os.getppid()

    def run(self) -> None:
        while True:
            if os.getppid() != self.parent:
                os._exit(1)
            self.sample()
            time.sleep(0.1)

    def sample(self) -> None:
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in self.highest:
                self.highest[name] = max(self.highest[name], int(rest.split()[0]) / 1024)


class Kept:
    """Fixed views as a CPU kept them before: drawn whole, then picked."""

    def __init__(self, images, drawer) -> None:  # type: ignore[no-untyped-def]
        self.whole = draw_all(drawer.views, images, drawer.key, 0, drawer.device)

    def draw(self, rows, view):  # type: ignore[no-untyped-def]
        return self.whole[rows]


def drawing(trainer, images, drawer) -> dict[str, object]:  # type: ignore[no-untyped-def]
    """CPU seconds of epochs whose views are drawn, and of the same with kept views, in turns."""
    found: dict[str, list[float]] = {"drawn": [], "kept": []}
    kept = Kept(images, drawer)
    trainer.epoch = 0
    for _ in range(ROUNDS):
        for name, one in (("drawn", drawer), ("kept", kept)):
            began = time.process_time()
            trainer.run_epoch(trainer.model, images, one, None, STEPS)
            found[name].append(round(time.process_time() - began, 3))
    return {
        "steps": STEPS,
        "batch": BATCH,
        "cpu_s_drawn": found["drawn"],
        "cpu_s_kept": found["kept"],
        "drawn_over_kept": round(median(found["drawn"]) / median(found["kept"]), 3),
    }


def child(root: str, epochs: int, *, views: bool) -> dict[str, object]:
    """Prepare, take steps, and say what it took."""
    torch.set_num_threads(1)
    gc.set_threshold(*SELDOM)  # as every command does; a look through torch's own objects is 0.25 s
    began, began_cpu = time.time(), time.process_time()
    recipe = from_dict(
        {
            "name": "memory",
            "data": {"kind": "folder", "root": root},
            "preprocess": {"width": 128, "height": 128},
            "student": {"model": "mobilenetv2", "width": 0.35},
            "losses": [{"name": "cross_entropy"}],
            "train": {"batch_size": BATCH, "epochs": epochs, "views": VIEWS, "compile": "no"},
        },
        "memory",
    )
    preprocess = recipe.preprocess.to_preprocess()
    peak = Peak()
    peak.start()
    experiment = prepare(recipe.data, recipe.split, preprocess, recipe.augment, recipe.seed)
    images, validation = experiment.training_images, experiment.validation
    ready, ready_cpu = time.time(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            build(recipe.student, experiment.classes),
            Objective(
                recipe.losses,
                classes=experiment.classes,
                **imbalance(recipe.train, experiment.training_targets, experiment.classes),
            ),
            recipe.train,
            experiment.views,
            classes=experiment.classes,
            seed=0,
            folder=Path(folder),
            world=World(),
            what="memory",
            identity="",
            view_seed=0,
        )
        drawer = Drawer(images, experiment.views, 0, torch.device("cpu"))
        first, first_cpu, after_epochs = 0.0, 0.0, []
        for epoch in range(epochs):
            steps = 1 if epoch == 0 else STEPS
            shown = TrainingImages(images.ids, images.targets, images.storage, draws=steps * BATCH)
            trainer.run_epoch(trainer.model, shown, drawer, None, steps)
            if not first:
                first, first_cpu = time.time(), time.process_time()
            trainer.model.eval()
            predict_logits(trainer.model, experiment.views, validation.inputs, torch.device("cpu"))
            trainer.epoch += 1
            peak.sample()
            after_epochs.append(round(peak.highest["Anonymous"], 1))
        status = Path("/proc/self/status").read_text()
        found = {
            "photographs": len(experiment.dataset),
            "to_photographs_s": round(ready - began, 2),
            "to_photographs_cpu_s": round(ready_cpu - began_cpu, 2),
            "to_first_step_s": round(first - began, 2),
            "to_first_step_cpu_s": round(first_cpu - began_cpu, 2),
            "peak_anonymous_mb": after_epochs[-1],
            "peak_anonymous_mb_after_each_epoch": after_epochs,
            "peak_pss_mb": round(peak.highest["Pss"], 1),
            "peak_rss_mb": round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1),
        }
        if views:
            found["drawing"] = drawing(trainer, shown, drawer)
    return found


def measure(root: Path, store: str, epochs: int, *, views: bool = False) -> dict[str, Any]:
    """One process over the photographs below ``root``; with ``views`` the cost of drawing, too."""
    here, there = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        os.environ["MOBILEKD_STORE"] = store
        there.send(child(str(root), epochs, views=views))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv()
    except EOFError:
        process.join()
        sys.exit(f"{root}, store {store}: ended with code {process.exitcode}; call it again")
    process.join()
    return found


class Work:
    """What was measured already, in a folder beside the output, so that a killed call goes on: a
    size and state of the store that was being measured is measured again from its beginning.
    """

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        self.folder, self.file, self.options = folder, folder / "rows.json", options
        self.rows: list[dict[str, Any]] = []
        if self.file.exists():
            kept = json.loads(self.file.read_text())
            if kept["options"] != options:
                sys.exit(f"{folder}: begun with other options {kept['options']}; remove it")
            self.rows = kept["rows"]
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, times: int, store: str) -> bool:
        return any((row["times"], row["store"]) == (times, store) for row in self.rows)

    def keep(self, times: int, store: str, found: dict[str, Any]) -> None:
        self.rows.append({"times": times, "store": store, **found})
        write_json(self.file, {"options": self.options, "rows": self.rows})
        print(json.dumps(self.rows[-1], indent=1), file=sys.stderr)


def measure_all(given: argparse.Namespace, work: Work) -> None:
    """Every size, cold, warm and at the ends without a store; what is there already is left."""
    for times in given.times:
        ends = times in (given.times[0], given.times[-1])
        states = ("cold", "warm", *(("without_store",) if ends else ()))
        if all(work.has(times, state) for state in states):
            continue
        data, store = work.folder / f"data-{times}", work.folder / f"store-{times}"
        lay_out(given.root, data, given.photographs, times, copies=given.copies)
        for state in states:
            if work.has(times, state):
                continue
            if state == "cold":
                shutil.rmtree(store, ignore_errors=True)
            place = "off" if state == "without_store" else str(store)
            views = state == "warm" and times == given.times[0]
            work.keep(times, state, measure(data, place, given.epochs, views=views))
        shutil.rmtree(store, ignore_errors=True)
        shutil.rmtree(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--photographs", type=int, default=1000)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--copies", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    options = {key: value for key, value in vars(given).items() if key not in ("root", "output")}
    work = Work(given.output.with_suffix(".work").absolute(), options)
    measure_all(given, work)
    rows = [dict(row) for row in work.rows]
    drawn = next(row.pop("drawing") for row in rows if "drawing" in row)
    by = {(row["times"], row["store"]): row for row in rows}
    least, most = given.times[0], given.times[-1]

    def ratio(key: str, one: tuple[int, str], other: tuple[int, str]) -> float:
        return round(float(str(by[one][key])) / float(str(by[other][key])), 3)

    options = " --copies" if given.copies else ""
    write_json(
        given.output,
        {
            "what": (
                "own memory and time to the first step over the same photographs once and several"
                " times, with the store of decoded photographs empty, full, and off"
            ),
            "command": (
                f"python benchmarks/memory.py HAM10000_FOLDER --photographs {given.photographs}"
                f" --times {' '.join(map(str, given.times))} --epochs {given.epochs}{options}"
                f" --output {given.output}"
            ),
            "memory": "Anonymous of /proc/self/smaps_rollup, sampled ten times a second; page"
            " cache is not in it",
            "time": "from the end of the imports until every photograph is at hand, and to the end"
            " of the first step, in which torch warms up; _cpu_: of this process on all cores,"
            " which holds on a busy machine",
            "copies": "own bytes each" if given.copies else "links: decoded once for all names",
            "steps_in_an_epoch": f"1 in the first, {STEPS} in the others, of {BATCH} photographs",
            "memory_of_the_largest_over_the_smallest": {
                name: ratio("peak_anonymous_mb", (most, name), (least, name))
                for name in ("cold", "warm", "without_store")
            },
            "warm_over_cold_to_photographs_cpu": {
                str(times): ratio("to_photographs_cpu_s", (times, "warm"), (times, "cold"))
                for times in given.times
            },
            "warm_over_cold_to_first_step_cpu": {
                str(times): ratio("to_first_step_cpu_s", (times, "warm"), (times, "cold"))
                for times in given.times
            },
            "drawing_fixed_views_again": drawn,
            "runs": rows,
            "load_average": list(os.getloadavg()),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
            "created_utc": utc_now(),
            "commit": commit(),
            "versions": versions(),
        },
    )
    shutil.rmtree(work.folder)


if __name__ == "__main__":
    main()
