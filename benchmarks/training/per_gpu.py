"""Images per second over all runs of a sweep, by how many of them go at once on each GPU.

    python benchmarks/training/per_gpu.py [--per-gpu 1 2 4 8] [--seeds 8] [--output FILE]
    python benchmarks/training/per_gpu.py --page

Each row is one ``mobilekd sweep --per-gpu N`` of the same seeds into an empty folder, timed from
its start to its end: what somebody waits for, starts of processes included. A run before them fills
the store of photographs and is not counted. The recipe is the demo's with generated photographs in
the size of real ones and a student alone: with ``train.views`` a teacher's answers are computed
once, so a student alone is what a GPU has to do for most of a sweep. Without a GPU the rows are of
runs side by side on the processor. ``--page`` writes ``benchmarks/training/README.md`` from the
result.
"""

import argparse
import json
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from mobilekd.formats.runs import open_run
from mobilekd.support.files import read_json, write_json, write_text
from mobilekd.support.provenance import commit, utc_now, versions

HERE = Path(__file__).resolve().parent
RESULT = HERE.parent / "results" / "per-gpu.json"
AT_ONCE = (1, 2, 4, 8)
RECIPE = (
    "data.count=4000",
    "data.size=128",
    "data.without_labels=0",
    "preprocess.width=128",
    "preprocess.height=128",
    "teachers=[]",
    "losses=[{name='cross_entropy'}]",
    "student.model=mobilenetv2",
    "student.width=0.35",
    "train.epochs=20",
    "train.batch_size=64",
)
HEAD = """# Many small runs on one GPU

Made by `python benchmarks/training/per_gpu.py --page` from its result; do not edit.
`mobilekd sweep --per-gpu N` runs N cells at once on each GPU. The rate is of all runs together,
from the sweep's start to its end.

| runs at once on a GPU | images per second, all runs | of one run (median) | seconds |
|---|---|---|---|"""


def sweep(seeds: list[int], at_once: int, overrides: list[str], runs: Path) -> float:
    """Seconds that a sweep of these seeds takes."""
    command = [sys.executable, "-P", "-m", "mobilekd", "sweep", "demo", "--no-control"]
    command += ["--seeds", ",".join(map(str, seeds)), "--per-gpu", str(at_once)]
    command += ["--runs", str(runs)]
    for override in overrides:
        command += ["--set", override]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"per_gpu.py: {at_once} at once: {done.stderr[-2000:]}\n{done.stdout}")
    return time.monotonic() - began


def row(at_once: int, seconds: float, runs: Path) -> dict[str, Any]:
    """A sweep's figures; each run says how many images it took."""
    infos = [open_run(path.parent).info for path in sorted(runs.glob("*/run.json"))]
    images = sum(info.images_per_second * info.seconds for info in infos)
    return {
        "per_gpu": at_once,
        "runs": len(infos),
        "images": round(images),
        "seconds": round(seconds, 1),
        "images_per_second": round(images / seconds, 1),
        "images_per_second_of_a_run": statistics.median(info.images_per_second for info in infos),
    }


def measure(at_once: list[int], count: int, overrides: list[str]) -> list[dict[str, Any]]:
    """A row for each number of runs at once, each printed as it comes."""
    rows = []
    place = Path(tempfile.mkdtemp(prefix="per-gpu-"))
    try:
        sweep([count], 1, overrides, place / "first")
        for number in at_once:
            runs = place / str(number)
            rows.append(row(number, sweep(list(range(count)), number, overrides, runs), runs))
            print(json.dumps(rows[-1]), flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return rows


def page(result: Path = RESULT) -> str:
    """The page, which says so where no result of a GPU is there."""
    document = read_json(result, "result") if result.exists() else None
    if document is None or document["device"] == "CPU":
        lines = [f"| {number} | not run | not run | not run |" for number in AT_ONCE]
        words = "Not run: no GPU was at hand. tests/benchmarks/test_per_gpu.py runs it on the CPU."
    else:
        keys = ("per_gpu", "images_per_second", "images_per_second_of_a_run", "seconds")
        lines = [f"| {' | '.join(str(one[key]) for key in keys)} |" for one in document["rows"]]
        words = (
            f"{document['device']}, {document['rows'][0]['runs']} runs for each row, made by"
            f" `{document['command']}` on {document['created_utc'][:10]}."
        )
    return "\n".join([HEAD, *lines, "", words]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--per-gpu", type=int, nargs="+", default=list(AT_ONCE))
    parser.add_argument("--seeds", type=int, default=max(AT_ONCE), help="runs of each sweep")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--page", action="store_true", help="write the page and measure nothing")
    options = parser.parse_args()
    if options.page:
        write_text(HERE / "README.md", page())
        return
    rows = measure(options.per_gpu, options.seeds, [*RECIPE, *options.set])
    if options.output:
        command = shlex.join(["python", "benchmarks/training/per_gpu.py", *sys.argv[1:]])
        cuda = torch.cuda.is_available()
        document = {
            "what": __doc__.splitlines()[0],
            "device": torch.cuda.get_device_name() if cuda else "CPU",
            "devices": torch.cuda.device_count() if cuda else 1,
            "recipe": [*RECIPE, *options.set],
            "rows": rows,
            "command": command,
            "versions": versions(),
            "commit": commit(),
            "created_utc": utc_now(),
        }
        write_json(options.output, document)


if __name__ == "__main__":
    main()
