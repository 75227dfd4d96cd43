"""One student in every precision: size, accuracy on the whole test split, parity per stage, host
latency, in one JSON table.

    python benchmarks/lowering/table.py runs/ham10000 benchmarks/results/lowering-ham10000.json
    python benchmarks/lowering/table.py RUN OUT --smoke        fp32 and int8, twenty samples

An export that its gates refuse is lowered again with the gates opened, so that its figures stand
beside the refusal; not a mixed one, since open gates would leave other layers in floating point.
The files are measured interleaved, after all of them are made.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from mobilekd.commands.bench import bench
from mobilekd.commands.export import export
from mobilekd.formats.artifact import Artifact, open_artifact
from mobilekd.formats.measurement import Measurement
from mobilekd.graphs import pte
from mobilekd.support.errors import CannotRunHere, GateError
from mobilekd.support.files import read_json, write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions

EVERY = (
    "xnnpack/fp32",
    "xnnpack/int8",
    "xnnpack/int8-qat",
    "xnnpack/mixed",
    "coreml/fp16",
    "coreml/int8",
    "coreml/palette",
)
OPEN = (
    "gates.agreement=0",
    "gates.accuracy_drop=1",
    "gates.sqnr_db=-100",
    "gates.max_error=1",
    "gates.max_error_quantized=1",
)

#: The size promised: bytes per parameter of an int8 file, and what labels, card and graph may add.
BYTES_PER_PARAMETER, EXTRA = 1.15, 100_000


def row(run: str, kind: str, folder: Path) -> tuple[dict[str, Any], Artifact | None]:
    """Export one precision; its figures, and the artifact to measure. What an earlier call left
    whole is taken as it is.
    """
    backend, precision = kind.split("/")
    figures = folder.with_name(f"{folder.name}.json")
    if figures.is_file():
        return read_json(figures, "figures of an export"), open_artifact(folder)
    refused = None
    try:
        artifact = export(run, backend=backend, precision=precision, output=folder)
    except GateError as error:
        refused = str(error)
        say(f"{kind}: refused: {refused}")
        if precision == "mixed":
            return {"export": kind, "refused": refused}, None
        artifact = export(run, backend=backend, precision=precision, output=folder, overrides=OPEN)
    manifest = artifact.manifest
    row = {
        "export": kind,
        "refused": refused,
        "bytes": manifest.bytes,
        "least_ios": manifest.least_ios,
        "parameters": manifest.student.parameters,
        "bytes_per_parameter": manifest.bytes / manifest.student.parameters,
        "within_size": manifest.bytes <= BYTES_PER_PARAMETER * manifest.student.parameters + EXTRA,
        "accuracy": manifest.accuracy,
        "gates": [gate.model_dump() for gate in manifest.gates],
        "parity": [stage.model_dump(mode="json") for stage in manifest.parity],
        "delegation": manifest.delegation.model_dump() if manifest.delegation else None,
        "notes": list(manifest.notes),
    }
    if artifact.model.suffix == ".pte":
        row["byte_parts"] = pte.read(artifact.model).byte_table()
    write_json(figures, row)
    return row, artifact


def latency(measurement: Measurement) -> dict[str, float]:
    """Median milliseconds by thread count."""
    return {
        str(series.threads_asked): statistics.median(series.samples_ns) / 1e6
        for series in measurement.series
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="a run's folder, or reference:NAME")
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", nargs="+", default=EVERY, metavar="BACKEND/PRECISION")
    parser.add_argument(
        "--artifacts",
        type=Path,
        help=(
            "keep the artifacts in this folder, and take those that it has: made on a busy machine,"
            " measured on a quiet one"
        ),
    )
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    kinds = ("xnnpack/fp32", "xnnpack/int8") if arguments.smoke else tuple(arguments.only)
    samples = 20 if arguments.smoke else arguments.samples

    kept = arguments.artifacts or Path(tempfile.mkdtemp())
    try:
        made = {kind: row(arguments.run, kind, kept / kind.replace("/", "-")) for kind in kinds}
        runnable = [
            artifact
            for _, artifact in made.values()
            if artifact and artifact.model.suffix == ".pte"
        ]
        measured = {}
        try:
            for measurement in bench(
                [artifact.folder for artifact in runnable], samples=samples, output=kept / "results"
            ):
                measured[measurement.backend, measurement.precision] = latency(measurement)
        except CannotRunHere as reason:
            say(f"latency: {reason}")
    finally:
        if arguments.artifacts is None:
            shutil.rmtree(kept)
    rows = [
        {
            **figures,
            "host_milliseconds": (
                artifact and measured.get((artifact.manifest.backend, artifact.manifest.precision))
            ),
        }
        for figures, artifact in made.values()
    ]
    command = (
        f"python benchmarks/lowering/table.py {arguments.run}"
        f" {arguments.output}{' --smoke' if arguments.smoke else ''}"
    )
    write_json(
        arguments.output,
        {
            "what": "one student in every precision: size, accuracy, parity, host latency",
            "command": command,
            "utc": utc_now(),
            "commit": commit(),
            "versions": versions(),
            "rows": rows,
        },
    )
    for one in rows:
        accuracy = one.get("accuracy", {}).get("balanced_accuracy", {}).get("value")
        say(
            f"{one['export']:18s} {one.get('bytes', 0):>9,} B  balanced accuracy {accuracy} "
            f" {one['host_milliseconds'] or 'not run here'}"
        )


if __name__ == "__main__":
    main()
