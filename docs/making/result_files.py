"""Figures in the files of results, in the form that tables show."""

import json
from typing import Any

from making.markdown import CHECKOUT
from mobilekd.formats.measurement import read_measurement
from mobilekd.page.latency_samples import latency_samples

RESULTS = CHECKOUT / "benchmarks/results"

HOST = "amd-epyc-2-cores"

#: Whose files were measured in three runtimes.
MEASURED = "ham10000-mobilenetv2-035"


def read(name: str) -> Any:
    """A result file."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def figure(one: dict[str, Any], digits: int = 3, scale: float = 1, sign: str = "") -> str:
    """``0.655 (0.604 to 0.707)``."""
    shown = [f"{one[key] * scale:{sign}z.{digits}f}" for key in ("value", "low", "high")]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def group(comparison: dict[str, Any], name: str) -> dict[str, Any]:
    """One student of a comparison."""
    return dict(next(one for one in comparison["groups"] if one["name"] == name))


def lowered(student: str, export: str) -> dict[str, Any]:
    """One row of a student's table of precisions."""
    [path] = RESULTS.glob(f"*/lowering-{student}.json")
    rows = read(str(path.relative_to(RESULTS)))["rows"]
    return dict(next(one for one in rows if one["export"] == export))


def milliseconds(artifact: str) -> float:
    """The median latency on one thread and all cores, in ms, as the report shows it."""
    measured = read_measurement(RESULTS / HOST / f"{artifact}.json")
    settings = latency_samples(measured)
    one = next(each for each in settings if each.threads == 1 and each.cores == "all")
    return float(one.percentile(50).value or 0)
