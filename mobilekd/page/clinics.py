"""Fitted to a clinic: what `calibrate` changed, before and after."""

from mobilekd.figures.tables import Cell, number, table
from mobilekd.formats.artifact import Artifact
from mobilekd.metrics.clinic import also_fitted
from mobilekd.metrics.registry import in_words
from mobilekd.page.blocks import Block, Section, Text, section_of
from mobilekd.page.inputs import Inputs
from mobilekd.support.text import photographs_of

WORDS = (
    "Labelled photographs of a clinic fitted the temperature, priors, thresholds, sets and limits"
    " of picture quality of these artifacts. Nothing was trained: the network in the file is bit"
    " for bit what it was. The figures are of the photographs that fitted it; after, each was"
    " answered by what the others fitted."
)


def section(inputs: Inputs) -> Section | None:
    """Every artifact that was fitted to a clinic."""
    fitted = [one for one in inputs.artifacts if one.manifest.clinic is not None]
    blocks: list[Block | None] = [Text(WORDS), *(_one(artifact) for artifact in fitted)]
    return section_of("clinics", "Fitted to a clinic", blocks if fitted else [])


def _one(artifact: Artifact) -> Block | None:
    clinic = artifact.manifest.clinic
    assert clinic is not None
    texts = {label.key: label.text for label in artifact.manifest.labels}
    rows = []
    for name, figure in clinic.after.items():
        before = clinic.before.get(name)
        was = Cell("it had no sets") if before is None else number(before)
        rows.append([in_words(name, texts), was, number(figure)])
    counts = ", ".join(f"{texts[key]} {count}" for key, count in clinic.by_class.items() if count)
    note = (
        f"{photographs_of(clinic.photographs, clinic.lesions)}: {counts}."
        f" {clinic.enough} lesions of a class are enough to know the coverage of its sets to 5"
        f" points. {also_fitted(artifact.manifest)}"
    )
    return table(artifact.title, ("figure", "before", "after"), rows, note)
