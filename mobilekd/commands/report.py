"""``mobilekd report``: one self-contained page from runs, artifacts and measurements, with Markdown
and JSON beside it.

A pure function of its inputs: the same files give the same bytes. Nothing on the page comes from
another place.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mobilekd.page import (
    accuracy,
    conditions,
    glance,
    html,
    lowered,
    measured,
    model_cards,
    tradeoff,
    trained,
)
from mobilekd.page.blocks import Page, markdown, section
from mobilekd.page.collect import Material, collect
from mobilekd.page.document import document
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json, write_text

__all__ = ["report"]


def report(paths: Sequence[Path], output: Path = Path("report.html")) -> Path:
    """Write the page to ``output``, ``.md`` and ``.json`` beside it, and return its path.

    ``paths`` are run folders, artifact folders, measurement, evaluation or comparison files, or
    folders of any of them.
    """
    if output.suffix != ".html":
        raise UserError(
            f"--output {output}: a page ends in .html; its .md and .json appear beside it"
        )
    material = collect(paths)
    comparisons = accuracy.comparisons(material)
    places = tradeoff.placed(material)
    page = compose(material, comparisons, places)
    write_json(output.with_suffix(".json"), document(material, comparisons, places))
    write_text(output.with_suffix(".md"), markdown(page))
    write_text(output, html.render(page))
    return output


def compose(
    material: Material,
    comparisons: Sequence[dict[str, Any]],
    places: dict[str, list[tradeoff.Placed]],
) -> Page:
    """The sections in the order of reading; those without content are left out."""
    sections = [
        section("glance", "At a glance", [glance.tiles(material, comparisons)]),
        trained.trained(material.runs),
        accuracy.judged(material, comparisons),
        accuracy.classes(material, comparisons),
        accuracy.elsewhere(material),
        lowered.lowered(material.artifacts),
        measured.answers(material.measurements),
        measured.measured(material.measurements),
        tradeoff.tradeoff(places),
        conditions.conditions(material.measurements),
        model_cards.card(material),
        model_cards.provenance(material),
    ]
    return Page(
        glance.title_of(material, comparisons),
        glance.lead(material, comparisons),
        tuple(one for one in sections if one),
        model_cards.DISCLAIMER,
    )
