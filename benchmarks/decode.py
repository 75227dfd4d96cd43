"""Does reading photographs starve the trainer? Reads some as training does, and takes training
steps on them.

    python benchmarks/decode.py HAM10000_FOLDER benchmarks/results/decode.json

CPU time is compared beside wall time, because it holds on a machine that is busy with other things.
Decoding happens once: pixels then wait in the store, which is off here (memory.py measures it).
"""

import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mobilekd.data import inputs, load
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.training_tables import StudentTable
from mobilekd.students import build
from mobilekd.support.files import write_json
from mobilekd.support.provenance import commit, utc_now, versions

PHOTOGRAPHS, STEPS, BATCH = 400, 2, 64
SIZE = Preprocess(width=160, height=120)


def timed(work: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def main(root: str, output: str) -> None:
    os.environ["MOBILEKD_STORE"] = "off"
    torch.set_num_threads(1)  # threads that wait for each other burn CPU time without work
    dataset = load(DataTable(kind="ham10000", root=root))
    ids = dataset.ids[:PHOTOGRAPHS]
    inputs(dataset, ids, SIZE)  # so that the disk is not what is measured
    reading = min(
        (timed(lambda: inputs(dataset, ids, SIZE)) for _ in range(2)),
        key=lambda found: found["cpu_s"],
    )

    network = (
        build(StudentTable(model="mobilenetv2", width=0.35), len(dataset.classes))
        .to(memory_format=torch.channels_last)
        .train()
    )
    optimizer = torch.optim.AdamW(network.parameters())
    x = (
        torch.from_numpy(inputs(dataset, ids[:BATCH], SIZE))
        .to(memory_format=torch.channels_last)
        .float()
        / 127.5
        - 1
    )
    y = torch.from_numpy(dataset.targets[dataset.rows(ids[:BATCH])])

    def steps(count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()

    steps(1)
    training = min(
        (timed(lambda: steps(STEPS)) for _ in range(2)), key=lambda found: found["cpu_s"]
    )
    read_cpu, train_cpu = reading["cpu_s"] / PHOTOGRAPHS, training["cpu_s"] / (STEPS * BATCH)
    write_json(
        Path(output),
        {
            "what": (
                "CPU milliseconds for each photograph: decoded and resized, and trained on by"
                " MobileNetV2-0.35 without a teacher"
            ),
            "command": f"python benchmarks/decode.py HAM10000_FOLDER {output}",
            "size": [SIZE.width, SIZE.height],
            "photograph_size": list(dataset.photograph(0).size),
            "read_cpu_ms": 1000 * read_cpu,
            "train_cpu_ms": 1000 * train_cpu,
            "train_over_read": train_cpu / read_cpu,
            "reading": {
                "photographs": PHOTOGRAPHS,
                **reading,
                "per_wall_second": PHOTOGRAPHS / reading["wall_s"],
            },
            "training": {
                "photographs": STEPS * BATCH,
                **training,
                "per_wall_second": STEPS * BATCH / training["wall_s"],
            },
            "load_average": list(os.getloadavg()),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, shared",
            "data_hash": dataset.hash,
            "created_utc": utc_now(),
            "commit": commit(),
            "versions": versions(),
        },
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
