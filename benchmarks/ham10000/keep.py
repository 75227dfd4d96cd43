"""Keep what a run on HAM10000 left: figures as JSON, and the teacher's logits by photograph id.

    python benchmarks/ham10000/keep.py runs/ham10000 runs/ham10000-control
    python benchmarks/ham10000/keep.py --teacher runs/ham10000

The first writes ``benchmarks/results/ham10000/<run>.json`` (command, seed, hashes, cost, every metric with its interval, the
validation curve); ``mobilekd evaluate`` must have been run. The second writes ``teacher-logits.npz``: ids, and float16
logits over the fixed views ``[V, N, C]`` of the training photographs and over the plain ones of validation and test, so
that later work can distil from a teacher whose weights are not kept.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from mobilekd.files import read_json, sha256_file, write_json
from mobilekd.parallel import World
from mobilekd.progress import say
from mobilekd.runs import open_run
from mobilekd.teacher_cache import TeacherCache
from mobilekd.training.experiment import prepare
from mobilekd.training.faculty import Faculty

RESULTS = Path(__file__).resolve().parents[1] / "results" / "ham10000"


def keep_run(folder: Path) -> Path:
    """One run's figures."""
    run = open_run(folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    document = {
        "run": run.info.model_dump(mode="json"),
        "hours": round(run.info.seconds / 3600, 3),
        "recipe": run.recipe.to_dict(),
        "calibration": run.calibration.model_dump(mode="json"),
        "test": read_json(folder / "evaluation" / "metrics.json", "evaluation"),
        "training": lines,
    }
    path = RESULTS / f"{run.info.name}.json"
    write_json(path, document)
    return path


def keep_teacher(folder: Path) -> Path:
    """The logits of the first teacher of a distilled run, from its cache and from its weights."""
    run = open_run(folder)
    experiment = prepare(run.recipe, folder)
    faculty = Faculty.hire(experiment, folder, folder.parent / ".cache" / "teachers", World())
    cache: TeacherCache = faculty.caches(run.recipe.train)[0]
    split = experiment.split
    views = [cache.logits(view, split.train) for view in range(run.recipe.train.views)]
    plain = (*split.validation, *split.test)
    path = RESULTS / "teacher-logits.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            train_ids=np.array(split.train),
            train_views=np.stack(views).astype(np.float16),
            plain_ids=np.array(plain),
            plain=faculty.logits(experiment.inputs(plain)).astype(np.float16),
        )
    say(f"{path}: {path.stat().st_size:,} bytes, sha256 {sha256_file(path)[:12]}")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--teacher", type=Path, help="a distilled run whose teacher's logits are kept")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    for folder in arguments.runs:
        print(keep_run(folder))
    if arguments.teacher:
        print(keep_teacher(arguments.teacher))


if __name__ == "__main__":
    main()
