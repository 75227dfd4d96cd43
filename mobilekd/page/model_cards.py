"""Model card: what it is for, and what nobody has shown about it."""

from typing import Any

from mobilekd.data.published import archive_origins, known_facts
from mobilekd.formats.data_tables import data_title
from mobilekd.page.blocks import Block, Heading, Points, Section, Text, section_of
from mobilekd.page.inputs import Inputs

DISCLAIMER = (
    "A research demonstration, not a medical device. It must not be used to diagnose, to reassure,"
    " or to delay seeing a doctor."
)

USE = (
    (
        "Intended use",
        (
            "research and teaching on distillation and on-device inference with dermoscopy"
            " photographs of single pigmented lesions"
        ),
    ),
    (
        "Out of scope",
        (
            "any clinical decision; clinical (non-dermoscopic) or phone-camera photographs without"
            " a dermatoscope; screening of whole bodies"
        ),
    ),
)

NOT_VALIDATED = (
    (
        "People",
        (
            "populations, ages and skin tones that the data hold few or none of (HAM10000 was"
            " gathered in Vienna and Queensland)"
        ),
    ),
    ("Instruments", "other dermatoscopes, cameras, lighting and compression than the data's"),
    (
        "Lesions",
        (
            "classes that the data lack (it must choose one of its own, or say “not sure”), mucosa,"
            " nails, treated or ulcerated skin"
        ),
    ),
    (
        "Practice",
        (
            "prospective use with patients; a histological diagnosis outside the data; the effect"
            " on what people do"
        ),
    ),
)


HARM = (
    "a malignant lesion called benign delays treatment, a benign one called malignant leads to"
    " surgery that was not needed; a photograph of no skin, or a poor one, may get a sure answer"
)


def section(inputs: Inputs) -> Section | None:
    """Intended use, limits, data and decision rule of the students and artifacts here."""
    if not (inputs.runs or inputs.artifacts):
        return None
    blocks: list[Block | None] = [Text(DISCLAIMER), Points((*USE, *_facts(inputs)))]
    blocks += [Heading("What it was not validated on"), Points(NOT_VALIDATED)]
    return section_of("card", "Model card", blocks)


def _facts(inputs: Inputs) -> tuple[tuple[str, str], ...]:
    labels = {label.key: label.text for one in inputs.runs for label in one.run.info.labels}
    labels |= {
        label.key: label.text for artifact in inputs.artifacts for label in artifact.manifest.labels
    }
    licences = [one.run.info.data_licence for one in inputs.runs] + [
        artifact.manifest.provenance.data_licence for artifact in inputs.artifacts
    ]
    data = sorted(
        {one.run.recipe.data.title for one in inputs.runs}
        | {_kind(artifact.manifest.provenance.recipe) for artifact in inputs.artifacts}
    )
    stated = sorted({one for one in licences if one})
    recipes = [one.run.recipe.to_dict() for one in inputs.runs] + [
        artifact.manifest.provenance.recipe for artifact in inputs.artifacts
    ]
    kinds = sorted({kind for recipe in recipes for kind in _kinds(recipe)})
    judged = {
        key.removeprefix("balanced_accuracy.")
        for artifact in inputs.artifacts
        for key in artifact.manifest.accuracy
    }
    # shares of several data sets do not add up, so those of the first run that counted are shown
    confirmed = next((one.run.info.confirmed for one in inputs.runs if one.run.info.confirmed), {})
    origins = {name for recipe in recipes for name in archive_origins(recipe, judged)}
    elsewhere = sorted(
        {evaluation.data.kind for evaluation in inputs.evaluations if evaluation.data.role == "all"}
    )
    facts = [
        ("Classes", ", ".join(f"{text} ({key})" for key, text in labels.items())),
        (
            "Trained on",
            (
                f"{', '.join(data)}; the weights inherit the data's licence:"
                f" {', '.join(stated) or 'none stated'}"
            ),
        ),
        *known_facts(kinds, confirmed, sorted(origins)),
        ("Errors", HARM),
        ("Judged on data of another origin", ", ".join(elsewhere) or "none in this report"),
        ("Decision", "the most probable class after temperature scaling on validation"),
        (
            "Not sure",
            "below a top probability that keeps 90% of validation, it says so instead of answering",
        ),
    ]
    return tuple(facts)


def _kinds(recipe: dict[str, Any]) -> list[str]:
    data = recipe.get("data") or {}
    named = [data, *data.get("sources", ())]
    return [one["kind"] for one in named if one.get("kind")]


def _kind(recipe: dict[str, object]) -> str:
    data = recipe.get("data")
    return data_title(data) if isinstance(data, dict) and data else "?"
