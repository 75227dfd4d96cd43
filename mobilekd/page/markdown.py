"""The page in Markdown, for a pull request: words and tables."""

from mobilekd.figures.tables import Table
from mobilekd.page.blocks import Block, Charts, Heading, Notice, Page, Points, Text, Tiles


def render(page: Page) -> str:
    """Words and tables; the pictures are on the page."""
    lines = [f"# {page.title}", "", page.lead]
    for part in page.sections:
        lines += ["", f"## {part.title}"]
        for block in part.blocks:
            lines += ["", _rendered(block)]
    return "\n".join([*(line for line in lines if line is not None), "", page.footer, ""])


def _rendered(block: Block) -> str:
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
        case Charts(charts):
            return "\n".join(f"- _{chart.title}_: {chart.description}" for chart in charts)
        case Table():
            return block.markdown()
