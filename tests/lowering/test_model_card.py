"""The model card carries the test: its figures are those of ``metrics.json``, and its head is what
Hugging Face reads.
"""

import json
import re

import pytest
from fixtures.manifest import manifest_of
from huggingface_hub import ModelCard

from mobilekd.data.published import archive_origins
from mobilekd.formats.runs import DEFAULT_REFERENCE, Run, open_run, references
from mobilekd.lowering.card_figures import evaluation_of
from mobilekd.lowering.model_card import markdown
from mobilekd.support.errors import UserError


@pytest.fixture(params=references())
def run(request) -> Run:
    return open_run(f"reference:{request.param}")


def test_its_figures_are_those_of_the_evaluation(run):
    card = markdown(manifest_of(run), run)
    judged = json.loads((run.folder / "metrics.json").read_text())
    for key, words in (
        ("balanced_accuracy", "balanced accuracy"),
        ("melanoma_sensitivity_at_95_specificity", "melanoma's sensitivity at 95% specificity"),
        ("malignant_sensitivity_at_95_specificity", "malignant's sensitivity at 95% specificity"),
        ("ece", "expected calibration error"),
        ("selective_accuracy", "accuracy among those"),
    ):
        figure = judged["metrics"][key]
        shown = f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
        assert f"| {words} | {shown} |" in card
    for label in judged["labels"]:
        recall = judged["metrics"][f"recall.{label['key']}"]["value"]
        kept = judged["coverage_by_class"][label["key"]]
        assert re.search(rf"\(`{label['key']}`\) .*{recall:.3f} .*{kept:.1%}", card)
    for kind, groups in judged["subgroups"].items():
        for group in groups:
            assert f"| {kind}: {group['group']} | {group['n']:,} |" in card
    for part in ("Intended use", "Errors and their harm", "histology", "mobilekd verify"):
        assert part in card


def test_hugging_face_reads_its_head(run):
    card = ModelCard(markdown(manifest_of(run), run))
    judged = json.loads((run.folder / "metrics.json").read_text())["metrics"]
    assert card.data.license == "cc-by-nc-4.0"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.model_name == run.info.name
    results = {one.metric_name: one for one in card.data.eval_results}
    found = results["Balanced accuracy"]
    assert found.metric_value == round(judged["balanced_accuracy"]["value"], 6)
    assert (found.task_type, found.dataset_split) == ("image-classification", "test")
    assert all(one.dataset_type and one.dataset_name for one in card.data.eval_results)


def test_a_run_that_nobody_judged_says_so(run, tmp_path):
    bare = Run(tmp_path, run.info)
    for name in ("recipe.json", "calibration.json"):
        (tmp_path / name).write_bytes((run.folder / name).read_bytes())
    card = markdown(manifest_of(run), bare)
    assert "was not judged before it was exported" in card
    assert ModelCard(card).data.eval_results is None


def test_a_broken_judgement_is_refused(run, tmp_path):
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"metrics\.json"):
        evaluation_of(Run(tmp_path, run.info))


def test_a_licence_that_the_hub_does_not_know_has_a_name(run):
    made = manifest_of(run)
    own = made.provenance.model_copy(update={"data_licence": "Clinic's own: terms"})
    data = ModelCard(markdown(made.model_copy(update={"provenance": own}), run)).data
    assert (data.license, data.license_name) == ("other", "Clinic's own: terms")


@pytest.mark.parametrize(
    ("licence", "word"),
    [
        ("CC BY-NC 4.0", "cc-by-nc-4.0"),
        ("CC BY-NC 4.0 (Graz; Vienna); CC BY-NC 4.0 (Bern)", "cc-by-nc-4.0"),
        ("CC BY-NC 4.0 (Graz); teacher t: own terms", "other"),
        ("CC BY-NC 4.0 (Graz); not stated: the user's own photographs", "other"),
    ],
)
def test_the_hub_s_word_stands_for_all_licences_or_for_none(run, licence, word):
    made = manifest_of(run)
    provenance = made.provenance.model_copy(update={"data_licence": licence})
    card = markdown(made.model_copy(update={"provenance": provenance}), run)
    assert ModelCard(card).data.license == word


def test_origins_have_their_figures(run):
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    made = manifest_of(run)
    assert "## By origin" not in markdown(made, run)
    figures = {
        f"{key}.{name}": {**figure, "value": value}
        for name, value in (("Vienna", 0.5), ("Graz", 0.25))
        for key in ("balanced_accuracy", "accuracy", "ece")
    }
    recipe = made.provenance.recipe
    left_out = {**recipe, "split": {**recipe["split"], "test_origin": "Graz"}}
    provenance = made.provenance.model_copy(update={"recipe": left_out})
    card = markdown(made.model_copy(update={"accuracy": figures, "provenance": provenance}), run)
    assert "of Graz none were trained on" in card
    assert "| Graz | 0.250 (0.400 to 0.600) |" in card
    assert "this file's answers to the test photographs of each origin; of Graz" in card
    assert card.count("| Vienna |") == 1


def test_the_default_students_clinics_are_named():
    run = open_run(f"reference:{DEFAULT_REFERENCE}")
    card = markdown(manifest_of(run), run)
    assert "Hospital Clínic in Barcelona, 2010 to 2016" in card
    assert "Medical University of Vienna" in card
    assert "whoever releases the model states them" not in card
    assert "mobilekd ?" not in card
    elsewhere = {"data": {"kind": "folder", "origin": "lesion_id"}}
    assert archive_origins(elsewhere, ["BCN"]) == []


def test_the_share_confirmed_by_histology_is_what_the_run_counted(run):
    """Where it counted none, what is published of the data set stands there."""
    published = "5,340 of 10,015 photographs (53.3%)"
    assert (published in markdown(manifest_of(run), run)) == (run.recipe.data.kind == "ham10000")
    counts = {"mel": {"histology": 3}, "nv": {"consensus": 2, "follow-up": 4, "histology": 1}}
    info = run.info.model_copy(update={"confirmed": counts})
    card = markdown(manifest_of(run), Run(run.folder, info, reference=True))
    assert (
        "- Confirmed by histology: 4 of 10 photographs (40.0%); 100.0% of mel, 14.3% of nv."
        " The others rest on follow-up (4) or consensus (2)." in card
    )
    assert "5,340" not in card


def test_it_says_who_made_it_under_which_terms_and_whether_it_is_guarded(run):
    card = markdown(manifest_of(run), run)
    assert "inherit the terms of the data's licence (CC BY-NC 4.0" in card
    assert "Authors: the mobilekd maintainers" in card
    assert "limits on blur" in card
    own = Run(run.folder, run.info)
    assert "whoever publishes this folder adds them here" in markdown(manifest_of(run), own)


def test_it_says_why_its_figures_may_be_too_good(run):
    assert "may be too good" not in markdown(manifest_of(run), run)
    info = run.info.model_copy(update={"doubts": ("teacher onnx: was trained elsewhere",)})
    card = markdown(manifest_of(run), Run(run.folder, info, reference=True))
    told = card.index("These figures may be too good:\n\n- teacher onnx: was trained elsewhere\n")
    assert card.index("## Intended use") < told < card.index("## Not validated on")
