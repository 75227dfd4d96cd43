"""What of ``ios_export`` can be tested without a Mac: the check's logic, the vectors, the fields
that Swift reads.
"""

import json
import re
import shutil
import sys

import numpy as np
import pytest
from coremltools.models.compute_device import (
    MLCPUComputeDevice,
    MLNeuralEngineComputeDevice,
)
from fixtures.coreml import CALIBRATION, LABELS, PREPROCESS, SIZE, made, pictures
from fixtures.scripts import script
from PIL import Image

from mobilekd import backends
from mobilekd.backends.coreml import interpret
from mobilekd.formats.artifact import Manifest, Provenance, Student, hashes, open_artifact
from mobilekd.formats.constants import OPTIONAL
from mobilekd.formats.golden_set import GoldenIndex, write_golden
from mobilekd.support.files import write_json

__all__ = ["made"]


@pytest.fixture(scope="session")
def ios_export(checkout):
    return checkout / "ios_export"


@pytest.fixture(scope="session")
def check_on_mac(ios_export):
    return script(ios_export / "check_on_mac.py")


@pytest.fixture
def artifact(made, tmp_path):
    """An artifact folder around the small network, with photographs, golden inputs and answers."""
    lowered = made("v2", "fp16")
    folder = tmp_path / "small-coreml-fp16"
    (folder / "golden").mkdir(parents=True)
    shutil.copytree(lowered.path, folder / "model.mlpackage")
    inputs = pictures()
    for number, picture in enumerate(inputs):
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / "golden" / f"{number:02}.png")
    names = tuple(f"{number:02}.png" for number in range(len(inputs)))
    index = GoldenIndex(
        count=len(inputs),
        height=SIZE,
        width=SIZE,
        classes=len(LABELS),
        images=names,
        max_error=1e-3,
    )
    write_golden(folder, index, inputs, lowered.golden, None)
    provenance = Provenance(
        run="small",
        recipe={},
        recipe_hash="",
        data_hash="",
        split_hash="",
        split_by="lesion",
        created_utc="2026-01-01T00:00:00Z",
        versions={},
    )
    manifest = Manifest(
        name="small-coreml-fp16",
        backend="coreml",
        precision="fp16",
        model_file="model.mlpackage",
        files=hashes(folder),
        bytes=1,
        student=Student(model="small", parameters=1, macs=1),
        preprocess=PREPROCESS.to_dict(),
        labels=LABELS,
        calibration=CALIBRATION,
        notes=lowered.lowered.notes,
        provenance=provenance,
    )
    write_json(folder / "manifest.json", manifest.model_dump(mode="json"))
    return folder


def test_a_pass_is_written_back_and_the_artifact_still_opens(check_on_mac, artifact):
    opened = open_artifact(artifact)
    stage = check_on_mac.check(opened, interpret, "Mac15,3, macOS 15.1")
    assert stage.verified
    assert stage.agreement == 1
    assert stage.samples == 3
    check_on_mac.write_back(opened, stage)
    check_on_mac.write_back(open_artifact(artifact), stage)
    manifest = open_artifact(artifact).manifest
    assert [(str(row.stage), row.verified, row.where) for row in manifest.parity] == [
        ("saved file on Core ML", True, "Mac15,3, macOS 15.1")
    ]
    assert not any("unverified" in note for note in manifest.notes)


def test_other_answers_fail_and_are_written_as_such(check_on_mac, artifact):
    opened = open_artifact(artifact)
    stage = check_on_mac.check(
        opened, lambda path, x: [interpret(path, x[:, ::-1])[0]], "a Mac that swaps red and blue"
    )
    assert not stage.verified
    assert "apart" in stage.reason
    check_on_mac.write_back(opened, stage)
    manifest = open_artifact(artifact).manifest
    assert not manifest.parity[0].verified
    assert any("unverified" in note for note in manifest.notes)


@pytest.mark.parametrize(
    "answers", [np.zeros((3, 2), np.float32), np.full((3, len(LABELS)), np.nan, np.float32)]
)
def test_answers_of_another_shape_or_kind_fail(check_on_mac, artifact, answers):
    stage = check_on_mac.check(open_artifact(artifact), lambda path, x: [answers], "a broken Mac")
    assert not stage.verified


