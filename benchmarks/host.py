r"""Every shipped student in every precision on this machine: results as data, the harness's
overhead, the table and the page.

    python benchmarks/host.py report.html [--samples 1000] [--minutes 5] \
        [--results benchmarks/results] [--artifacts ARTIFACT...]

What the gates refuse is named and left out; ``--artifacts`` takes finished exports instead, made
while the machine was busy. On a machine that others keep busy nothing is written to the results.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from harness import overhead

from mobilekd import backends
from mobilekd.commands.bench import bench
from mobilekd.commands.export import export
from mobilekd.commands.report import report
from mobilekd.formats.artifact import Artifact, open_artifact
from mobilekd.formats.runs import references
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json
from mobilekd.support.progress import say

RESULTS = Path(__file__).resolve().parent / "results"


def exported(folder: Path, only: list[str]) -> list[Artifact]:
    """Every reference in every XNNPACK precision, or ``only`` these, as far as the gates
    accept it.
    """
    rows = []
    for name in references():
        for precision in only or backends.get("xnnpack").precisions:
            try:
                rows.append(
                    export(
                        f"reference:{name}",
                        backend="xnnpack",
                        precision=precision,
                        output=folder / f"{name}-{precision}",
                    )
                )
            except UserError as reason:
                say(f"{name} {precision}: left out: {reason}")
    return rows


def main() -> None:
    """Export, measure, write, show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=5.0)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--precision", action="append", default=[], help="only this one; may be repeated"
    )
    chosen.add_argument("--artifacts", nargs="+", type=Path, default=[])
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        artifacts = [open_artifact(path) for path in arguments.artifacts] or exported(
            Path(work) / "artifacts", arguments.precision
        )
        folders = [artifact.folder for artifact in artifacts]
        results = Path(work) / "results"
        results.mkdir()  # a folder, for a single artifact too
        measured = bench(
            folders, samples=arguments.samples, minutes=arguments.minutes, output=results
        )
        report([*folders, results], arguments.page)
        say(f"page: {arguments.page}")
        doubts = {reason for one in measured for reason in one.reasons}
        if doubts:
            sys.exit(
                f"{arguments.results}: nothing written, because the measurements are invalid"
                f" ({'; '.join(sorted(doubts))})"
            )
        for one in measured:
            path = arguments.results / one.device.id / f"{one.artifact}.json"
            write_json(path, one.model_dump(mode="json"))
            say(f"result: {path}")
        overhead.write(artifacts, arguments.results / "harness" / "overhead.json")
    say("the index page: python benchmarks/index.py")


if __name__ == "__main__":
    main()
