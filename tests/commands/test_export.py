"""An export is accepted on its gates or leaves nothing; what it leaves says everything about
itself.
"""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from fixtures.kept import kept
from fixtures.run import exported, make_run, run_folder

from mobilekd.commands.export import export
from mobilekd.commands.inspect import inspect
from mobilekd.commands.verify import verify
from mobilekd.formats.artifact import MANIFEST_VERSION, SCHEMA, Manifest, open_artifact, schema
from mobilekd.formats.golden import draw, photograph
from mobilekd.formats.parity_names import Part
from mobilekd.formats.preprocess import Preprocess, open_photograph
from mobilekd.formats.recipe_file import with_overrides
from mobilekd.formats.runs import open_run
from mobilekd.graphs import pte
from mobilekd.inference.evaluation_set import open_evaluation_set
from mobilekd.lowering import float_layers, request
from mobilekd.lowering.freeze import freeze_quantisation
from mobilekd.support.errors import GateError, UserError
from mobilekd.support.files import sha256_tree

GATES = (
    "preprocessing",
    "lowered graph",
    "max_error",
    "sqnr_db",
    "delegated layers",
    "training remains",
    "constants that differ",
    "agreement",
    "balanced accuracy",
)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_stage_is_verified_and_every_gate_passed(precision):
    manifest = open_artifact(exported(precision)).manifest
    stages = [str(stage.stage) for stage in manifest.parity]
    assert stages == [
        "eager fp32",
        *(["eager quantised"] if precision == "int8" else []),
        "lowered graph",
        "saved file",
        "saved file, decisions",
        "saved file on Arm",
        *(["saved file on Arm with SME"] if precision == "int8" else []),
    ]
    verified = [stage for stage in manifest.parity if stage.verified]
    assert all(stage.where and stage.samples for stage in verified)
    assert all(
        "Arm" in str(stage.stage) and stage.reason
        for stage in manifest.parity
        if stage not in verified
    )
    assert {str(gate.name) for gate in manifest.gates} == {
        *GATES,
        *({"int8 layers"} if precision == "int8" else ()),
    }
    assert all(gate.passed and not gate.recorded for gate in manifest.gates)
    assert (
        manifest.accuracy["balanced_accuracy"]["low"]
        <= manifest.accuracy["balanced_accuracy"]["value"]
    )


def test_fp32_is_the_student_to_the_last_digits():
    manifest = open_artifact(exported("fp32")).manifest
    assert max(stage.max_error for stage in manifest.parity if stage.verified) < 1e-5


def test_int8_is_int8():
    delegation = open_artifact(exported("int8")).manifest.delegation
    assert delegation.heavy_quantized == delegation.heavy_delegated == delegation.heavy_total > 20
    assert "XNNClamp" not in delegation.delegated, (
        "a ReLU6 runs on its own, outside its convolution"
    )
    assert open_artifact(exported("fp32")).manifest.delegation.heavy_quantized == 0


def test_the_file_carries_all_that_a_reader_may_rely_on():
    artifact = open_artifact(exported("fp32"))
    inside, manifest = pte.constants(artifact.model), artifact.manifest
    assert inside["labels"] == [label.key for label in manifest.labels]
    assert (inside["input_height"], inside["input_width"]) == (32, 32)
    assert inside["temperature"] == manifest.calibration.temperature
    assert inside["quality"] == [
        manifest.calibration.quality.sharpness_low,
        manifest.calibration.quality.luma_low,
        manifest.calibration.quality.luma_high,
    ]
    assert inside["student"] == manifest.provenance.source_sha256
    assert "not a medical device" in inside["card"]


