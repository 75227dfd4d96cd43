r"""What the harness adds to a latency, and whether its clock agrees with ExecuTorch's own profiler.

    python benchmarks/harness/overhead.py ARTIFACT... \
        [--output benchmarks/results/harness/overhead.json]

For each artifact, in five fresh processes on this machine: the runner's loop around nothing
(``overhead_ns``, the median of 1000), and 50 inferences under ETDump, timed by the runner from
outside and by ETDump's ``Method::execute`` from inside. The first is what the clock adds to a
sample. The second also holds what ``Module::forward`` does around ``execute``, which a user pays
too. ``within_limits`` says whether the harness adds less than 1% and both agree within 5%.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilekd.formats.artifact import Artifact, open_artifact
from mobilekd.runners import program
from mobilekd.runners.base import Setting
from mobilekd.runners.host import HostRunner
from mobilekd.runners.native import build
from mobilekd.support import provenance
from mobilekd.support.files import write_json

PROCESSES, INFERENCES = 5, 50
MOST_SHARE, MOST_APART = 0.01, 0.05  # what is asked of the harness


def runner_line(arguments: list[str]) -> dict:
    """One run of the C++ runner."""
    return program.document(
        program.run([build.host_bundle() / build.PROGRAM, *arguments], timeout=300), "host"
    )


def etdump_ns(path: Path) -> np.ndarray:
    """ETDump's own durations of ``Method::execute``, in nanoseconds."""
    from executorch.devtools import Inspector

    for block in Inspector(etdump_path=str(path)).event_blocks:
        for event in block.events:
            if event.name == "Method::execute":
                return np.array(event.perf_data.raw) * 1e6  # the inspector speaks milliseconds
    raise SystemExit(f"{path}: no Method::execute in this ETDump")


def measure(artifact: Artifact) -> dict:
    """Figures of one artifact, one value per process."""
    model, inputs = str(artifact.model), str(artifact.folder / "golden/inputs.u8")
    figures: dict[str, list[float]] = {
        "overhead_ns": [],
        "latency_ns": [],
        "runner_ns": [],
        "etdump_ns": [],
    }
    for _ in range(PROCESSES):
        plain = runner_line(
            program.measure_arguments(model, inputs, Setting(threads=1, samples=100))
        )
        figures["overhead_ns"].append(plain["overhead_ns"])
        figures["latency_ns"].append(float(np.median(plain["samples_ns"])))
        with tempfile.TemporaryDirectory() as work:
            dump = Path(work) / "etdump"
            profiled = runner_line(
                [
                    "profile",
                    model,
                    str(dump),
                    "--inputs",
                    inputs,
                    "--threads",
                    "1",
                    "--samples",
                    str(INFERENCES),
                ]
            )
            figures["runner_ns"].append(float(np.median(profiled["samples_ns"])))
            figures["etdump_ns"].append(float(np.median(etdump_ns(dump))))
    manifest = artifact.manifest
    return {
        "artifact": f"{manifest.name}-{manifest.backend}-{manifest.precision}",
        "sha256": manifest.files[manifest.model_file],
        **figures,
    }


def write(artifacts: Sequence[Artifact], output: Path) -> bool:
    """Measure, write the result, and say whether both limits are kept."""
    runner = HostRunner()
    before = runner.conditions()
    rows = [measure(artifact) for artifact in artifacts]
    smallest = min(min(row["latency_ns"]) for row in rows)
    agreement = {
        row["artifact"]: float(np.median(np.array(row["runner_ns"]) / np.array(row["etdump_ns"])))
        for row in rows
    }
    share = max(max(row["overhead_ns"]) for row in rows) / smallest
    summary = {
        "overhead_share_of_smallest_latency": share,
        "runner_over_etdump": agreement,
        "limits": {
            "overhead_share_of_smallest_latency": MOST_SHARE,
            "runner_over_etdump": [1 - MOST_APART, 1 + MOST_APART],
        },
        "within_limits": (
            share < MOST_SHARE and all(abs(ratio - 1) < MOST_APART for ratio in agreement.values())
        ),
    }
    document = {
        "what": (
            "time the harness adds to a latency, and the runner's clock against ETDump's, one"
            " thread"
        ),
        "command": "python benchmarks/harness/overhead.py ARTIFACT...",
        "summary": summary,
        "processes": PROCESSES,
        "inferences_per_process": INFERENCES,
        "rows": rows,
        "device": runner.describe().model_dump(mode="json"),
        "before": before.model_dump(mode="json"),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "utc": provenance.utc_now(),
    }
    write_json(output, document)
    print(json.dumps(summary, indent=1))
    return bool(summary["within_limits"])


def main() -> None:
    """Measure and write; exit with 1 where a limit is not kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parents[1] / "results/harness/overhead.json"
    )
    arguments = parser.parse_args()
    kept = write([open_artifact(folder) for folder in arguments.artifacts], arguments.output)
    raise SystemExit(0 if kept else 1)


if __name__ == "__main__":
    main()
