"""Pictures as SVG text, drawn by hand so that one file serves light, dark, print and screen
readers; no plotting library.

Add here a chart that is a pure function of numbers and names. Never imports what computes the
numbers.
"""

from mobilekd.figures.evaluation import confusion, curve, reliability, risk_coverage
from mobilekd.figures.forest import Row, forest
from mobilekd.figures.latency import cold, distribution, strips, sustained, threads
from mobilekd.figures.pareto import Point, pareto, pareto_front
from mobilekd.figures.svg import DARK, DASHES, LIGHT, STYLE, Chart

__all__ = [
    "DARK",
    "DASHES",
    "LIGHT",
    "STYLE",
    "Chart",
    "Point",
    "Row",
    "cold",
    "confusion",
    "curve",
    "distribution",
    "forest",
    "pareto",
    "pareto_front",
    "reliability",
    "risk_coverage",
    "strips",
    "sustained",
    "threads",
]
