"""Students beside controls and teachers."""

from mobilekd.figures import comparison as comparison_figures
from mobilekd.page.blocks import Block, Charts, Heading, Notice, Section, section_of
from mobilekd.page.inputs import Inputs


def section(inputs: Inputs) -> Section | None:
    """A comparison's pictures and tables, one after the other where there are several splits."""
    comparisons = inputs.comparisons
    blocks: list[Block | None] = []
    waiting = [one.name for one in inputs.runs if one.evaluation is None]
    if waiting:
        blocks.append(
            Notice(
                "Not evaluated.",
                f"No figures for {', '.join(waiting)}; mobilekd evaluate gives them.",
            )
        )
    for document in comparisons:
        if len(comparisons) > 1:
            leaky = ", LEAKY" if document["leaky"] else ""
            blocks.append(Heading(f"Split {document['split_hash'][:12]}{leaky}"))
        if document["leaky"]:
            blocks.append(
                Notice(
                    "Leaky split.",
                    "Photographs of one lesion may sit on both sides: read these figures as an"
                    " upper end.",
                )
            )
        blocks.append(Charts(tuple(comparison_figures.charts(document).values())))
        blocks += [
            comparison_figures.scores(document),
            comparison_figures.claims(document),
            comparison_figures.seeds(document),
        ]
    return section_of("judged", "Students beside controls and teachers", blocks)
