r"""Does ``mobilekd design`` beat a MobileNetV2 scaled by width, at three latencies?

    python benchmarks/student_design/budgets.py --budgets 0.35 0.5 0.7
    python benchmarks/student_design/budgets.py --train   # afterwards: the accuracy

First each budget gets two students that were measured to meet it: LesionNet as ``design`` chooses
it (width, depth, input size; ranked by multiply-adds), and MobileNetV2 at 128 x 128 of the greatest
width that meets it. Then all of them are lowered again and measured side by side, in other
processes than those that chose them. With ``--train`` each is trained alike and shortly under
budgets.toml (one seed, random weights, no teacher) and judged on validation.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from mobilekd.backends.base import one_thread
from mobilekd.commands.design import design
from mobilekd.commands.distill import distill
from mobilekd.designing import table as tables
from mobilekd.designing.costs import Costs
from mobilekd.designing.families import CLASSES, Candidate, members
from mobilekd.designing.files import lower, measure
from mobilekd.designing.ranking import accuracy, short_recipe
from mobilekd.designing.search import search
from mobilekd.formats.document import read_document
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.training_tables import StudentTable
from mobilekd.students import build
from mobilekd.support.cache import scratch
from mobilekd.support.files import read_json, write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions

HERE = Path(__file__).resolve().parent
RESULT = HERE.parent / "results" / "design-budgets.json"
#: MobileNetV2 as its paper scales it: by width alone, at one input size.
SCALED = StudentTable(model="mobilenetv2", width=1.0, adapt=("bounded",))
SIDE = 128


def chosen(budgets: list[float], precision: str, table: Path) -> list[dict[str, Any]]:
    """Both students of every budget, as they were found."""
    rows = []
    scaled = members(SCALED, (SIDE,), (1.0,))
    for budget in budgets:
        with scratch() as work:
            found = design(budget, precision=precision, table=table, output=work / "recipe.toml")
        best = found.proposals[0]
        rows.append(
            {
                "budget_ms": budget,
                "by": "design",
                "student": _table(best.model, best.width, best.adapt),
                "side": best.side,
                "considered": found.considered,
                "predicted_ms": best.predicted_ms,
                "chosen_at_ms": best.measured_ms,
                "macs": best.macs,
                "parameters": best.parameters,
                "prediction_error": vars(found.error),
                "doubts": list(found.doubts),
            }
        )
        kept = read_document(table, tables.Table, "table")
        names = {one.name for one in scaled}
        known = [row for row in kept.networks if row.name in names]
        costs = Costs.fit(kept.chains)
        met = search(scaled, costs, budget, 1, known, precision, 1)
        tables.write(table, kept.with_networks([one.row for one in met]))
        one = met[0]
        rows.append(
            {
                "budget_ms": budget,
                "by": "width of MobileNetV2",
                "student": one.candidate.student.model_dump(mode="json"),
                "side": one.candidate.side,
                "considered": len(scaled),
                "predicted_ms": one.predicted_ms,
                "chosen_at_ms": one.measured_ms,
                "macs": one.candidate.macs,
                "parameters": one.candidate.parameters,
            }
        )
    return rows


def _table(model: str, width: float, adapt: tuple[str, ...]) -> dict[str, Any]:
    return StudentTable(model=model, width=width, adapt=adapt).model_dump(mode="json")


def side_by_side(rows: list[dict[str, Any]], precision: str) -> None:
    """Every student lowered again and measured beside all others, into its row."""
    files = {}
    with scratch() as work:
        with one_thread():
            for number, row in enumerate(rows):
                torch.manual_seed(1)
                network = build(StudentTable.model_validate(row["student"]), CLASSES)
                size = Preprocess(row["side"], row["side"])
                files[str(number)] = lower(network, size, precision, work / str(number))
        latencies = measure(files, 1, "budgets: side by side")
    for number, row in enumerate(rows):
        latency = latencies[str(number)]
        row["measured_ms"], row["median_ms"] = latency.fastest_ms, latency.median_ms
        row["processes_ms"] = [round(ns / 1e6, 4) for ns in latency.medians_ns]
        row["off"] = latency.fastest_ms / row["budget_ms"] - 1
        row["doubt"] = latency.doubt
        say(f"{row['by']}, {row['budget_ms']} ms: {latency.fastest_ms:.3f} ms ({row['off']:+.1%})")


def train(document: dict[str, Any], overrides: list[str], runs: Path, epochs: int) -> None:
    """Each student's balanced accuracy on validation, into its row, as soon as it is known."""
    base = load_recipe(str(HERE / "budgets.toml"), overrides)
    command = f"python benchmarks/student_design/budgets.py --train --epochs {epochs}"
    document["training"] = {"command": command, "recipe": base.to_dict(), "epochs": epochs}
    for row in document["rows"]:
        student = StudentTable.model_validate(row["student"])
        one = Candidate(student, row["side"], (), row["parameters"])
        run = distill(short_recipe(base, runs, one, epochs), runs, resume=True, control=False)
        figure = run.info.validation["balanced_accuracy"]
        row["balanced_accuracy"] = figure.model_dump(exclude_none=True)
        row["training_seconds"] = run.info.seconds
        assert run.split is not None  # a run that was trained here
        document["training"] |= {
            "split_hash": run.info.split_hash,
            "train": len(run.split.train),
            "validation": len(run.split.validation),
            "commit": commit(),
        }
        write_json(RESULT, document)
        say(f"{row['by']}, {row['budget_ms']} ms: balanced accuracy {accuracy(run):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.35, 0.5, 0.7])
    parser.add_argument("--precision", choices=("fp32", "int8"), default="fp32")
    parser.add_argument("--table", type=Path, default=Path("operators.json"))
    parser.add_argument("--train", action="store_true", help="train what was chosen before")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    if options.train:
        train(read_json(RESULT, "result"), options.overrides, options.runs, options.epochs)
        return
    rows = chosen(options.budgets, options.precision, options.table)
    side_by_side(rows, options.precision)
    table = read_document(options.table, tables.Table, "table")
    document = {
        "what": (
            "students for three latencies: as mobilekd design proposes them, and MobileNetV2 scaled"
            " by width; one thread, random weights for latency, the fastest of six processes"
        ),
        "command": "python benchmarks/student_design/budgets.py",
        "precision": options.precision,
        "created_utc": utc_now(),
        "commit": commit(),
        "versions": versions(),
        "setup": table.setup.model_dump(),
        "table": {
            "chains": len(table.chains),
            "created_utc": table.created_utc,
            "load": table.load,
            "doubt": table.doubt,
            "errors_of_whole_files": [
                round(float(error), 4) for error in Costs.fit(table.chains).errors(table.networks)
            ],
        },
        "rows": rows,
    }
    write_json(RESULT, document)


if __name__ == "__main__":
    main()
