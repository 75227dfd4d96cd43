"""Predictions, metrics and bootstrap of as many photographs as ISIC 2024 has: seconds and memory.

    python benchmarks/many_photographs.py benchmarks/results/many-photographs.json

Answers are drawn, not a model's: 8 classes of unequal size, half of the photographs right for sure.
Each step runs in a process of its own, whose peak is that step's, with the interpreter and numpy
(``idle``) in it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mobilekd.formats.calibration import Calibration
from mobilekd.metrics import metric_draws, metrics
from mobilekd.metrics.paired import SHOWN
from mobilekd.metrics.predictions import Predictions, read_predictions, write_predictions
from mobilekd.metrics.shapes import (
    by_origin,
    confusion_matrix,
    reliability_bins,
    risk_coverage_points,
    subgroups,
)
from mobilekd.support.files import write_json
from mobilekd.support.provenance import commit, utc_now, versions

KEYS = ("mel", "nv", "bcc", "ak", "bkl", "df", "vasc", "scc")
SHARES = (0.1, 0.5, 0.12, 0.04, 0.14, 0.02, 0.02, 0.06)
SITES = ("torso", "arm", "leg", "head", "palm", "sole", "hand", "foot")


def draw(photographs: int, lesions: int, seed: int = 0) -> Predictions:
    """Answers to ``photographs`` of ``lesions``; float32 as models give them."""
    random = np.random.default_rng(seed)
    of_lesion = random.choice(len(KEYS), lesions, p=SHARES)
    lesion = np.sort(np.r_[np.arange(lesions), random.integers(0, lesions, photographs - lesions)])
    truth = of_lesion[lesion]
    logits = random.normal(size=(photographs, len(KEYS)), scale=1.5).astype(np.float32)
    logits[np.arange(photographs), truth] += 2
    answers = np.exp(logits)
    return Predictions(
        KEYS,
        tuple(f"ISIC_{row:07d}" for row in range(photographs)),
        tuple(f"IL_{name:07d}" for name in lesion),
        truth,
        (answers / answers.sum(1, keepdims=True)).astype(float),
    )


def step(name: str, photographs: int, lesions: int, draws: int, folder: Path) -> None:
    """One step, in this process."""
    file = folder / "predictions.csv"
    if name == "idle":
        return
    if name == "read":
        read_predictions(file)
        return
    answers = draw(photographs, lesions)
    random = np.random.default_rng(1)
    if name == "write":
        write_predictions(file, answers)
    elif name == "metrics":
        metrics(
            answers.truth,
            answers.probabilities,
            answers.lesions,
            KEYS,
            calibration=Calibration(threshold=0.5, operating_points={"melanoma": 0.3}),
            draws=draws,
        )
    elif name == "pictures":
        confusion_matrix(answers.truth, answers.probabilities)
        reliability_bins(answers.truth, answers.probabilities)
        risk_coverage_points(answers.truth, answers.probabilities)
    elif name == "sub-groups":
        columns = {
            "age": list(random.integers(20, 90, photographs)),
            "site": [SITES[i] for i in random.integers(0, len(SITES), photographs)],
        }
        subgroups(answers, columns)
    elif name == "origins":
        origins = [f"clinic {i}" for i in random.integers(0, 4, photographs)]
        by_origin(answers, origins, _labels())
    elif name == "compared":
        # one run of a comparison; the next one takes as long, and what is kept of it is its draws
        metric_draws(
            SHOWN, answers.truth, answers.probabilities, answers.lesions, KEYS, draws=2 * draws
        )


def _labels() -> list:
    from mobilekd.formats.labels import Label

    return [Label(key=key, text=key) for key in KEYS]


STEPS = ("idle", "write", "read", "metrics", "pictures", "sub-groups", "origins", "compared")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--photographs", type=int, default=400_000)
    parser.add_argument("--lesions", type=int, default=300_000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        step(given.step, given.photographs, given.lesions, given.draws, given.folder)
        return
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for name in given.steps.split(","):
            words = [sys.executable, *sys.argv, "--step", name, "--folder", work]
            started = time.perf_counter()
            process = subprocess.Popen(words)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                sys.exit(f"{name} failed")
            rows.append(
                {
                    "step": name,
                    "wall_s": round(time.perf_counter() - started, 1),
                    "cpu_s": round(used.ru_utime + used.ru_stime, 1),
                    "peak_mb": round(used.ru_maxrss * _unit() / 1e6),
                }
            )
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    document = {
        "what": "predictions, metrics and bootstrap of many photographs: seconds and peak memory",
        "command": "python benchmarks/many_photographs.py benchmarks/results/many-photographs.json",
        "commit": commit(),
        "finished_utc": utc_now(),
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "photographs": given.photographs,
        "lesions": given.lesions,
        "classes": len(KEYS),
        "draws": given.draws,
        "rows": rows,
    }
    write_json(given.output, document)


def _unit() -> int:
    """``ru_maxrss`` counts kilobytes on Linux, bytes on macOS."""
    return 1 if sys.platform == "darwin" else 1024


if __name__ == "__main__":
    main()
