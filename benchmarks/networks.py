"""Mobile networks side by side: the same short training on generated photographs, then lowered in
fp32 and int8.

    python benchmarks/networks.py
    python benchmarks/networks.py --only timm:lcnet_035 --only timm:mobileone_s0

Each network has parameters and multiply-adds as it is deployed, bytes, latency on this host (the
least and the median of some runs, since others may use the machine; its load stands beside it),
operators outside the delegate, and how often the int8 file says what the fp32 file says. One that
is refused has the reason. A row is written as soon as its network is done, with the commit and the
versions that made it, and is not made again: the command may be stopped at any time, and goes on.

The training is too short to judge a network by its accuracy, which stands there to say what the
agreement is worth.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mobilekd.data import inputs, load
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.training_tables import StudentTable
from mobilekd.graphs import pte
from mobilekd.lowering.trial import try_export
from mobilekd.students import build, deployed
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json, write_json
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.teachers.shape_check import shape_error
from mobilekd.training.experiment import count_macs, count_parameters

RESULT = Path(__file__).resolve().parent / "results" / "networks.json"

#: One or a few of each family, small ones first.
NETWORKS = (
    "timm:lcnet_035",
    "timm:mobilenetv4_conv_small_035",
    "torchvision:shufflenet_v2_x0_5",
    "lesionnet",
    "timm:mobilenetv3_small_050",
    "timm:tinynet_e",
    "timm:mobilenetv2_035",
    "timm:mnasnet_small",
    "timm:ghostnet_050",
    "torchvision:squeezenet1_1",
    "timm:repghostnet_050",
    "timm:semnasnet_075",
    "timm:mobileone_s0",
    "timm:edgenext_xx_small",
    "timm:mobilevit_xxs",
    "timm:mobilevitv2_050",
    "timm:efficientvit_b0",
    "timm:starnet_s1",
    "timm:mobilenetv4_conv_small",
    "timm:lcnet_100",
    "timm:mobilenetv3_small_100",
    "torchvision:shufflenet_v2_x1_0",
    "timm:mobilenetv2_100",
    "timm:mobilenetv3_large_100",
    "timm:efficientnet_lite0",
    "timm:efficientnet_b0",
    "timm:fbnetc_100",
    "timm:hardcorenas_a",
    "timm:spnasnet_100",
    "timm:ghostnet_100",
    "timm:repvit_m0_9",
    "timm:fastvit_t8",
    "timm:repvgg_a0",
    "torchvision:regnet_y_400mf",
    "timm:efficientformerv2_s0",
    "timm:levit_128s",
)
PIXELS = 96
TRAINING, CALIBRATING, JUDGING = 160, 32, 120  # photographs; the first ones of training calibrate
STEPS, BATCH, RATE = 40, 16, 3e-3
TIMED = 40  # of the judged photographs, the last ones
PRECISIONS = ("fp32", "int8")


def photographs() -> tuple[np.ndarray, np.ndarray, int]:
    """Generated photographs uint8 ``[N, 3, H, W]`` in a drawn order, their classes, and how many
    those are.
    """
    dataset = load(DataTable(kind="synthetic", count=TRAINING + JUDGING, size=PIXELS))
    order = np.random.default_rng(0).permutation(len(dataset.ids))
    ids = [dataset.ids[row] for row in order]
    raw = inputs(dataset, ids, Preprocess(width=PIXELS, height=PIXELS))
    return raw, dataset.targets[dataset.rows(ids)], len(dataset.classes)


def train(student: nn.Module, x: torch.Tensor, targets: torch.Tensor) -> None:
    """The same steps for every network; then batch norms take the last weights' statistics."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    random = torch.Generator().manual_seed(0)
    student.train()
    for _ in range(STEPS):
        rows = torch.randint(len(x), (BATCH,), generator=random)
        loss = nn.functional.cross_entropy(student(x[rows]), targets[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        for part in x.split(4 * BATCH):
            student(part)
    student.eval()


def answers(path: Path, raw: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """The file's classes for photographs, and its milliseconds for one of them."""
    program = pte.load(path)  # it must outlive its method
    method = program.load_method("forward")
    assert method is not None
    found, times = [], []
    for one in torch.from_numpy(raw).float().split(1):
        start = time.perf_counter()
        answer = method.execute([one])[0]
        times.append(1e3 * (time.perf_counter() - start))
        found.append(int(answer.argmax()))
    times = times[-TIMED:]
    return np.array(found), {
        "least": round(min(times), 3),
        "median": round(statistics.median(times), 3),
    }


def measure(model: str) -> dict[str, Any]:
    """What one network's row says of it."""
    preprocess = Preprocess(width=PIXELS, height=PIXELS)
    table = StudentTable(model=model, width=1.0, dropout=0.0)
    torch.manual_seed(0)
    try:
        student = build(table, classes := 7)
    except UserError as error:
        return {"refused": str(error)}
    wrong = shape_error(student, classes, PIXELS, PIXELS)
    if wrong:
        return {"refused": f"takes no photographs of {PIXELS}x{PIXELS} ({wrong})"}
    raw, targets, classes = photographs()
    mean, std = (
        torch.tensor(value).view(1, 3, 1, 1) for value in (preprocess.mean, preprocess.std)
    )
    x = (torch.from_numpy(raw[:TRAINING]).float() / 255 - mean) / std
    begun = time.perf_counter()
    train(student, x, torch.from_numpy(targets[:TRAINING]))
    row: dict[str, Any] = {"seconds_training": round(time.perf_counter() - begun, 1)}
    form = deployed(student)
    row |= {"parameters": count_parameters(form), "macs": count_macs(form, preprocess)}
    said: dict[str, np.ndarray] = {}
    for precision in PRECISIONS:
        with tempfile.TemporaryDirectory() as folder:
            trial = try_export(
                student,
                f"xnnpack-{precision}",
                classes,
                preprocess,
                photographs=raw[:CALIBRATING],
                folder=Path(folder),
            )
            if trial.refused or trial.path is None:
                row[precision] = {"refused": trial.refused}
                continue
            said[precision], milliseconds = answers(trial.path, raw[TRAINING:])
            row[precision] = {
                "bytes": trial.bytes,
                "outside": list(trial.outside),
                "milliseconds": milliseconds,
                "accuracy": round(float((said[precision] == targets[TRAINING:]).mean()), 4),
            }
    if len(said) == len(PRECISIONS):
        row["agreement"] = round(float((said["fp32"] == said["int8"]).mean()), 4)
    return row


def add(output: Path, model: str) -> dict[str, Any]:
    """Measure ``model`` and write its row into ``output`` beside the others; returns it. A network
    that breaks a library is a row that says so, and ends no others.
    """
    load_before = round(os.getloadavg()[0], 2)
    try:
        found = measure(model)
    except Exception as error:  # what networks and compilers raise is as varied as their authors
        reason = " ".join(str(error).split())[:300]
        found = {"refused": f"breaks ({type(error).__name__}: {reason})"}
    row = {
        "model": model,
        **found,
        "load": load_before,
        "measured_utc": utc_now(),
        "commit": commit(),
        "versions": versions(),
    }
    kept = [other for other in rows_of(output) if other["model"] != model]
    write_json(
        output,
        {
            "what": "mobile networks after the same short training: size, cost, int8 beside fp32",
            "command": "python benchmarks/networks.py",
            "cores": os.cpu_count(),
            "pixels": PIXELS,
            "training": {"photographs": TRAINING, "steps": STEPS, "batch": BATCH, "rate": RATE},
            "calibrated_on": CALIBRATING,
            "judged_on": JUDGING,
            "rows": [*kept, row],
        },
    )
    return row


def rows_of(output: Path) -> list[dict[str, Any]]:
    """What earlier calls left."""
    return list(read_json(output, "table")["rows"]) if output.exists() else []


def main(argv: Sequence[str] | None = None) -> None:
    """Every network that has no row yet, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--only", action="append", metavar="MODEL", help="one network; repeat it")
    parser.add_argument("--again", action="store_true", help="measure what has a row, too")
    asked = parser.parse_args(argv)
    for model in asked.only or NETWORKS:
        if asked.again or model not in {row["model"] for row in rows_of(asked.output)}:
            row = add(asked.output, model)
            print(model, row.get("refused") or row.get("agreement"), flush=True)


if __name__ == "__main__":
    main()
