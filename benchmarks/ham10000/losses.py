"""Which loss helps: students of one recipe that differ in their losses alone, each beside the one control that all share.

    python benchmarks/ham10000/losses.py runs/ham10000-lesionnet-control runs/ham10000-lesionnet runs/ham10000-lesionnet-dkd ...

The control comes first; ``mobilekd evaluate`` must have been run on each. Writes ``benchmarks/results/ham10000/losses.json``.
"""

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from mobilekd.files import write_json
from mobilekd.metrics.comparison import compared
from mobilekd.metrics.contestants import contestant
from mobilekd.progress import say
from mobilekd.provenance import commit, utc_now
from mobilekd.runs import open_run

RESULT = Path(__file__).resolve().parents[1] / "results" / "ham10000" / "losses.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("control", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    arguments = parser.parse_args()
    control = contestant(open_run(arguments.control))
    students = [replace(contestant(open_run(folder)), control=control.name) for folder in arguments.runs]
    document = compared([control, *students])
    command = shlex.join(["python", "benchmarks/ham10000/losses.py", *sys.argv[1:]])
    what = "losses beside the control that all share, paired over lesions, Holm over all of them"
    write_json(RESULT, {**document, "what": what, "command": command, "commit": commit(), "created_utc": utc_now()})
    for group in document["groups"]:
        value, difference = group["metrics"]["balanced_accuracy"], group.get("difference", {}).get("balanced_accuracy", {})
        say(f"{group['name']}: balanced accuracy {value['value']:.3f}, against the control {difference.get('value', 0):+.3f}")


if __name__ == "__main__":
    main()
