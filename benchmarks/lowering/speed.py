r"""What proof costs: ``export`` with parity beside plain ``torch.export``, PT2E and lowering,
interleaved in fresh processes.

    python benchmarks/lowering/speed.py runs/ham10000 benchmarks/results/export-speed.json \
        [--rounds 5] [--smoke]

Plain means: the same student, quantised with the shipped XNNPACKQuantizer on the same calibration
photographs, lowered and saved; no check of any kind. Loading the libraries is outside both. The
target is a ratio of at most 1.3.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.metrics.stats import median_ratio
from mobilekd.support.files import write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions

LIBRARIES = (
    "executorch.exir",
    "executorch.backends.xnnpack.partition.xnnpack_partitioner",
    "executorch.backends.xnnpack.quantizer.xnnpack_quantizer",
    "executorch.runtime",
    "torchao.quantization.pt2e.quantize_pt2e",
    "mobilekd.students",
)
OPEN = (
    "gates.agreement=0",
    "gates.accuracy_drop=1",
    "gates.sqnr_db=-100",
    "gates.max_error_quantized=1",
)


def plain(run_name: str, precision: str, folder: Path) -> dict[str, float]:
    """The tutorial's way, from the student's weights to the file; seconds of wall clock and of
    processor.
    """
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from mobilekd.formats.runs import open_run
    from mobilekd.inference.evaluation_set import open_evaluation_set
    from mobilekd.students import Deployable, load

    run = open_run(run_name)
    recipe = run.recipe

    def work() -> None:
        model = Deployable(load(run), recipe.preprocess.to_preprocess(), run.calibration).eval()
        example = (torch.zeros(1, 3, recipe.preprocess.height, recipe.preprocess.width),)
        exported = torch.export.export(model, example)
        if precision != "fp32":
            evaluation_set = open_evaluation_set(
                recipe, run.info.labels, run.split, run.info.split_hash
            )
            quantizer = XNNPACKQuantizer().set_global(
                get_symmetric_quantization_config(is_per_channel=True)
            )
            prepared = prepare_pt2e(exported.module(), quantizer)
            with torch.no_grad():
                for one in evaluation_set.calibration(recipe.quantize.calibration):
                    prepared(torch.from_numpy(one[None]).float())
            exported = torch.export.export(convert_pt2e(prepared), example)
        program = to_edge_transform_and_lower(
            exported, partitioner=[XnnpackPartitioner()]
        ).to_executorch()
        (folder / "model.pte").write_bytes(program.buffer)

    return timed(work)


def proven(run_name: str, precision: str, folder: Path) -> dict[str, float]:
    """``export`` with every check; seconds, and the seconds of its parts."""
    from mobilekd import export
    from mobilekd.backends.shared import executorch_file
    from mobilekd.lowering import checks, pipeline, prepare

    parts: dict[str, float] = {}
    for module, name, part in (
        (prepare, "prepare", "prepare"),
        (executorch_file, "lower", "lower"),
        (checks, "check", "check"),
        (pipeline, "open_evaluation_set", "gather"),
        (pipeline, "write_artifact", "write"),
    ):
        setattr(module, name, clocked(getattr(module, name), part, parts))
    found = timed(
        lambda: export(run_name, precision=precision, output=folder / "artifact", overrides=OPEN)
    )
    return {**found, **{f"part {name}": seconds for name, seconds in parts.items()}}


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds of wall clock and of this process's processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def clocked(function: Callable[..., Any], name: str, parts: dict[str, float]) -> Callable[..., Any]:
    """The function, its wall clock added to ``parts``."""

    def run(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            parts[name] = parts.get(name, 0.0) + time.perf_counter() - start

    return run


def one(way: str, run: str, precision: str) -> dict[str, float]:
    """Measure in a fresh process."""
    command = [sys.executable, __file__, "--one", way, run, precision]
    return dict(
        json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[
                -1
            ]
        )
    )


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        way, run, precision = sys.argv[2:]
        for library in LIBRARIES:  # outside the clock
            import_module(library)
        with tempfile.TemporaryDirectory() as work:
            print(json.dumps({"plain": plain, "proven": proven}[way](run, precision, Path(work))))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("output", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--smoke", action="store_true", help="two rounds of fp32")
    arguments = parser.parse_args()
    rounds = 2 if arguments.smoke else arguments.rounds
    found: dict[str, Any] = {}
    for precision in ["fp32"] if arguments.smoke else arguments.precisions:
        samples: dict[str, list[dict[str, float]]] = {"plain": [], "proven": []}
        for number in range(rounds):
            for way in ("plain", "proven") if number % 2 else ("proven", "plain"):
                samples[way].append(one(way, arguments.run, precision))
                say(
                    f"{precision}, round {number + 1} of {rounds}, {way}:"
                    f" {samples[way][-1]['wall']:.1f} s"
                )
        ratios = {
            clock: (
                median_ratio(
                    *(
                        np.array([sample[clock] for sample in samples[way]])
                        for way in ("proven", "plain")
                    )
                ).model_dump()
            )
            for clock in ("wall", "processor")
        }
        found[precision] = {"ratio": ratios, "samples": samples}
        say(
            f"{precision}: proven / plain {ratios['wall']['value']:.2f} by the wall,"
            f" {ratios['processor']['value']:.2f} by the processor"
        )
    write_json(
        arguments.output,
        {
            "what": (
                "seconds of export with parity divided by plain torch.export, PT2E and lowering"
            ),
            "command": (
                f"python benchmarks/lowering/speed.py {arguments.run} {arguments.output} --rounds"
                f" {rounds}"
            ),
            "utc": utc_now(),
            "commit": commit(),
            "versions": versions(),
            "found": found,
        },
    )


if __name__ == "__main__":
    main()
