"""Mobile networks side by side: the same short training on generated photographs, then lowered in
fp32 and int8.

    python benchmarks/lowering/mobile_networks.py benchmarks/results/mobile-networks.json
    python benchmarks/lowering/mobile_networks.py OUT --only timm:lcnet_035 --pixels 96

Each network has parameters and multiply-adds as deployed, bytes, latency on this host (the best of
some runs, since a machine may be shared; the load is kept beside it), operators outside the
delegate, and how often the int8 file says what the fp32 file says. One that is refused has the
reason. What an earlier call measured is kept: it may be stopped and called again.

The training is too short to judge a network by its accuracy, which stands there to say what the
agreement is worth.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mobilekd.data import inputs, load
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import DataTable, StudentTable
from mobilekd.graphs import pte
from mobilekd.lowering.trial import try_export
from mobilekd.students import build, deployed
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json, write_json
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.teachers.shape_check import shape_error
from mobilekd.training.experiment import count_macs, count_parameters

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
TRAINING, JUDGING = 160, 120  # photographs
STEPS, BATCH, RATE = 40, 16, 3e-3
RUNS = 40
PRECISIONS = ("fp32", "int8")


def photographs(pixels: int, kept: Path | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Generated photographs uint8 ``[N, 3, H, W]``, their classes, and how many those are; from
    the file ``kept``, where it is there.
    """
    if kept is not None and kept.exists():
        with np.load(kept) as file:
            return file["raw"], file["targets"], int(file["classes"])
    dataset = load(DataTable(kind="synthetic", count=TRAINING + JUDGING, size=pixels))
    order = np.random.default_rng(0).permutation(len(dataset.ids))
    ids = [dataset.ids[row] for row in order]
    raw = inputs(dataset, ids, Preprocess(width=pixels, height=pixels))
    targets, classes = dataset.targets[dataset.rows(ids)], len(dataset.classes)
    if kept is not None:
        np.savez(kept, raw=raw, targets=targets, classes=classes)
    return raw, targets, classes


def trained(student: nn.Module, x: torch.Tensor, targets: torch.Tensor) -> None:
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
    """The file's classes for photographs, and its milliseconds for one of them, on all cores."""
    program = pte.runtime().load_program(path.read_bytes())
    method = program.load_method("forward")
    assert method is not None
    found, times = [], []
    for one in torch.from_numpy(raw).float().split(1):
        start = time.perf_counter()
        answer = method.execute([one])[0]
        times.append(1e3 * (time.perf_counter() - start))
        found.append(int(answer.argmax()))
    times = times[-RUNS:]
    return np.array(found), {"best": min(times), "median": statistics.median(times)}


def measure(model: str, pixels: int, kept: Path | None) -> dict[str, Any]:
    """One row of the table."""
    raw, targets, classes = photographs(pixels, kept)
    preprocess = Preprocess(width=pixels, height=pixels)
    table = StudentTable(model=model, width=1.0, dropout=0.0)
    row: dict[str, Any] = {"model": model, "pixels": pixels, "load": os.getloadavg()[0]}
    torch.manual_seed(0)
    try:
        student = build(table, classes)
    except UserError as error:
        return row | {"refused": str(error)}
    wrong = shape_error(student, classes, pixels, pixels)
    if wrong:
        return row | {"refused": f"takes no {pixels}x{pixels} photographs ({wrong})"}
    mean, std = (
        torch.tensor(value).view(1, 3, 1, 1) for value in (preprocess.mean, preprocess.std)
    )
    x = (torch.from_numpy(raw[:TRAINING]).float() / 255 - mean) / std
    begun = time.perf_counter()
    trained(student, x, torch.from_numpy(targets[:TRAINING]))
    row["seconds_training"] = round(time.perf_counter() - begun, 1)
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
                photographs=raw[:32],
                folder=Path(folder),
            )
            one: dict[str, Any] = {"refused": trial.refused} if trial.refused else {}
            if not trial.refused and trial.path is not None:
                said[precision], milliseconds = answers(trial.path, raw[TRAINING:])
                right = said[precision] == targets[TRAINING:]
                one = {
                    "bytes": trial.bytes,
                    "outside": list(trial.outside),
                    "milliseconds": milliseconds,
                    "accuracy": float(right.mean()),
                }
        row[precision] = one
    if len(said) == len(PRECISIONS):
        row["agreement"] = float((said["fp32"] == said["int8"]).mean())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", action="append", help="one network; may be given again")
    parser.add_argument("--pixels", type=int, default=96)
    parser.add_argument("--kept", type=Path, help="an .npz that keeps the photographs, decoded")
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    asked = parser.parse_args()
    for model in asked.only or NETWORKS:
        kept = read_json(asked.output, "table") if asked.output.exists() else {"rows": []}
        if any(row["model"] == model for row in kept["rows"]) and not asked.again:
            continue
        try:
            row = measure(model, asked.pixels, asked.kept)
        except Exception as error:  # a network that breaks must not end the others
            row = {"model": model, "refused": f"{type(error).__name__}: {str(error)[:300]}"}
        rows = [other for other in kept["rows"] if other["model"] != model]
        about = {
            "what": "mobile networks after the same short training: size, cost, int8 beside fp32",
            "command": f"python benchmarks/lowering/mobile_networks.py {asked.output.name}",
            "cores": os.cpu_count(),
            "training": {"photographs": TRAINING, "steps": STEPS, "batch": BATCH, "rate": RATE},
            "judged_on": JUDGING,
            "versions": versions(),
        }
        write_json(
            asked.output,
            {**about, "rows": [*rows, {**row, "commit": commit(), "measured": utc_now()}]},
        )
        print(model, row.get("refused") or row.get("agreement"), flush=True)


if __name__ == "__main__":
    main()
