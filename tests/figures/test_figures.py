"""Pictures: well-formed, described, inside their frame, and saying what the data say."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekd import figures
from mobilekd.figures.svg import Scale, nice
from mobilekd.figures.tables import (
    Cell,
    count,
    duration,
    milliseconds,
    percent,
    points,
    size,
    table,
)
from mobilekd.formats.evaluation import ReliabilityBin
from mobilekd.formats.interval import Interval

SVG = "{http://www.w3.org/2000/svg}"
RANDOM = np.random.default_rng(0)
BANDS = np.sort(RANDOM.gamma(3, 1, (100, 3)) + 5, axis=1)
SAMPLES = {
    "fp32": RANDOM.gamma(3, 1, 300) + 5,
    "int8, a name with <angles> & ampersand": RANDOM.gamma(3, 0.5, 300) + 2,
}

CHARTS = {
    "confusion": figures.confusion([[5, 1], [0, 9]], ["mel", "nv"]),
    "reliability": figures.reliability(
        [
            ReliabilityBin(confidence=0.5, accuracy=0.4, n=9),
            ReliabilityBin(confidence=0.9, accuracy=0.95, n=9),
        ],
        0.05,
    ),
    "risk_coverage": figures.risk_coverage([[0.1, 0.0], [0.5, 0.1], [1.0, 0.3]], 0.9),
    "curve": figures.curve(
        "Training", "accuracy", {"a": [(1, 0.5), (2, 0.7)], "b": [(1, 0.4), (2, 0.6)]}
    ),
    "forest": figures.forest(
        "Differences",
        "points",
        [
            figures.Row("a – b", Interval(value=0.02, low=0.01, high=0.03)),
            figures.Row("none", Interval(value=None, reason="x")),
        ],
        zero=True,
        margin=-0.01,
    ),
    "pareto": figures.pareto(
        [
            figures.Point("a", 1.0, Interval(value=0.7, low=0.6, high=0.8), 0, True),
            figures.Point("b", 9.0, Interval(value=0.6), 1, False),
        ],
        "ms",
        ["x", "y"],
    ),
    "distribution": figures.distribution(SAMPLES),
    "strips": figures.strips(SAMPLES),
    "threads": figures.threads({"fp32": [(1, 5.0, 6.0, 7.0), (2, 3.0, 4.0, 5.0)]}),
    "cold": figures.cold({"fp32": {"map the file": [0.0, 0.1], "steady": [5.0]}}),
    "sustained": figures.sustained(np.linspace(0, 60, 100), BANDS, 0.1, [(0, 30.0), (60, 41.0)]),
    "sustained with frequency": figures.sustained(
        np.linspace(0, 60, 100),
        BANDS,
        0.1,
        [(0, 30.0), (60, 41.0)],
        [(0, 2850.0), (60, 1900.0)],
    ),
    "strips with devices": figures.strips(
        {"a phone with a long name, via shell\nfp32 (invalid)": SAMPLES["fp32"]}
    ),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_well_formed_described_and_inside_its_frame(name: str) -> None:
    root = ET.fromstring(CHARTS[name].svg())
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    assert root.attrib["role"] == "img"
    assert root.find(f"{SVG}title").text
    assert len(root.find(f"{SVG}desc").text) > 15
    for mark in root.iter():
        for key, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
            if key in mark.attrib:
                assert -1 <= float(mark.attrib[key]) <= most + 1, ET.tostring(mark)


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_alone_brings_its_colours_and_asks_for_nothing(name: str) -> None:
    text = CHARTS[name].svg(alone=True)
    used = set(re.findall(r"var\((--\w+)\)", text))
    assert used <= set(re.findall(r"(--\w+):#", text))
    assert "prefers-color-scheme:dark" in text
    assert not re.findall(r"(?:href|src|url\()", text)
    ET.fromstring(text)


def test_both_themes_define_the_same_colours_with_enough_contrast() -> None:
    def colours(theme: str) -> dict[str, str]:
        return dict(re.findall(r"--(\w+):#([0-9a-f]{6})", theme))

    light, dark = colours(figures.LIGHT), colours(figures.DARK)
    assert light.keys() == dark.keys()
    for theme in (light, dark):
        for name in ("ink", "muted", "good", "bad", *(f"c{i}" for i in range(6))):
            # WCAG 2.2: text, and graphics
            needed = 4.5 if name in ("ink", "muted", "good", "bad") else 3.0
            assert contrast(theme[name], theme["paper"]) >= needed, name


def contrast(a: str, b: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_description_tells_the_figures() -> None:
    assert "a – b 2.0 (1.0 to 3.0)" in CHARTS["forest"].description
    assert "Not beaten on both axes: a." in CHARTS["pareto"].description
    assert "14 of 15 photographs on the diagonal" in CHARTS["confusion"].description


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 1)), min_size=1, max_size=12))
def test_the_pareto_front_is_what_nothing_beats(models: list[tuple[float, float]]) -> None:
    front = figures.pareto_front([cost for cost, _ in models], [value for _, value in models])
    assert any(front)
    for on, (cost, value) in zip(front, models, strict=True):
        beaten = any(c <= cost and v >= value and (c < cost or v > value) for c, v in models)
        assert on is not beaten


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.booleans())
@settings(max_examples=200)
def test_ticks_are_few_round_and_inside(low: float, width: float, log: bool) -> None:
    low = abs(low) + 1e-6 if log else low
    scale = Scale(low, low + width, 0, 100, log)
    ticks = scale.ticks()
    assert len(ticks) <= 12
    assert all(-1e-6 <= scale(tick) <= 100 + 1e-6 for tick in ticks)


def test_nice_steps() -> None:
    assert [nice(x) for x in (0.03, 0.21, 1, 2.2, 3, 7)] == [0.05, 0.25, 1, 2.5, 5, 10]


def test_how_figures_are_written() -> None:
    assert percent(Interval(value=0.7834, low=0.761, high=0.8)) == Cell(
        "78.3", "(76.1\u00a0to\u00a080.0)"
    )
    assert points(Interval(value=-0.012, low=-0.02, high=0.001)) == Cell(
        "−1.2", "(−2.0\u00a0to\u00a0+0.1)"
    )
    assert percent(Interval(value=None, reason="no example")) == Cell("–", "no example")
    assert [count(x) for x in (94_512, 2_213_000, 300, None)] == ["94.5 k", "2.21 M", "300", "–"]
    assert [size(x) for x in (558_000, 9_100_000)] == ["558 kB", "9.10 MB"]
    assert [duration(x) for x in (11_100, 250, 12)] == ["3 h 05 min", "4 min 10 s", "12 s"]
    assert [milliseconds(x) for x in (123.4, 99.97, 6.3, 0.2, 0.004)] == [
        "123",
        "100",
        "6.30",
        "0.200",
        "0.0040",
    ]


def test_a_table_survives_markdown() -> None:
    text = table("Cap", ("a|b", "c"), [["x|y", Cell("1", "(0 to 2)")]], "note").markdown()
    assert text.splitlines() == [
        "**Cap**",
        "",
        "| a\\|b | c |",
        "|---|---|",
        "| x\\|y | 1 (0 to 2) |",
        "",
        "note",
    ]
