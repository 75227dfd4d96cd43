"""Which artifacts may travel in one APK; every refusal is one line that names the two. No tools."""

from pathlib import Path

import pytest

from mobilekd.android.several import listing, places, together, without_guard
from mobilekd.formats.artifact import Artifact, ClinicFit, Manifest, Provenance, Student
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.chip import Chip
from mobilekd.formats.labels import Label
from mobilekd.formats.preprocess import Preprocess
from mobilekd.support.errors import UserError

LABELS = (Label(key="mel", text="Melanoma"), Label(key="nv", text="Melanocytic nevus"))


def one(name: str, backend: str = "xnnpack", precision: str = "int8", **changed) -> Artifact:
    """An artifact that lies nowhere; ``changed`` are fields of its manifest, ``run`` and
    ``source_sha256`` those of its provenance.
    """
    source = {key: changed.pop(key) for key in ("run", "source_sha256") if key in changed}
    provenance = Provenance(
        **{"run": "ham", "source_sha256": "a" * 64, **source},
        recipe={},
        recipe_hash="",
        data_hash="",
        split_hash="",
        split_by="lesion",
        created_utc="2026-11-28T00:00:00Z",
        versions={"executorch": "1.5.1"},
    )
    facts = {
        "model_file": "model.pte",
        "student": Student(model="mobilenetv2_035", parameters=1, macs=1),
        "preprocess": Preprocess(),
        "labels": LABELS,
        "calibration": Calibration(),
        **changed,
    }
    manifest = Manifest(
        name="ham",
        backend=backend,
        precision=precision,
        files={"model.pte": "0" * 64},
        bytes=1,
        provenance=provenance,
        **facts,
    )
    return Artifact(Path(name), manifest)


def chip(soc: str) -> Chip:
    return Chip(soc=soc, architecture="v75", qnn="2.51")


def hexagon(name: str = "hexagon", soc: str = "SM8650", **changed) -> Artifact:
    return one(name, "qnn", "w8a16", chip=chip(soc), **changed)


def refused(*artifacts: Artifact) -> str:
    with pytest.raises(UserError) as caught:
        together(artifacts)
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_one_student_s_files_travel_together():
    files = [hexagon(), one("cpu"), one("exact", precision="fp32"), hexagon("next", "SM8750")]
    together(files)
    placed = places(files)
    assert list(placed) == ["artifact-2", "artifact", "artifact-3", "artifact-4"]
    assert list(placed.values()) == files
    assert b'"folder": "artifact-2",\n  "backend": "qnn"' in listing(placed)
    together([one("cpu")])
    assert list(places([one("cpu")])) == ["artifact"]


def test_a_file_for_any_phone_must_be_there():
    said = refused(hexagon())
    assert said.startswith("hexagon (qnn w8a16 for SM8650): no other phone could use the app")
    assert "mobilekd export --backend xnnpack" in said
    assert refused(hexagon(), hexagon("next", "SM8750")).startswith(
        "hexagon (qnn w8a16 for SM8650), next (qnn w8a16 for SM8750): no other phone"
    )


def test_two_files_of_one_kind_are_refused():
    assert refused(one("cpu"), one("again")) == (
        "cpu and again: both are xnnpack int8; name one of them"
    )
    assert refused(one("cpu"), hexagon(), hexagon("again")) == (
        "hexagon and again: both are qnn w8a16 for SM8650; name one of them"
    )


def test_what_the_app_cannot_run_is_refused():
    assert "holds model.onnx" in refused(one("cpu"), one("rival", "onnx", model_file="model.onnx"))
    assert "was lowered for vulkan" in refused(one("cpu"), one("gpu", "vulkan", "fp32"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"run": "isic"}, "the run is ham in one and isic in the other"),
        ({"source_sha256": ""}, "the hash of the weights is aaaaaaaa"),
        ({"source_sha256": ""}, "in one and not told in the other"),
        (
            {"student": Student(model="lesionnet", parameters=1, macs=1)},
            "the network is mobilenetv2_035 in one and lesionnet in the other",
        ),
        ({"labels": LABELS[::-1]}, "the list of classes is mel, nv in one and nv, mel"),
        (
            {"labels": (LABELS[0], Label(key="nv", text="Nevus"))},
            "the text of a class (nv) is Melanocytic nevus in one and Nevus in the other",
        ),
        (
            {"preprocess": Preprocess(width=160)},
            "the input size is 128 x 128 pixels in one and 160 x 128 pixels in the other",
        ),
        (
            {"preprocess": Preprocess(mean=(0.4, 0.5, 0.5))},
            "preprocessing (mean) is 0.5, 0.5, 0.5 in one and 0.4, 0.5, 0.5 in the other",
        ),
        (
            {"outputs": ("probabilities", "cam")},
            "the list of outputs is probabilities in one and probabilities, cam in the other",
        ),
        (
            {"calibration": Calibration(temperature=1.5)},
            "calibration (temperature) is 1.0 in one and 1.5 in the other",
        ),
    ],
)
def test_what_differs_is_named(changed, words):
    said = refused(one("cpu"), hexagon(**changed))
    assert said.startswith("cpu and hexagon: ")
    assert words in said
    assert "export both from the same run" in said


def test_a_file_that_can_have_no_guard_goes_with_one_that_has():
    """As the default student's for Hexagon and for XNNPACK have it; which one lacks it is known."""
    guarded = one("cpu", outputs=("probabilities", "outside"))
    together([guarded, hexagon()])
    assert [artifact.folder.name for artifact in without_guard([guarded, hexagon()])] == ["hexagon"]
    assert without_guard([one("cpu"), hexagon()]) == []
    assert without_guard([guarded]) == []
    mapped = hexagon(outputs=("probabilities", "cam"))
    assert "the list of outputs is probabilities in one and probabilities, cam" in refused(
        guarded, mapped
    )


def test_files_fitted_to_one_clinic_have_a_calibration_each():
    """Each was fitted on its own answers; a fitted one beside one as exported is refused."""
    fit = ClinicFit(
        source_sha256="",
        data="folder",
        data_hash="clinic",
        photographs=1,
        lesions=1,
        by_class={},
        before={},
        after={},
        enough=1,
        span={},
        created_utc="2026-11-28T00:00:00Z",
        versions={},
    )
    warm = {"clinic": fit, "calibration": Calibration(temperature=1.5)}
    together([one("cpu", clinic=fit), hexagon(**warm)])
    assert "the clinic's data is not told in one and clinic" in refused(one("cpu"), hexagon(**warm))
