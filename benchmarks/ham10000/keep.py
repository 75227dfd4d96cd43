r"""Keep what a run on HAM10000 left: figures as JSON, and the teacher's logits by photograph id.

    python benchmarks/ham10000/keep.py runs/ham10000 runs/ham10000-control
    python benchmarks/ham10000/keep.py --teacher runs/teacher-mobilenetv2/teachers/0 \
        --name teacher-mobilenetv2

The first writes ``benchmarks/results/ham10000/<run>.json`` (command, seed, hashes, cost, every
metric with its interval, the validation curve); ``mobilekd evaluate`` must have been run. The
second writes a teacher's answers to 20 fixed views, from which students distil though its weights
are not kept (``--set teachers.0.trained=benchmarks/results/ham10000/teacher-mobilenetv2``).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.runs import open_run
from mobilekd.formats.teacher import LOGITS, read_teacher, write_teacher
from mobilekd.support.files import read_json, sha256_file, write_json
from mobilekd.support.progress import say
from mobilekd.teachers.stored_logits import StoredLogits
from mobilekd.training.ensemble import TeacherEnsemble
from mobilekd.training.experiment import prepare
from mobilekd.training.parallel import World

RESULTS = Path(__file__).resolve().parents[1] / "results" / "ham10000"


def keep_run(folder: Path) -> Path:
    """One run's figures."""
    run = open_run(folder)
    lines = [
        json.loads(line)
        for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
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


def keep_teacher(folder: Path, name: str, views: int, overrides: list[str]) -> Path:
    """A taught teacher without its weights: its record, and its logits over ``views`` fixed views
    of the recipe ham10000.
    """
    record = read_teacher(folder)
    recipe = load_recipe("ham10000", [f"train.views={views}", f"train.epochs={views}", *overrides])
    table = recipe.teachers[0].model_copy(
        update={"model": record.model, "options": record.options, "trained": str(folder)}
    )
    recipe = recipe.model_copy(update={"teachers": (table,)})
    experiment = prepare(
        recipe.data,
        recipe.split,
        recipe.preprocess.to_preprocess(),
        recipe.augment,
        recipe.seed,
    )
    ensemble = TeacherEnsemble.open(
        recipe.teachers,
        recipe.ensemble,
        recipe.train,
        experiment,
        folder,
        folder.parent / ".cache",
        World(),
    )
    cache = ensemble.fill()[0]
    split = experiment.split
    plain = (*split.validation, *split.test)
    kept = StoredLogits(
        path=RESULTS / name / LOGITS,
        depends_on=cache.depends_on,
        train_ids=split.train,
        train_views=np.stack([cache.logits(view, split.train) for view in range(views)]),
        plain_ids=plain,
        plain_logits=ensemble.logits(plain),
    )
    kept.path.parent.mkdir(parents=True, exist_ok=True)
    kept.write()
    write_teacher(kept.path.parent, record)
    say(f"{kept.path}: {kept.path.stat().st_size:,} bytes, sha256 {sha256_file(kept.path)[:12]}")
    return kept.path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument(
        "--teacher", type=Path, help="a folder that teach wrote, whose teacher's logits are kept"
    )
    parser.add_argument("--name", default="teacher", help="of the folder in which they are kept")
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    for folder in arguments.runs:
        print(keep_run(folder))
    if arguments.teacher:
        print(keep_teacher(arguments.teacher, arguments.name, arguments.views, arguments.overrides))


if __name__ == "__main__":
    main()
