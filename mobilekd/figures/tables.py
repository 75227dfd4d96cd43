"""Tables as data: one definition becomes HTML on the page and Markdown in a pull request. And how
figures are written.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mobilekd.formats.interval import Interval
from mobilekd.support.text import visible

#: Where Markdown would begin an HTML tag; a lone ``<`` of a comparison is none.
TAG = re.compile(r"<(?=[A-Za-z/!?])")


@dataclass(frozen=True)
class Cell:
    """A figure or word, with its interval or remark in a smaller voice, and a mark that never
    stands by colour alone.
    """

    text: str
    minor: str = ""
    mark: Literal["", "good", "bad", "warn"] = ""


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first cell of a row names it."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        """A GitHub table with its caption in bold above and its note below."""
        lines = [
            f"**{inline(self.caption)}**",
            "",
            _line(self.header),
            "|" + "---|" * len(self.header),
        ]
        lines += [_line(f"{cell.text} {cell.minor}".strip() for cell in row) for row in self.rows]
        return "\n".join([*lines, *(["", inline(self.note)] if self.note else [])])


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], note: str = ""
) -> Table:
    """Build a table; whatever is no cell becomes one with its text."""
    made = tuple(
        tuple(cell if isinstance(cell, Cell) else Cell(str(cell)) for cell in row) for row in rows
    )
    return Table(caption, tuple(header), made, note)


def percent(figure: Interval | None, digits: int = 1) -> Cell:
    """``78.3`` with ``(76.1 to 80.2)``; what is missing says why."""
    return _figure(figure, 100, digits)


def number(figure: Interval | None, digits: int = 3) -> Cell:
    """The same without the factor of 100."""
    return _figure(figure, 1, digits)


def points(figure: Interval | None) -> Cell:
    """A difference in percentage points, signed."""
    return _figure(figure, 100, 1, sign="+")


def _figure(figure: Interval | None, factor: float, digits: int, sign: str = "") -> Cell:
    if figure is None:
        return Cell("–")
    if figure.value is None:
        return Cell("–", figure.reason or "")
    value, low, high = (
        None if end is None else f"{factor * end:{sign}z.{digits}f}".replace("-", "−")
        for end in (figure.value, figure.low, figure.high)
    )
    return Cell(value or "–", between(low, high) if low and high else "")


def between(low: str, high: str) -> str:
    """``(2.1 to 3.4)``, which a line does not break."""
    return f"({low}\u00a0to\u00a0{high})"


def interval_words(figure: Interval, percent: bool) -> str:
    """``78.3 (76.1 to 80.2)`` in a sentence: per cent, or plain with three digits."""
    factor, digits = (100, 1) if percent else (1, 3)
    value = f"{factor * (figure.value or 0):z.{digits}f}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({factor * figure.low:z.{digits}f} to {factor * figure.high:z.{digits}f})"


def signed(share: float, digits: int = 1) -> str:
    """``+12.3%``, with a true minus sign."""
    return f"{100 * share:+z.{digits}f}%".replace("-", "−")


def count(value: float | None) -> str:
    """``412 k``, ``2.21 M``: three significant digits at most."""
    if value is None:
        return "–"
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:g}"


def size(value: float | None) -> str:
    """Bytes as kB or MB, decimal."""
    return (
        "–"
        if value is None
        else f"{value / 1e6:.2f} MB"
        if value >= 1e6
        else f"{value / 1e3:.0f} kB"
    )


def duration(seconds: float | None) -> str:
    """``3 h 05 min``, ``4 min 10 s``, ``12 s``."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def milliseconds(value: float) -> str:
    """Three significant digits, without an exponent."""
    return (
        f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}" if value >= 0.01 else f"{value:.4f}"
    )


def inline(text: str) -> str:
    """A text inside a line of Markdown: no line break, no HTML, nothing that cannot be seen."""
    return TAG.sub("&lt;", visible(" ".join(text.splitlines())))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(inline(cell).replace("|", "\\|") for cell in cells) + " |"
