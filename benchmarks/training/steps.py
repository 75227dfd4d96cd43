"""How fast a training step runs on this machine's CUDA device (or CPU), by number format, memory
layout and compiler.

    python benchmarks/training/steps.py [--seconds 3] [--output FILE] [--together 8]

The same step everywhere: forward, cross-entropy, backward, fused AdamW, on uint8 photographs that
are normalised on the device. ``--together N`` adds the rate of N processes that share the device,
which is how a sweep with ``--jobs`` uses it.
"""

import argparse
import itertools
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilekd.formats.training_tables import StudentTable, TeacherTable
from mobilekd.students import build
from mobilekd.support.files import write_json
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.teachers.network import build_teacher

CLASSES, SIZE = 7, 128

NETWORKS = {
    "mobilenetv2_100 (teacher)": lambda: build_teacher(
        TeacherTable(model="mobilenetv2_100"), CLASSES
    ),
    "mobilenetv2 0.35, bounded": lambda: build(StudentTable(adapt=("bounded",)), CLASSES),
    "lesionnet": lambda: build(StudentTable(model="lesionnet", width=1.0), CLASSES),
}


def rate(
    network: str, batch: int, seconds: float, *, amp: bool, channels_last: bool, compiled: bool
) -> float:
    """Images per second of whole training steps."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model: nn.Module = NETWORKS[network]().to(device, memory_format=layout).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=device.type == "cuda" or None)
    forward = torch.compile(model) if compiled else model
    pixels = torch.randint(0, 256, (batch, 3, SIZE, SIZE), dtype=torch.uint8, device=device)
    target = torch.randint(0, CLASSES, (batch,), device=device)

    def step() -> None:
        x = (pixels.to(torch.float32, memory_format=layout) - 128) / 127.5
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            logits = forward(x)
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(logits.float(), target).backward()
        optimizer.step()

    def timed(limit: float) -> float:
        done, began = 0, time.monotonic()
        while time.monotonic() - began < limit:
            for _ in range(5):
                step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            done += 5 * batch
        return done / (time.monotonic() - began)

    timed(0.5)
    return timed(seconds)


def together(network: str, batch: int, seconds: float, count: int) -> float:
    """Images per second of ``count`` processes at once, added up; each waits for the others before
    it counts.
    """
    command = [
        sys.executable,
        __file__,
        "--one",
        network,
        "--batch",
        str(batch),
        "--seconds",
        str(seconds),
    ]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    total = 0.0
    for process in processes:
        out, _ = process.communicate()
        total += float(out)
    return total


def one(network: str, batch: int, seconds: float, compiled: bool) -> None:
    """A process of ``together``: makes itself ready, says so, waits for the word, prints
    its rate.
    """
    rate(network, batch, 0.2, amp=torch.cuda.is_available(), channels_last=True, compiled=compiled)
    print("ready", flush=True)
    sys.stdin.readline()
    print(
        rate(
            network,
            batch,
            seconds,
            amp=torch.cuda.is_available(),
            channels_last=True,
            compiled=compiled,
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--together", type=int, default=0)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), help="these networks")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.batch, options.seconds, options.compiled)
        return
    rows: list[dict[str, Any]] = []
    for network, amp, layout in itertools.product(options.only, (True, False), (True, False)):
        speed = rate(
            network, options.batch, options.seconds, amp=amp, channels_last=layout, compiled=False
        )
        rows.append(
            {
                "network": network,
                "amp": amp,
                "channels_last": layout,
                "compiled": False,
                "images_per_second": round(speed),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    if not options.no_compile:
        for network in options.only:
            began = time.monotonic()
            speed = rate(
                network,
                options.batch,
                options.seconds,
                amp=torch.cuda.is_available(),
                channels_last=True,
                compiled=True,
            )
            took = round(time.monotonic() - began - options.seconds, 1)
            rows.append(
                {
                    "network": network,
                    "amp": True,
                    "channels_last": True,
                    "compiled": True,
                    "images_per_second": round(speed),
                    "compiling_seconds": took,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    if options.together:
        for network in options.only:
            speed = together(network, options.batch, options.seconds, options.together)
            rows.append(
                {
                    "network": network,
                    "processes": options.together,
                    "images_per_second": round(speed),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    if options.output:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        command = shlex.join(["python", "benchmarks/training/steps.py", *sys.argv[1:]])
        write_json(
            options.output,
            {
                "what": __doc__.splitlines()[0],
                "device": device,
                "batch": options.batch,
                "size": SIZE,
                "rows": rows,
                "command": command,
                "versions": versions(),
                "commit": commit(),
                "created_utc": utc_now(),
            },
        )


if __name__ == "__main__":
    main()
