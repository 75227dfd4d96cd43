"""What a guard costs a file: bytes, and latency on this machine, of the same student with and
without it.

    python benchmarks/guard_cost.py REFERENCE... --output benchmarks/results/cost-of-guard.json

Each shipped student named is exported for XNNPACK in fp32 and int8, plain and with a guard, and
both files are measured interleaved in ``--rounds`` fresh processes each, one thread. The ratio of
medians has a 95% interval over processes. ``--artifacts PLAIN GUARDED`` takes one finished pair
instead.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.commands.export import export
from mobilekd.formats.artifact import Artifact, open_artifact
from mobilekd.metrics.stats import process_ratio
from mobilekd.runners import get
from mobilekd.runners.session import Collected, Plan, measure
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions

PRECISIONS = ("fp32", "int8")


def pair(reference: str, precision: str, folder: Path) -> tuple[Artifact, Artifact]:
    """The student's file without and with a guard."""
    plain, guarded = (
        export(
            f"reference:{reference}",
            precision=precision,
            guard=guard,
            output=folder / f"{reference}-{precision}-{'guarded' if guard else 'plain'}",
        )
        for guard in (False, True)
    )
    return plain, guarded


def cost(plain: Artifact, guarded: Artifact, plan: Plan) -> dict[str, Any]:
    """A row of the result: bytes of both files, and latency of the guarded over the plain one."""
    runner = get("host", "shell")
    items = [Collected(plain), Collected(guarded)]
    with runner.session([plain, guarded]):
        measure(runner, items, plan)
    for item in items:
        if not item.trusted:
            raise UserError(f"{item.artifact.folder}: answers its golden set wrongly")
    without, with_guard = (
        [np.array(series.samples_ns, float) for series in item.series if series.valid]
        for item in items
    )
    sizes = [artifact.manifest.bytes for artifact in (plain, guarded)]
    return {
        "student": plain.manifest.name,
        "precision": plain.manifest.precision,
        "bytes": sizes,
        "bytes_of_the_guard": sizes[1] - sizes[0],
        "median_ms": [
            round(float(np.median(np.concatenate(side))) / 1e6, 4) for side in (without, with_guard)
        ],
        "processes": len(with_guard),
        "ratio": process_ratio(with_guard, without).model_dump(mode="json"),
    }


def main() -> None:
    """Export, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("references", nargs="*")
    parser.add_argument("--artifacts", nargs=2, type=Path, metavar=("PLAIN", "GUARDED"))
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    plan = Plan((1,), arguments.samples, rounds=arguments.rounds)
    with tempfile.TemporaryDirectory() as work:
        pairs = [
            pair(reference, precision, Path(work))
            for reference in arguments.references
            for precision in PRECISIONS
        ]
        if arguments.artifacts:
            plain, guarded = map(open_artifact, arguments.artifacts)
            pairs.append((plain, guarded))
        if not pairs:
            parser.error("name a shipped student, or --artifacts")
        rows = [cost(*each, plan) for each in pairs]
        device = get("host", "shell").describe()
    write_json(
        arguments.output,
        {
            "what": "bytes and latency that a guard adds to a file, both files interleaved",
            "command": f"python benchmarks/guard_cost.py {' '.join(arguments.references)}"
            f" --output {arguments.output}",
            "commit": commit(),
            "finished_utc": utc_now(),
            "versions": versions(),
            "device": device.model_dump(mode="json"),
            "rows": rows,
        },
    )
    for row in rows:
        say(
            f"{row['student']} {row['precision']}: {row['ratio']['value']:.3f} times"
            f" ({row['ratio']['low']:.3f} to {row['ratio']['high']:.3f}),"
            f" {row['bytes_of_the_guard']} bytes"
        )


if __name__ == "__main__":
    main()
