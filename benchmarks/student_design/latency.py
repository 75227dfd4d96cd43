r"""What each design choice costs: ``.pte`` files of random weights, interleaved, as a ratio to
MobileNetV2-0.35.

    python benchmarks/student_design/latency.py [--only lesionnet "stem"] \
        [--precisions fp32 int8] [--rounds 300]

Everything runs in one process on one XNNPACK thread, each network once per round, so that a slow
second slows all of them. The processor time of that thread is what counts: it does not run while
the machine does something else.
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from executorch.extension.pybindings import portable_lib
from torch import nn

portable_lib._unsafe_reset_threadpool(1)  # before any program is loaded

from variants import REFERENCE, VARIANTS, named  # noqa: E402  (the thread pool comes first)

from mobilekd.backends import get  # noqa: E402
from mobilekd.formats.calibration import Calibration  # noqa: E402
from mobilekd.formats.preprocess import Preprocess  # noqa: E402
from mobilekd.graphs import torch_graph  # noqa: E402
from mobilekd.lowering import quantize  # noqa: E402
from mobilekd.metrics.stats import median_ratio  # noqa: E402
from mobilekd.students import Deployable  # noqa: E402
from mobilekd.support.files import read_json, write_json  # noqa: E402
from mobilekd.support.progress import say  # noqa: E402
from mobilekd.support.provenance import commit, utc_now, versions  # noqa: E402
from mobilekd.training.experiment import count_macs, count_parameters  # noqa: E402

HERE = Path(__file__).resolve().parent


def lower(network: nn.Module, preprocess: Preprocess, precision: str, path: Path) -> None:
    """Write ``path`` with the deployed network, its batch norms filled with statistics so that
    nothing is denormal.
    """
    example = torch.rand(8, 3, preprocess.height, preprocess.width)
    with torch.no_grad():
        for _ in range(10):
            network.train()(2 * example - 1)
    backend, pixels = get("xnnpack"), 255 * example[:1]
    graph = torch_graph.capture(
        Deployable(network.eval(), preprocess, Calibration()).eval(), pixels
    )
    quantizer = backend.quantizer(precision, frozenset())
    if quantizer is not None:
        prepared = quantize.prepare(graph, quantizer)
        quantize.calibrate(prepared, (255 * example).to(torch.uint8).numpy())
        graph = quantize.convert(prepared)
    path.mkdir()
    backend.lower(graph, pixels, precision, {}, path)


def race(files: dict[str, Path], preprocess: Preprocess, rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds of processor time of every round, by name; each round also warms the caches with
    an untimed call.
    """
    loaded = {
        name: portable_lib._load_for_executorch(str(path / "model.pte"))
        for name, path in files.items()
    }
    x = 255 * torch.rand(1, 3, preprocess.height, preprocess.width)
    times: dict[str, list[int]] = {name: [] for name in loaded}
    for number in range(rounds + 10):
        for name, program in loaded.items():
            program.forward((x,))
            began = time.thread_time_ns()
            program.forward((x,))
            if number >= 10:
                times[name].append(time.thread_time_ns() - began)
    return {name: np.array(found) / 1e6 for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        help="beginnings of variants' names; the reference is always there",
    )
    parser.add_argument("--precisions", nargs="*", default=["fp32", "int8"])
    parser.add_argument(
        "--size", type=int, default=128, help="width and height of the input in pixels"
    )
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--output", type=Path, default=HERE / "latency.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    preprocess = Preprocess(options.size, options.size)
    makers = {REFERENCE: VARIANTS[REFERENCE], **named(options.only)}
    old = read_json(options.output, "result")["rows"] if options.output.exists() else []
    rows = {(row["variant"], row["precision"]): row for row in old}
    for precision in options.precisions:
        with tempfile.TemporaryDirectory() as folder:
            files = {name: Path(folder) / str(index) for index, name in enumerate(makers)}
            for name, make in makers.items():
                say(f"{precision}: lowering {name}")
                lower(make(), preprocess, precision, files[name])
            times = race(files, preprocess, options.rounds)
            for name, make in makers.items():
                network, ratio = make().eval(), median_ratio(times[name], times[REFERENCE])
                row = {
                    "variant": name,
                    "precision": precision,
                    "ratio": ratio.model_dump(exclude_none=True),
                    "median_ms": round(float(np.median(times[name])), 4),
                    "p10_ms": round(float(np.percentile(times[name], 10)), 4),
                    "parameters": count_parameters(network),
                    "macs": count_macs(network, preprocess),
                    "bytes": (files[name] / "model.pte").stat().st_size,
                    "rounds": options.rounds,
                    "created_utc": utc_now(),
                    "commit": commit(),
                }
                rows[name, precision] = row
                say(
                    f"{precision} {name}: {row['median_ms']:.3f} ms, ratio {ratio.value:.3f}"
                    f" [{ratio.low:.3f}, {ratio.high:.3f}]"
                )
        # written after each precision: rows that are not measured this time stay, each with its own
        # time and commit
        document = {
            "what": (
                f"one inference, 1 XNNPACK thread, {options.size} x {options.size}, random weights,"
                f" ratio to {REFERENCE}"
            ),
            "command": "python benchmarks/student_design/latency.py",
            "machine": {"processor": platform.machine(), "system": platform.platform()},
            "versions": versions(),
            "rows": list(rows.values()),
        }
        write_json(options.output, document)


if __name__ == "__main__":
    main()
