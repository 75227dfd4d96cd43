"""The demo's student beside its control and its teacher, in ten seeds.

    python benchmarks/demo_seeds.py

Each seed draws other weights, orders and views; photographs and split stay. Runs lie below
``runs/demo-seeds``. Writes ``benchmarks/results/demo-seeds.json`` after each seed, each row with
the commit and versions that trained it; seeds that the file has of the same recipe are not made
again, so ``--seeds`` 1, 2, 3, ... makes one at a time.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from mobilekd.commands.distill import distill
from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.teach import teach
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.runs import RunInfo, open_run
from mobilekd.support.files import write_json

WHY = (
    "The teacher learns from 200 photographs with labels and answers 1,000 that nobody labelled;"
    " the student learns from those answers, its control only from the 200, in as many steps."
)


def one(seed: int, runs: Path) -> dict[str, Any]:
    """Balanced accuracy on the test split of one seed's student, control and teacher."""
    recipe = load_recipe("demo", [f"seed={seed}", f"name=demo-{seed}"])
    teach(recipe, runs, resume=True)
    run = distill(recipe, runs, resume=True)
    assert run.info.control is not None
    student, control = (
        evaluate(runs / name, runs=runs) for name in (recipe.name, run.info.control)
    )
    return row_of(seed, student, control, open_run(runs / recipe.name).info)


def row_of(
    seed: int, student: dict[str, Any], control: dict[str, Any], info: RunInfo
) -> dict[str, Any]:
    """A row of the result: three evaluations, and the program that trained the student, which may
    have been an earlier one.
    """
    values = {
        "student": student["metrics"]["balanced_accuracy"]["value"],
        "control": control["metrics"]["balanced_accuracy"]["value"],
        "teacher": student["teacher"]["metrics"]["balanced_accuracy"]["value"],
    }
    gain = values["student"] - values["control"]
    return {
        "seed": seed,
        **{name: round(value, 4) for name, value in values.items()},
        "gain": round(gain, 4),
        "created_utc": info.created_utc,
        "commit": info.commit,
        "versions": info.versions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=Path, default=Path("runs/demo-seeds"))
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parent / "results" / "demo-seeds.json",
    )
    arguments = parser.parse_args()
    recipe = load_recipe("demo").hash()
    rows: list[dict[str, Any]] = []
    if arguments.output.exists():
        before = json.loads(arguments.output.read_text())
        rows = before["seeds"] if before["recipe"] == recipe else []
    for seed in range(len(rows), arguments.seeds):
        rows.append(one(seed, arguments.runs))
        ahead = sum(row["gain"] > 0 for row in rows)
        write_json(
            arguments.output,
            {
                "what": "balanced accuracy on the demo's test split, and the student's gain",
                "why": WHY,
                "command": "python benchmarks/demo_seeds.py",
                "recipe": recipe,
                "ahead": f"{ahead} of {len(rows)}",
                "seeds": rows,
                "cores": os.cpu_count(),
            },
        )
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