def test_facts_that_differ_fail(check_on_mac, artifact):
    opened = open_artifact(artifact)
    other = opened.manifest.model_copy(
        update={
            "calibration": CALIBRATION.model_copy(update={"temperature": 2.0}),
            "labels": LABELS[::-1],
        }
    )
    stage = check_on_mac.check(type(opened)(artifact, other), interpret, "a Mac")
    assert not stage.verified
    assert "temperature" in stage.reason
    assert "labels" in stage.reason


def test_a_photograph_that_becomes_something_else_fails(check_on_mac, artifact):
    opened = open_artifact(artifact)
    Image.new("RGB", (SIZE, SIZE)).save(artifact / "golden" / "01.png")
    stage = check_on_mac.check(opened, interpret, "a Mac")
    assert "01.png" in stage.reason


def test_the_command(check_on_mac, artifact, capsys):
    before = (artifact / "manifest.json").read_bytes()
    assert check_on_mac.main([str(artifact), "--predictor", "interpreter"]) == 0
    assert "passed" in capsys.readouterr().out
    assert (artifact / "manifest.json").read_bytes() == before, (
        "the interpreter says nothing about Apple's kernels"
    )
    if sys.platform != "darwin":
        assert check_on_mac.main([str(artifact)]) == 2
        assert "no Mac" in capsys.readouterr().err


def test_a_tampered_artifact_is_refused(check_on_mac, artifact, capsys):
    with (artifact / "golden" / "inputs.u8").open("r+b") as file:
        file.write(b"\x00\x01\x02")
    assert check_on_mac.main([str(artifact), "--predictor", "interpreter"]) == 2
    assert "hash" in capsys.readouterr().err


def test_a_file_that_came_in_later_is_refused(check_on_mac, artifact, capsys):
    (artifact / "model.mlpackage" / ".DS_Store").write_bytes(b"what a Mac's Finder leaves")
    assert check_on_mac.main([str(artifact), "--predictor", "interpreter"]) == 0
    (artifact / "model.mlpackage" / "Data" / "other.bin").write_bytes(b"1")
    assert check_on_mac.main([str(artifact), "--predictor", "interpreter"]) == 2
    assert "came in later" in capsys.readouterr().err


def test_vectors_are_pillows(ios_export):
    stored = json.loads(
        (ios_export / "Tests" / "LesionClassifierTests" / "resize.json").read_text(encoding="utf-8")
    )
    assert stored == script(ios_export / "vectors.py").vectors()


def test_swift_reads_only_fields_that_the_package_has(ios_export, made):
    swift = (ios_export / "Sources" / "LesionClassifier" / "Classifier.swift").read_text(
        encoding="utf-8"
    )
    read = set(re.findall(r'try value\("(\w+)"', swift))
    assert len(read) > 5
    assert read <= {*made("v2", "fp16").constants, *OPTIONAL}


def test_the_stage_in_the_readme_is_the_one_written(check_on_mac, ios_export):
    text = (ios_export / "README.md").read_text(encoding="utf-8")
    for name in check_on_mac.WAYS:
        assert f"`{backends.get(name).apple.title}`" in text


def test_layers_are_counted_by_the_processor_of_the_compute_plan(check_on_mac):
    """coremltools' own classes; only a Mac can make plans of them."""
    devices = [
        object.__new__(kind)
        for kind in (MLNeuralEngineComputeDevice, MLNeuralEngineComputeDevice, MLCPUComputeDevice)
    ]
    assert check_on_mac.counted([*devices, None]) == {"NeuralEngine": 2, "CPU": 1, "unknown": 1}


def test_a_row_holds_its_processors_and_one_without_a_plan_stays(check_on_mac, artifact, capsys):
    opened = open_artifact(artifact)
    stage = check_on_mac.check(opened, interpret, "a Mac")
    planned = check_on_mac.with_plan(stage, lambda path: {"NeuralEngine": 6}, opened.model)
    check_on_mac.write_back(opened, planned)
    assert open_artifact(artifact).manifest.parity[-1].processors == {"NeuralEngine": 6}
    assert "6 on NeuralEngine" in capsys.readouterr().out
    if sys.platform != "darwin":
        assert check_on_mac.with_plan(stage, check_on_mac.core_ml_plan, opened.model) == stage
        assert "the row says nothing of processors" in capsys.readouterr().err
