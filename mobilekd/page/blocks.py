"""A page as data: sections of blocks, of which HTML and Markdown are two renderings."""

from collections.abc import Sequence
from dataclasses import dataclass

from mobilekd.figures import Chart
from mobilekd.figures.tables import Table


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    words: str


@dataclass(frozen=True)
class Notice:
    """Something that must not be missed; the heading says what it is, so colour is never alone."""

    heading: str
    words: str


@dataclass(frozen=True)
class Points:
    """A list; each point may begin with a term."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Charts:
    """Charts side by side."""

    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class Tile:
    """One large figure."""

    label: str
    figure: str
    unit: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Tiles:
    """The figures that a reader looks for first."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    words: str


Block = Text | Notice | Points | Charts | Tiles | Heading | Table


@dataclass(frozen=True)
class Section:
    """A part of the page with its own entry in the contents."""

    id: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    lead: str
    sections: tuple[Section, ...]
    footer: str


def section_of(name: str, title: str, blocks: Sequence[Block | None]) -> Section | None:
    """A section of the blocks that there are, or none."""
    present = tuple(block for block in blocks if block is not None)
    return Section(name, title, present) if present else None
