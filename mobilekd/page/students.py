"""Students beside controls and teachers."""

from mobilekd.figures import comparison as comparison_figures
from mobilekd.page.blocks import Block, Charts, Heading, Notice, Section, section_of
from mobilekd.page.inputs import Inputs
from mobilekd.support.text import listed


def section(inputs: Inputs) -> Section | None:
    """A comparison's pictures and tables, one after the other where there are several splits."""
    comparisons = inputs.comparisons
    blocks: list[Block | None] = []
    waiting = [one.name for one in inputs.runs if one.evaluation is None]
    if waiting:
        blocks.append(
            Notice(
                f"Not evaluated: {len(waiting)}.",
                f"No figures for {listed(waiting)}; mobilekd evaluate RUN gives them.",
            )
        )
    for comparison in comparisons:
        if len(comparisons) > 1:
            leaky = ", LEAKY" if comparison.leaky else ""
            kind = f"{comparison.folds} folds" if comparison.folds else "Split"
            blocks.append(Heading(f"{kind} {comparison.split_hash[:12]}{leaky}"))
        if comparison.leaky:
            blocks.append(
                Notice(
                    "Leaky split.",
                    "Photographs of one lesion may sit on both sides: read these figures as an"
                    " upper end.",
                )
            )
        blocks.append(Charts(tuple(comparison_figures.charts(comparison).values())))
        blocks += [
            comparison_figures.scores(comparison),
            comparison_figures.claims(comparison),
            comparison_figures.seeds(comparison),
        ]
    return section_of("judged", "Students beside controls and teachers", blocks)
