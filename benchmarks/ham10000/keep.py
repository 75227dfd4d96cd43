"""Keep what a run on HAM10000 left: figures as JSON, and the teacher's logits by photograph id.

    python benchmarks/ham10000/keep.py runs/ham10000 runs/ham10000-control
    python benchmarks/ham10000/keep.py --teacher runs/ham10000

The first writes ``benchmarks/results/ham10000/<run>.json`` (command, seed, hashes, cost, every metric with its interval, the
validation curve); ``mobilekd evaluate`` must have been run. The second writes ``teacher/``, from which students distil
though the teacher's weights are not kept (``--set teachers.0.trained=benchmarks/results/ham10000/teacher``).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from mobilekd.files import read_json, sha256_file, write_json
from mobilekd.kept_teacher import LOGITS, KeptTeacher
from mobilekd.parallel import World
from mobilekd.progress import say
from mobilekd.runs import open_run
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
    """The first teacher of a distilled run without its weights: its record, and its logits from the run's cache."""
    run = open_run(folder)
    experiment = prepare(run.recipe, folder)
    faculty = Faculty.hire(experiment, folder, folder.parent / ".cache" / "teachers", World())
    table, split = run.recipe.train, experiment.split
    cache = faculty.caches(table)[0]
    plain = (*split.validation, *split.test)
    kept = KeptTeacher(
        path=RESULTS / "teacher" / LOGITS,
        depends_on=cache.depends_on,
        train_ids=split.train,
        train_views=np.stack([cache.logits(view, split.train) for view in range(table.views)]),
        plain_ids=plain,
        plain_logits=faculty.logits(plain),
    )
    kept.path.parent.mkdir(parents=True, exist_ok=True)
    kept.write()
    write_json(kept.path.with_name("teacher.json"), faculty.members[0].record)
    say(f"{kept.path}: {kept.path.stat().st_size:,} bytes, sha256 {sha256_file(kept.path)[:12]}")
    return kept.path


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
