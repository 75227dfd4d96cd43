"""What was left out of the data, joined or not matched, as training and evaluations said it."""

from mobilekd.page.blocks import Points, Section, Text, section_of
from mobilekd.page.inputs import Inputs
from mobilekd.support.text import listed


def section(inputs: Inputs) -> Section | None:
    """Every note once, with the runs and evaluations that it was said of."""
    said: dict[str, list[str]] = {}
    for one in inputs.runs:
        for note in one.run.info.notes:
            said.setdefault(note, []).append(one.name)
        if one.evaluation:
            for note in one.evaluation.data.notes:
                said.setdefault(note, []).append(f"the evaluation of {one.name}")
    for evaluation in inputs.evaluations:
        about = f"the evaluation of {evaluation.target.name} on {evaluation.data.kind}"
        for note in evaluation.data.notes:
            said.setdefault(note, []).append(about)
    if not said:
        return None
    points = tuple((listed(list(dict.fromkeys(names))), note) for note, names in said.items())
    lead = Text("What was left out, joined or not matched, as it was said then.")
    return section_of("data-notes", "Notes on the data", [lead, Points(points)])
