"""``mobilekd report``: one self-contained page from runs, artifacts and measurements, with Markdown
and JSON beside it.

A pure function of its inputs: the same files give the same bytes. Nothing on the page comes from
another place.
"""

from collections.abc import Sequence
from pathlib import Path

from mobilekd.formats.artifact import ARTIFACTS, newest_artifact, open_artifact
from mobilekd.formats.runs import newest_run
from mobilekd.page import (
    by_origin,
    chips,
    classes,
    clinics,
    conditions,
    data_notes,
    glance,
    golden_sets,
    html,
    latency,
    layer_errors,
    lowering_steps,
    markdown,
    model_cards,
    next_steps,
    other_data,
    provenance,
    runtimes,
    students,
    tradeoff,
    trained,
)
from mobilekd.page.blocks import Page
from mobilekd.page.collect import collect
from mobilekd.page.inputs import Inputs
from mobilekd.page.report_json import report_json
from mobilekd.support.errors import UserError
from mobilekd.support.files import check_writable, write_json, write_text
from mobilekd.support.progress import say

__all__ = ["report"]

#: The sections in the order of reading, each a function of what the report is made of.
SECTIONS = (
    glance.section,
    trained.section,
    students.section,
    classes.section,
    by_origin.section,
    other_data.section,
    clinics.section,
    data_notes.section,
    lowering_steps.section,
    layer_errors.section,
    golden_sets.section,
    chips.section,
    latency.section,
    runtimes.section,
    tradeoff.section,
    conditions.section,
    next_steps.section,
    model_cards.section,
    provenance.section,
)


def report(paths: Sequence[Path] | None = None, output: Path = Path("report.html")) -> Path:
    """Write the page to ``output``, ``.md`` and ``.json`` beside it, and return its path.

    ``paths`` are run folders, artifact folders, measurement, evaluation or comparison files, or
    folders of any of them. None takes the newest run with its artifacts and what was measured, and
    says which.
    """
    if output.suffix != ".html":
        raise UserError(
            f"--output {output}: a page ends in .html; its .md and .json appear beside it"
        )
    for suffix in (".html", ".md", ".json"):
        check_writable(output.with_suffix(suffix))
    if paths is None:
        paths = newest()
        say(f"report: the newest: {', '.join(map(str, paths))}")
    inputs = collect(paths)
    page = compose(inputs)
    write_json(output.with_suffix(".json"), report_json(inputs))
    write_text(output.with_suffix(".md"), markdown.render(page))
    write_text(output, html.render(page))
    return output


def newest(runs: Path = Path("runs")) -> list[Path]:
    """The newest run, the artifacts made from it, and the folder of results where there is one;
    without a run the newest artifact.
    """
    run = newest_run(runs)
    made = [
        folder.parent
        for folder in sorted(ARTIFACTS.glob("*/manifest.json"))
        if open_artifact(folder.parent).manifest.provenance.run == run.info.name
    ]
    results = [path for path in (Path("results"),) if path.is_dir()]
    if run.reference and not made:
        found = [newest_artifact()] if any(ARTIFACTS.glob("*/manifest.json")) else []
        if not (found or results):
            raise UserError(
                "report: no run, artifact or results here to report on; mobilekd demo makes all of"
                " them and a page, mobilekd report PATH takes others"
            )
        return [*found, *results]
    return [Path(run.name), *made, *results]


def compose(inputs: Inputs) -> Page:
    """The page of the sections that have content."""
    sections = [section(inputs) for section in SECTIONS]
    return Page(
        glance.title(inputs),
        glance.lead(inputs),
        tuple(section for section in sections if section),
        model_cards.DISCLAIMER,
    )
