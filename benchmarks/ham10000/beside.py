"""One student beside another: the paired difference over lesions, for a claim that ``compare`` does not make.

    python benchmarks/ham10000/beside.py runs/ham10000-lesionnet runs/ham10000

``mobilekd evaluate`` must have been run on both. Writes ``benchmarks/results/ham10000/beside.json``, or ``--output``: first minus second.
"""

import argparse
import shlex
import sys
from pathlib import Path

from mobilekd.files import write_json
from mobilekd.metrics import paired_difference
from mobilekd.metrics.contestants import contestant
from mobilekd.provenance import commit, utc_now
from mobilekd.runs import open_run

RESULT = Path(__file__).resolve().parents[1] / "results" / "ham10000" / "beside.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs=2, type=Path)
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    first, second = (contestant(open_run(folder)) for folder in arguments.runs)
    a, b = first.judged, second.judged.aligned(first.judged.ids)
    found = {
        metric: paired_difference(metric, a.truth, a.probabilities, b.probabilities, a.lesions, a.keys, draws=2000).model_dump()
        for metric in ("balanced_accuracy", "nll")
    }
    command = shlex.join(["python", "benchmarks/ham10000/beside.py", *sys.argv[1:]])
    what = f"{first.name} minus {second.name}, paired bootstrap over lesions, 2000 draws"
    write_json(
        arguments.output,
        {
            "what": what,
            "command": command,
            "split_hash": first.split_hash,
            "difference": found,
            "commit": commit(),
            "created_utc": utc_now(),
        },
    )


if __name__ == "__main__":
    main()
