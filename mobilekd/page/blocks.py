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
class Pictures:
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


Block = Text | Notice | Points | Pictures | Tiles | Heading | Table


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


def section(name: str, title: str, blocks: Sequence[Block | None]) -> Section | None:
    """A section of the blocks that there are, or none."""
    present = tuple(block for block in blocks if block is not None)
    return Section(name, title, present) if present else None


def markdown(page: Page) -> str:
    """For a pull request: words and tables; the pictures are on the page."""
    lines = [f"# {page.title}", "", page.lead]
    for part in page.sections:
        lines += ["", f"## {part.title}"]
        for block in part.blocks:
            lines += ["", _markdown(block)]
    return "\n".join([*(line for line in lines if line is not None), "", page.footer, ""])


def _markdown(block: Block) -> str:
    match block:
        case Text(words):
            return words
        case Heading(words):
            return f"### {words}"
        case Notice(heading, words):
            return f"> **{heading}** {words}"
        case Points(items):
            return "\n".join(
                f"- **{term}**: {words}" if term else f"- {words}" for term, words in items
            )
        case Tiles(tiles):
            return "\n".join(
                f"- {tile.label}: **{tile.figure}{tile.unit}** {tile.remark}".rstrip()
                for tile in tiles
            )
        case Pictures(charts):
            return "\n".join(f"- _{chart.title}_: {chart.description}" for chart in charts)
        case Table():
            return block.markdown()
