"""Pieces of Markdown that all pages share."""

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

MADE = "<!-- made from the code by make docs-reference; changes here are lost -->\n"


def cell(text: object) -> str:
    """Text for a cell of a Markdown table, on one line."""
    return " ".join(str(text).split()).replace("``", "`").replace("|", "\\|")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell(one) for one in line)} |\n" for line in lines)


def page(title: str, *parts: str) -> str:
    """A page made here."""
    return "\n".join([f"# {title}\n", MADE, *(part.rstrip("\n") + "\n" for part in parts)])


def first_paragraph(thing: object) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
