"""What the report and the card say of an artifact that was fitted to a clinic."""

from pathlib import Path

import pytest
from fixtures.manifest import manifest_of

from mobilekd.figures.tables import Table
from mobilekd.formats.artifact import Artifact, ClinicFit, Manifest
from mobilekd.formats.calibration import Rescale, Sets
from mobilekd.formats.guard import GuardSummary
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.formats.runs import open_run, references
from mobilekd.lowering.card_figures import evaluation_of
from mobilekd.lowering.model_card import fitted as fitted_card
from mobilekd.lowering.model_card import markdown
from mobilekd.page import classes, clinics
from mobilekd.page.inputs import Inputs

#: Keys that other words hold, too.
LABELS = (Label(key="a", text="Angioma"), Label(key="set", text="Setosum"))
RUN = open_run(f"reference:{references()[0]}")


def fitted(lesions: int) -> Manifest:
    figure = Interval(value=0.5, low=0.4, high=0.6)
    figures = dict.fromkeys(("ece", "set_coverage.a", "set_coverage.set"), figure)
    fit = ClinicFit(
        source_sha256="0" * 64,
        data="folder",
        data_hash="",
        photographs=300,
        lesions=lesions,
        by_class={"a": 100, "set": 200},
        before=figures,
        after=figures,
        enough=100,
        span={},
        created_utc="2026-11-27T00:00:00Z",
        versions={},
    )
    return manifest_of(RUN, labels=LABELS, clinic=fit)


def page(manifest: Manifest) -> str:
    found = clinics.section(Inputs(artifacts=(Artifact(Path("none"), manifest),)))
    assert found is not None
    return "\n".join(block.markdown() for block in found.blocks if isinstance(block, Table))


def card(manifest: Manifest) -> str:
    before = manifest_of(RUN)
    return fitted_card(markdown(before, RUN), before, manifest)


@pytest.mark.parametrize("made", [page, card])
def test_a_class_has_its_text_and_no_other_word_changes(made) -> None:
    text = made(fitted(250))
    assert "| share of Angioma whose set holds it |" in text
    assert "| share of Setosum whose set holds it |" in text


@pytest.mark.parametrize("made", [page, card])
def test_lesions_are_counted_where_they_are_known(made) -> None:
    assert "300 photographs of 250 lesions" in made(fitted(250))
    unknown = made(fitted(300))
    assert "300 photographs, none of them known to show the same lesion" in unknown
    assert "300 lesions" not in unknown


@pytest.mark.parametrize("made", [page, card])
def test_guard_and_picture_quality_are_told(made) -> None:
    plain = fitted(250)
    text = made(plain)
    limits = plain.calibration.quality
    assert f"blurred below a sharpness of {limits.sharpness_low:.1f}" in text
    assert f"too dark below a mean brightness of {limits.luma_low:.0f} of 255" in text
    assert "It has no guard" in text
    guard = GuardSummary(threshold=0.912, refused=0.008)
    moved = plain.clinic.model_copy(update={"guard_refused_before": 0.27})
    text = made(plain.model_copy(update={"guard": guard, "clinic": moved}))
    assert "Before, the guard refused 27.0% of these photographs" in text
    assert "its threshold was fitted to them, 0.912, and refuses 0.8%" in text
    few = moved.model_copy(update={"lesions_by_class": {"a": 60, "set": 40}})
    text = made(plain.model_copy(update={"guard": guard, "clinic": few}))
    assert "its threshold stayed at 0.912, as more than 100 lesions are needed" in text


def test_the_temperature_is_the_one_that_the_clinic_fitted() -> None:
    def said(calibration) -> str:
        judged = evaluation_of(RUN).model_copy(update={"calibration": calibration})
        found = classes.section(Inputs(evaluations=(judged,)))
        return "\n".join(block.markdown() for block in found.blocks if isinstance(block, Table))

    before = RUN.calibration.model_copy(update={"temperature": 1.5, "sets": None})
    assert "validation fixed it (temperature 1.50)" in said(before)
    rescale = Rescale(power=0.5, offsets=(0.0,) * len(RUN.info.labels))
    after = before.model_copy(update={"rescale": rescale})
    assert "photographs of one clinic fixed it (temperature 3.00)" in said(after)
    assert "the threshold alone counts" not in said(after)
    sets = Sets(coverage=0.9, thresholds=dict.fromkeys((one.key for one in RUN.info.labels), 0.2))
    assert "the threshold alone counts" in said(after.model_copy(update={"sets": sets}))
