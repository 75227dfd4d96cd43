"""A small chart in SVG: scales, axes and marks whose colours are CSS variables, so one picture
serves light, dark and print.

Every chart has a title and a description for screen readers. Series differ by dash and marker as
well as by colour, and the colours stay apart for colour-blind readers. Charts are drawn 360 units
wide, so that a phone shows their words at about ten pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from mobilekd.support.text import cut, visible

WIDTH = 360
#: Width of a character at the charts' font size, in units; as wide as in the wider of the usual
#: fonts, so that no name is cut.
CHARACTER = 7
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2", "10 4")

LIGHT = (
    "--ink:#1f2426;--muted:#5d686c;--line:#d9d6cf;--paper:#fdfcfa;--panel:#f5f2ec;"
    "--c0:#0b6e75;--c1:#bf5316;--c2:#5a4a9c;--c3:#7d6400;--c4:#a32f6a;--c5:#4a5a63;"
    "--good:#1d7044;--bad:#b3261e"
)
DARK = (
    "--ink:#e9e6df;--muted:#a3abad;--line:#3a4043;--paper:#15181a;--panel:#1d2123;"
    "--c0:#58c1c8;--c1:#f2975c;--c2:#a99cf2;--c3:#d8b84c;--c4:#f087b8;--c5:#a7b6be;"
    "--good:#6fd09a;--bad:#ff8a80"
)
#: What the marks look like; a page that holds charts includes it once.
STYLE = (
    ".chart{font:11px"
    " system-ui,sans-serif;font-variant-numeric:tabular-nums;display:block;width:100%;height:auto}"
    ".chart"
    " text{fill:var(--ink)}.chart .soft{fill:var(--muted)}.chart .end{text-anchor:end}.chart"
    " .mid{text-anchor:middle}.chart .grid{stroke:var(--line);fill:none}.chart"
    " .axis{stroke:var(--muted);fill:none}.chart .guide{stroke:var(--muted);stroke-dasharray:3"
    " 3;fill:none}.chart .over{fill:var(--paper)}"
    + "".join(
        f".chart .s{i}{{stroke:var(--c{i});fill:none;stroke-width:1.8}}.chart"
        f" .f{i}{{fill:var(--c{i})}}"
        for i in range(6)
    )
)


@dataclass(frozen=True)
class Scale:
    """Data range -> drawing range, linear or logarithmic."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Place of ``value``, held inside the drawing range."""
        low, high, value = (
            (math.log(x) for x in (self.low, self.high, value))
            if self.log
            else (self.low, self.high, value)
        )
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.stop - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """About ``count`` round values inside the range."""
        if self.log:
            return self._log_ticks(count)
        step = nice((self.high - self.low) / max(1, count))
        first = math.ceil(self.low / step - 1e-9)
        return [round(k * step, 12) for k in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _log_ticks(self, count: int) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            inside = [
                step * 10.0**k
                for k in decades
                for step in steps
                if self.low <= step * 10.0**k <= self.high
            ]
            if len(inside) <= count + 1:
                break
        return inside[:: -(-len(inside) // (count + 1))] if inside else [self.low, self.high]


def nice(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten at or above ``step``."""
    power = 10.0 ** math.floor(math.log10(step)) if step > 0 else 1.0
    return next(
        factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9)
    )


def plain(value: float) -> str:
    """A tick's text: as short as it can be."""
    return f"{value:.10g}"


@dataclass
class Chart:
    """An SVG under construction; marks are appended in drawing order, positions are in drawing
    units.
    """

    title: str
    description: str
    height: float = 250
    left: float = 44
    right: float = 18
    top: float = 12
    bottom: float = 38
    width: float = WIDTH
    marks: list[str] = field(default_factory=list)

    def scale_x(self, low: float, high: float, *, log: bool = False) -> Scale:
        """Data range across the plot."""
        return Scale(low, high, self.left, self.width - self.right, log)

    def scale_y(self, low: float, high: float, *, log: bool = False) -> Scale:
        """Data range up the plot."""
        return Scale(low, high, self.height - self.bottom, self.top, log)

    def text(self, x: float, y: float, words: str, *, css: str = "") -> None:
        """One line of text at its baseline."""
        self.marks.append(
            f'<text x="{x:.1f}" y="{y:.1f}"{_class(css)}>{escape(visible(words))}</text>'
        )

    def segment(
        self, x1: float, y1: float, x2: float, y2: float, *, css: str, width: float | None = None
    ) -> None:
        """A straight line."""
        stroke = f' style="stroke-width:{width:g}"' if width else ""
        self.marks.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"{_class(css)}{stroke}/>')

    def polyline(self, points: Sequence[tuple[float, float]], *, series: int) -> None:
        """A line through points, in the series' colour and dash."""
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        dash = f' stroke-dasharray="{DASHES[series % 6]}"' if DASHES[series % 6] else ""
        self.marks.append(f'<path d="M{path}" class="s{series % 6}"{dash}/>')

    def polygon(
        self, points: Sequence[tuple[float, float]], *, series: int, opacity: float = 0.16
    ) -> None:
        """A filled area."""
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.marks.append(f'<path d="M{path}Z" class="f{series % 6}" fill-opacity="{opacity:g}"/>')

    def rectangle(
        self, x: float, y: float, width: float, height: float, *, series: int, opacity: float = 1.0
    ) -> None:
        """A filled box."""
        self.marks.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
            f' class="f{series % 6}" fill-opacity="{opacity:.3f}"/>'
        )

    def marker(
        self,
        x: float,
        y: float,
        *,
        series: int,
        size: float = 4,
        opacity: float = 1.0,
        hover: str = "",
    ) -> None:
        """A point: circle, square, diamond or triangle by series."""
        r, d = size, size * 1.25
        shapes = (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}"',
            (
                f'<rect x="{x - r * 0.9:.1f}" y="{y - r * 0.9:.1f}" width="{r * 1.8:.1f}"'
                f' height="{r * 1.8:.1f}"'
            ),
            f'<path d="M{x:.1f} {y - d:.1f}l{d:.1f} {d:.1f}l{-d:.1f} {d:.1f}l{-d:.1f} {-d:.1f}Z"',
            f'<path d="M{x:.1f} {y - r * 1.2:.1f}l{r * 1.15:.1f} {r * 2.1:.1f}h{-r * 2.3:.1f}Z"',
        )
        shade = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
        inside = (
            f"><title>{escape(visible(hover))}</title></{shapes[series % 4][1:].split()[0]}>"
            if hover
            else "/>"
        )
        self.marks.append(f'{shapes[series % 4]} class="f{series % 6}"{shade}{inside}')

    def axis_x(
        self,
        scale: Scale,
        label: str,
        *,
        ticks: int = 5,
        words: Sequence[tuple[float, str]] | None = None,
        grid: bool = True,
    ) -> None:
        """Ticks, grid lines and a label below the plot; ``words`` replaces the numbers."""
        floor = self.height - self.bottom
        for value, name in (
            words if words is not None else [(tick, plain(tick)) for tick in scale.ticks(ticks)]
        ):
            if grid:
                self.segment(scale(value), self.top, scale(value), floor, css="grid")
            self.text(scale(value), floor + 14, name, css="soft mid")
        self.segment(self.left, floor, self.width - self.right, floor, css="axis")
        self.text((self.left + self.width - self.right) / 2, self.height - 6, label, css="soft mid")

    def axis_y(
        self,
        scale: Scale,
        label: str,
        *,
        ticks: int = 5,
        words: Sequence[tuple[float, str]] | None = None,
    ) -> None:
        """Ticks and grid lines; the label stands above the axis, so that nobody tilts the head."""
        for value, name in (
            words if words is not None else [(tick, plain(tick)) for tick in scale.ticks(ticks)]
        ):
            self.segment(self.left, scale(value), self.width - self.right, scale(value), css="grid")
            self.text(self.left - 6, scale(value) + 4, name, css="soft end")
        self.text(4, self.top - 10, label, css="soft")

    def legend(self, names: Sequence[str], *, lines: bool = False) -> None:
        """Names beside their marks above the plot, wrapped; call it before any scale is made,
        because it moves the top.

        A name may have a second line.
        """
        x, y = 6.0, 12.0
        deep = 2 + 13 * max((len(name.splitlines()) for name in names), default=1)
        for series, name in enumerate(names):
            rows = [shorten(row, self.width - 24) for row in name.splitlines() or [""]]
            wide = 24 + max(map(len, rows)) * CHARACTER + 10
            if x + wide > self.width and x > 6:
                x, y = 6.0, y + deep
            if lines:
                self.polyline([(x, y - 4), (x + 18, y - 4)], series=series)
            else:
                self.marker(x + 9, y - 4, series=series)
            for number, row in enumerate(rows):
                self.text(x + 23, y + 13 * number, row, css="soft" if number else "")
            x += wide
        added = y + deep - 11
        self.top += added
        self.height += added

    def svg(self, *, alone: bool = False) -> str:
        """The picture; ``alone`` brings its own colours along, otherwise the page has them."""
        style = (
            f"<style>:root{{{LIGHT}}}@media(prefers-color-scheme:dark){{:root{{{DARK}}}}}"
            f"svg{{background:var(--paper)}}{STYLE}</style>"
        )
        size = f'viewBox="0 0 {self.width:g} {self.height:g}"'
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img"'
            f" {size}><title>{escape(visible(self.title))}</title>"
            f"<desc>{escape(visible(self.description))}</desc>{style if alone else ''}"
            f"{''.join(self.marks)}</svg>"
        )


def chance_words(chance: float | None) -> str:
    """What an axis's label says of the line that marks guessing."""
    return "" if chance is None else f" (dashed: chance, {100 * chance:.1f})"


def one_line(name: str) -> str:
    """A name whose second line follows behind a comma."""
    return ", ".join(name.splitlines())


def label_room(names: Sequence[str], most: float = 170) -> float:
    """Left margin that holds the longest of ``names``."""
    return min(most, 12 + max((len(name) for name in names), default=0) * CHARACTER)


def shorten(name: str, room: float) -> str:
    """``name``; where it is wider than ``room`` units its middle is left out, because what tells
    names apart often ends them.
    """
    return cut(visible(name), max(4, int((room - 8) / CHARACTER)))


def _class(css: str) -> str:
    return f' class="{css}"' if css else ""
