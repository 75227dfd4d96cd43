"""The page in Markdown, for a pull request: words and tables."""

from mobilekd.figures.tables import Table, inline
from mobilekd.page.blocks import Block, Charts, Heading, Notice, Page, Points, Text, Tiles


def render(page: Page) -> str:
    """Words and tables; the pictures are on the page."""
    lines = [f"# {inline(page.title)}", "", inline(page.lead)]
    for part in page.sections:
        lines += ["", f"## {part.title}"]
        for block in part.blocks:
            lines += ["", _rendered(block)]
    return "\n".join([*(line for line in lines if line is not None), "", page.footer, ""])


def _rendered(block: Block) -> str:
    match block:
        case Text(words):
            return inline(words)
        case Heading(words):
            return f"### {inline(words)}"
        case Notice(heading, words):
            return f"> **{inline(heading)}** {inline(words)}"
        case Points(items):
            return "\n".join(
                f"- **{inline(term)}**: {inline(words)}" if term else f"- {inline(words)}"
                for term, words in items
            )
        case Tiles(tiles):
            return "\n".join(
                f"- {tile.label}: **{tile.figure}{tile.unit}** {inline(tile.remark)}".rstrip()
                for tile in tiles
            )
        case Charts(charts):
            return "\n".join(
                f"- _{inline(chart.title)}_: {inline(chart.description)}" for chart in charts
            )
        case Table():
            return block.markdown()
