r"""One student, or its seeds, beside another: the paired difference over lesions, for a claim that
``compare`` does not make.

    python benchmarks/ham10000/beside.py runs/ham10000-lesionnet runs/ham10000
    python benchmarks/ham10000/beside.py "runs/lesionnet-30 runs/lesionnet-30-s1" \
        "runs/ham10000 runs/ham10000-s1" --output FILE

Each side is a run, or its seeds in one argument, which are averaged inside each draw. ``mobilekd
evaluate`` must have been run on all. Writes ``benchmarks/results/ham10000/beside.json``, or
``--output``: first minus second.
"""

import argparse
import shlex
import sys
from pathlib import Path

from mobilekd.formats.runs import open_run
from mobilekd.metrics import Draws, interval, metric_draws, pooled
from mobilekd.metrics.entries import read_entry
from mobilekd.metrics.paired import p_value
from mobilekd.metrics.predictions import Predictions
from mobilekd.support.files import write_json
from mobilekd.support.provenance import commit, utc_now

RESULT = Path(__file__).resolve().parents[1] / "results" / "ham10000" / "beside.json"
METRICS = ("balanced_accuracy", "accuracy", "nll")


def drawn(runs: list[Predictions], like: Predictions, stream: int) -> dict[str, Draws]:
    """Metrics of one side in every draw of lesions, which is the same draw for both sides."""
    each = [
        metric_draws(
            METRICS,
            like.truth,
            one.aligned(like.ids).probabilities,
            like.lesions,
            like.keys,
            draws=2000,
        )
        for one in runs
    ]
    return {metric: pooled([one[metric] for one in each], stream) for metric in METRICS}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sides", nargs=2, metavar="RUNS")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    opened = [[open_run(folder) for folder in side.split()] for side in arguments.sides]
    first, second = ([read_entry(run) for run in side] for side in opened)
    like = first[0].predictions
    a, b = (
        drawn([one.predictions for one in side], like, stream)
        for stream, side in enumerate((first, second))
    )
    apart = {metric: a[metric] - b[metric] for metric in METRICS}
    names = [" and ".join(one.name for one in side) for side in (first, second)]
    write_json(
        arguments.output,
        {
            "what": (
                f"{names[0]} minus {names[1]}{', seeds averaged' * (len(first) > 1)}, paired"
                " bootstrap over lesions, 2000 draws"
            ),
            "command": shlex.join(["python", "benchmarks/ham10000/beside.py", *sys.argv[1:]]),
            "split_hash": first[0].split_hash,
            "first": {
                metric: interval(a[metric].value, a[metric].spread).model_dump()
                for metric in METRICS
            },
            "second": {
                metric: interval(b[metric].value, b[metric].spread).model_dump()
                for metric in METRICS
            },
            "difference": {
                metric: interval(one.value, one.spread).model_dump()
                for metric, one in apart.items()
            },
            "p": p_value(apart["balanced_accuracy"]),
            # of each run; its teachers' are of before
            "training_s": {run.info.name: run.info.seconds for side in opened for run in side},
            "teachers_s": {
                run.info.name: [teacher.seconds for teacher in run.info.teachers]
                for side in opened
                for run in side
            },
            "commit": commit(),
            "created_utc": utc_now(),
        },
    )


if __name__ == "__main__":
    main()
