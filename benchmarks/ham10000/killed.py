"""A student on HAM10000, killed in the middle of an epoch and resumed, beside the same one never
killed: the weights, bit for bit.

    python benchmarks/ham10000/killed.py --epochs 6 --after 4

Working folder: the checkout, with data/ham10000 in it. Trains LesionNet from the teachers' kept
answers as study.toml has it, once in one go; once killed with SIGKILL half an epoch after epoch
``--after``, and resumed. Writes ``benchmarks/results/ham10000/killed.json`` and exits with 1 where
the two differ.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from study import read_plan

from mobilekd.support.files import sha256_file, write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.training.state import CHECKPOINT

HERE = Path(__file__).resolve().parent
RESULT = HERE.parent / "results" / "ham10000" / "killed.json"
JOB = "ham10000-lesionnet"


def distill_command(runs: Path, epochs: int) -> list[str]:
    """The plan's student for ``epochs`` epochs, below ``runs``."""
    job = next(job for job in read_plan(HERE / "study.toml") if job.name == JOB)
    overrides = [
        part for override in (*job.set, f"train.epochs={epochs}") for part in ("--set", override)
    ]
    return [
        sys.executable,
        "-m",
        "mobilekd",
        "distill",
        job.recipe,
        *overrides,
        "--no-control",
        "--runs",
        str(runs),
    ]


def epochs_of(run: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``, one for each epoch so far."""
    path = run / "metrics.jsonl"
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if path.exists()
        else []
    )


def kill_within_an_epoch(command: list[str], run: Path, after: int) -> None:
    """Start ``command`` and end it with SIGKILL half an epoch after epoch number ``after``."""
    process = subprocess.Popen(command)
    while len(epochs_of(run)) < after:
        if process.poll() is not None:
            raise SystemExit(f"{run}: ended before epoch {after}")
        time.sleep(0.2)
    time.sleep(epochs_of(run)[-1]["seconds"] / 2)
    process.kill()
    process.wait()
    if len(epochs_of(run)) != after or not (run / CHECKPOINT).exists():
        raise SystemExit(f"{run}: was not killed within epoch {after + 1}; try again")


def compared(whole: Path, resumed: Path) -> dict[str, Any]:
    """What two runs share; ``differing`` counts numbers that are not the same bits."""
    a, b = (load_file(run / "student.safetensors") for run in (whole, resumed))
    if a.keys() != b.keys():
        raise SystemExit(f"{resumed}: has other tensors than {whole}")
    learned = [[{**line, "seconds": None} for line in epochs_of(run)] for run in (whole, resumed)]
    return {
        "numbers": sum(value.numel() for value in a.values()),
        "differing": sum(differing(value, b[name]) for name, value in a.items()),
        "sha256": {
            "in one go": sha256_file(whole / "student.safetensors"),
            "resumed": sha256_file(resumed / "student.safetensors"),
        },
        "calibration_equal": (
            (whole / "calibration.json").read_bytes() == (resumed / "calibration.json").read_bytes()
        ),
        "metrics_equal": learned[0] == learned[1],
    }


def differing(a: torch.Tensor, b: torch.Tensor) -> int:
    """How many numbers of two tensors of one shape are not the same bits."""
    first, second = (value.reshape(-1, 1).view(torch.uint8) for value in (a, b))
    return int((first != second).any(1).sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument(
        "--after", type=int, default=4, help="epochs that are whole when it is killed"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        whole, resumed = Path(work) / "whole", Path(work) / "resumed"
        subprocess.run(distill_command(whole, options.epochs), check=True)
        kill_within_an_epoch(distill_command(resumed, options.epochs), resumed / JOB, options.after)
        subprocess.run([*distill_command(resumed, options.epochs), "--resume"], check=True)
        difference = compared(whole / JOB, resumed / JOB)
        info = json.loads((whole / JOB / "run.json").read_text(encoding="utf-8"))
    equal = not (
        difference["differing"]
        or not difference["calibration_equal"]
        or not difference["metrics_equal"]
    )
    document = {
        "what": __doc__.splitlines()[0],
        "command": shlex.join(["python", "benchmarks/ham10000/killed.py", *sys.argv[1:]]),
        "equal": equal,
        "epochs": options.epochs,
        "killed_in_epoch": options.after + 1,
        **difference,
        "recipe_hash": info["recipe_hash"],
        "split_hash": info["split_hash"],
        "data_hash": info["data_hash"],
        "commit": commit(),
        "versions": versions(),
        "created_utc": utc_now(),
    }
    write_json(RESULT, document)
    say(
        f"killed in epoch {options.after + 1} of {options.epochs}: {difference['differing']} of"
        f" {difference['numbers']} numbers differ"
    )
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