def test_the_manifest_meets_its_schema():
    document = json.loads((exported("int8") / "manifest.json").read_text())
    jsonschema.validate(document, Manifest.model_json_schema())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    document["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, Manifest.model_json_schema())


def test_the_shipped_schema_is_the_code_s():
    assert SCHEMA.read_text() == schema(), "run python -m mobilekd.formats.artifact in the checkout"
    assert SCHEMA.name == f"manifest-v{MANIFEST_VERSION}.schema.json"
    assert (
        json.loads(SCHEMA.read_text())["properties"]["schema_version"]["const"] == MANIFEST_VERSION
    )


def test_the_golden_set_is_what_the_file_answers():
    artifact = open_artifact(exported("int8"))
    golden = artifact.golden()
    answers = pte.run(artifact.model, golden.inputs.astype(np.float32))[0]
    assert np.array_equal(answers, golden.probabilities)
    assert np.allclose(golden.probabilities.sum(1), 1, atol=1e-5)


def test_the_model_card_tells_what_it_is_not():
    card = (exported("int8") / "MODEL_CARD.md").read_text()
    for part in ("not a medical device", "Not validated on", "saved file, decisions", "split hash"):
        assert part in card


def test_a_failed_gate_leaves_nothing_and_says_where(tmp_path, monkeypatch):
    monkeypatch.setattr(request, "get", kept)
    with pytest.raises(GateError, match=r"sqnr_db: .* must be >= 199"):
        export(run_folder(), output=tmp_path / "out", overrides=["gates.sqnr_db=199"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "xnpack"}, "did you mean xnnpack"),
        ({"precision": "int4"}, "did you mean int8. known: fp32, int8, int8-qat, mixed"),
        ({"verify": ("leg",)}, "--verify leg: unknown; known: arm"),
        ({"backend": "vulkan", "verify": ("arm",)}, "no runtime for vulkan"),
        (
            {"backend": "coreml", "precision": "fp16", "verify": ("arm",)},
            "no runtime for coreml",
        ),
        ({"overrides": ["gates.agrement=1"]}, "agreement"),
        ({"overrides": ["data.count=161"]}, "not what it was trained on"),
        (
            {"overrides": ["preprocess.width=96"]},
            "an export cannot change it; data, gates, quantize can be set",
        ),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        export(run_folder(), output=tmp_path / "out", **arguments)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_that_is_no_artifact_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(UserError, match="exists already"):
        export(run_folder(), output=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_frozen_parameters_export_without_data_and_say_so(tmp_path, monkeypatch):
    """The same bytes of weights come out where there is no photograph at all, and the gates are
    marked as recorded.
    """
    import shutil

    from mobilekd.lowering import pipeline

    monkeypatch.setattr(request, "get", kept)
    place = tmp_path / "frozen"
    shutil.copytree(run_folder(), place)
    freeze_quantisation(place, [("xnnpack", "int8")])
    first = sha256_tree(place)
    freeze_quantisation(place, [("xnnpack", "int8")])
    assert sha256_tree(place) == first, "freezing again gave other bytes"
    with_data = pte.read(open_artifact(exported("int8")).model)

    def nowhere(*_: object, **__: object) -> None:
        raise UserError("data: no such folder; give it")

    monkeypatch.setattr(pipeline, "open_evaluation_set", nowhere)
    artifact = export(place, precision="int8", output=tmp_path / "out")
    assert pte.read(artifact.model).blobs == with_data.blobs
    recorded = {str(gate.name) for gate in artifact.manifest.gates if gate.recorded}
    assert recorded == {"agreement", "balanced accuracy"}
    assert [stage.recorded for stage in artifact.manifest.parity if stage.accuracy_drop] == [True]
    with pytest.raises(UserError, match="without recorded gates"):
        export(run_folder(), precision="int8", output=tmp_path / "none")


def test_mixed_precision_that_would_round_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(float_layers, "acceptance", lambda *_: lambda given: False)
    with pytest.raises(
        GateError, match=r"no layer of 23 may be rounded; .* export --precision fp32"
    ):
        export(run_folder(), precision="mixed", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_choice_on_validation_leaves_room_for_what_it_can_miss():
    """As many disagreements as the gate allows are too many to choose by: on other photographs they
    may be one more.
    """
    run = open_run(run_folder())
    evaluation_set = open_evaluation_set(
        run.recipe, run.info.labels, run.split, run.info.split_hash
    )
    pictures = evaluation_set.validation()
    count = len(pictures.truth)
    recipe = with_overrides(
        run.recipe, ["gates.accuracy_drop=1", f"gates.agreement={(count - 3) / count}"]
    )
    reference = np.eye(len(run.info.labels))[pictures.truth]
    accept = float_layers.acceptance(
        reference, pictures.truth, pictures.lesions, recipe, evaluation_set
    )

    def given(apart: int) -> np.ndarray:
        return np.concatenate([np.roll(reference[:apart], 1, axis=1), reference[apart:]])

    assert accept(given(0))
    assert not accept(given(3)), "the gate itself passes"


def test_core_ml_goes_through_the_same_gates():
    """The package in int8: decoded weights judged by the data, the file by the interpreter, Apple's
    kernels said to be open.
    """
    artifact = open_artifact(exported("int8", "coreml"))
    manifest = artifact.manifest
    assert manifest.least_ios == 16
    assert [(str(stage.stage), stage.verified) for stage in manifest.parity] == [
        ("eager fp32", True),
        ("eager with decoded weights", True),
        ("lowered graph", False),
        ("saved file", True),
        ("saved file on Core ML", False),
        ("saved file, decisions", True),
    ]
    assert all(stage.reason for stage in manifest.parity if not stage.verified)
    assert {"max_error", "sqnr_db", "delegated layers", "int8 layers", "agreement"} <= {
        str(gate.name) for gate in manifest.gates if gate.passed
    }
    checks = {
        check.name: check.passed
        for check in verify(artifact.folder, runs=run_folder().parent).checks
    }
    assert checks["delegation"] is checks["golden set"] is checks["decisions"] is True
    rows = inspect(artifact.folder)["layers"]
    assert len(rows) == manifest.delegation.heavy_total
    assert rows[0]["layer"] == "conv_stem"


def test_cam_is_a_second_output_with_its_own_parity(tmp_path):
    artifact = export(make_run(tmp_path, size=64).folder, output=tmp_path / "out", cam=True)
    golden = artifact.golden()
    assert artifact.manifest.outputs == ("probabilities", "cam")
    assert golden.cam.shape == (golden.index.count, *golden.index.cam)
    assert np.prod(golden.index.cam) > 1
    assert golden.cam.min() >= 0
    assert golden.cam.max() <= 1
    assert (
        pte.run(artifact.model, golden.inputs[:1].astype(np.float32))[1].shape[1:]
        == golden.index.cam
    )
    maps = {
        str(stage.stage): stage
        for stage in artifact.manifest.parity
        if stage.stage.part is Part.MAP
    }
    assert list(maps) == [
        f"{stage}, activation map" for stage in ("eager fp32", "lowered graph", "saved file")
    ]
    assert all(stage.max_error < 1e-3 and stage.agreement == 1 for stage in maps.values())
    assert {"activation map"} <= {str(gate.name) for gate in artifact.manifest.gates}


def test_golden_photographs_are_awkward_and_the_same_everywhere(tmp_path):
    preprocess = Preprocess(width=64, height=48)
    names, first = draw(tmp_path, preprocess)
    again = [preprocess.load(tmp_path / name).transpose(2, 0, 1) for name in names]
    assert np.array_equal(first, np.stack(again))
    assert first.shape == (len(names), 3, 48, 64)
    from PIL import Image

    opened = [Image.open(tmp_path / name) for name in names]
    assert {"L", "RGBA", "P", "RGB"} <= {image.mode for image in opened}
    assert (1, 1) in {image.size for image in opened}
    assert {3, 5, 6} <= {image.getexif().get(274) for image in opened}
    assert any(size % 2 for image in opened for size in image.size)


def test_a_photograph_of_48_megapixels_goes_through(tmp_path):
    photograph(1, 800, 600).resize((8000, 6000)).save(tmp_path / "huge.jpg", quality=60)
    assert max(open_photograph(tmp_path / "huge.jpg").size) <= 4000
    assert Preprocess(width=32, height=32).load(tmp_path / "huge.jpg").shape == (32, 32, 3)


def test_opening_the_package_loads_no_torch():
    program = (
        "import sys, mobilekd.formats.golden, mobilekd.graphs.pte, mobilekd.formats.constants,"
        " mobilekd.backends; print('torch' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )


def test_the_newest_run_is_taken_where_none_is_named(monkeypatch, tmp_path):
    from mobilekd.lowering import pipeline

    asked: list[Path] = []

    def stop(run: object, *_: object, **__: object) -> None:
        asked.append(run.folder)
        raise UserError("enough")

    monkeypatch.setattr(pipeline, "lower_run", stop)
    with pytest.raises(UserError, match="enough"):
        export(runs=run_folder().parent, output=tmp_path / "out")
    assert asked == [open_run(run_folder()).folder]
