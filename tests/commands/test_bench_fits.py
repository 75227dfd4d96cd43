"""Which files ``bench`` takes to which device, and which artifact is meant where none is named."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures.bench import tiny_artifact

from mobilekd.android.several import refusal
from mobilekd.backends import get, names
from mobilekd.commands.bench import bench, refuse_unfit
from mobilekd.formats.artifact import (
    Manifest,
    newest_artifact,
    open_artifact,
    write_manifest,
)
from mobilekd.formats.chip import Chip
from mobilekd.formats.document import read_document
from mobilekd.formats.integrity import write_sealed
from mobilekd.formats.measurement import Device
from mobilekd.support.errors import UserError

QUICK = {"threads": (1,), "samples": 21}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_artifact(tmp_path_factory.mktemp("artifacts") / "one")


@pytest.mark.parametrize("soc", ["SM8550", "AMD EPYC", ""])
def test_a_file_for_another_chip_is_refused_before_it_is_loaded(soc):
    chip = Chip(soc="SM8650", architecture="v75", qnn="2")
    hexagons = [of_backend("xnnpack"), of_backend("qnn", chip)]
    phone = Device(id="phone", kind="adb", soc=soc)
    with pytest.raises(UserError) as refusal:
        refuse_unfit(phone, "app", hexagons)
    assert str(refusal.value).startswith(
        "artifacts/mine: compiled for SM8650 alone, and the chip of this device is"
        f" {soc or 'not known'};"
    )
    right = phone.model_copy(update={"soc": "sm8650"})
    refuse_unfit(right, "app", hexagons)
    refuse_unfit(phone, "shell", hexagons[:1])
    with pytest.raises(UserError, match=r"^artifacts/mine: needs ExecuTorch's runtime with qnn's"):
        refuse_unfit(right, "shell", hexagons)


@pytest.mark.parametrize("backend", [name for name in names() if not get(name).apple])
def test_a_delegate_that_the_runner_has_not_is_told_before_anything_is_pushed(backend):
    """``processor`` says whose files an Arm processor runs here without a maker's delegate."""
    phone, given = Device(id="phone", kind="adb"), [of_backend(backend)]
    refuse_unfit(phone, "app", given)
    if get(backend).processor:
        refuse_unfit(phone, "shell", given)
        return
    with pytest.raises(UserError, match=r"--via app$"):
        refuse_unfit(phone, "shell", given)


def of_backend(backend, chip=None):
    manifest = SimpleNamespace(chip=chip, backend=backend)
    return SimpleNamespace(artifact=SimpleNamespace(folder="artifacts/mine", manifest=manifest))


def test_a_file_for_a_graphics_processor_is_refused_on_a_machine_without(folder, tmp_path):
    copy = tmp_path / "vulkan"
    shutil.copytree(folder, copy)
    document = json.loads((copy / "manifest.json").read_text())
    write_sealed(copy / "manifest.json", {**document, "backend": "vulkan"})
    with pytest.raises(
        UserError, match=r"vulkan's files run on phones, not on host; .*--device adb"
    ):
        bench([copy], **QUICK)


def _with_model(folder: Path, model_file: str, place: Path) -> Path:
    """A newer copy of an artifact whose manifest names another file."""
    shutil.copytree(folder, place)
    (place / "model.pte").rename(place / model_file)
    manifest = read_document(place / "manifest.json", Manifest, "artifact manifest")
    write_manifest(place, manifest.model_copy(update={"model_file": model_file}))
    return place


def test_the_newest_artifact_is_one_that_the_device_or_the_app_runs(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "artifacts/old")
    iphone = _with_model(folder, "model.mlpackage", tmp_path / "artifacts/new")
    os.utime(iphone / "manifest.json", (4e9, 4e9))
    assert newest_artifact() == Path("artifacts/new")
    assert newest_artifact(fits=lambda one: not refusal(one)) == Path("artifacts/old")
    measured = bench(**QUICK)
    assert [one.artifact for one in measured] == ["tiny-xnnpack-fp32"]
    with pytest.raises(UserError, match=r"new: model\.mlpackage runs on Apple's systems alone; Xc"):
        bench([iphone], **QUICK)
    shutil.rmtree("artifacts/old")
    with pytest.raises(UserError, match=r"artifacts/new: model\.mlpackage runs on Apple's"):
        bench(**QUICK)


def test_a_folder_around_an_artifact_names_the_artifact(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "artifacts/tiny")
    with pytest.raises(UserError, match=r"no manifest\.json; give .*artifacts/tiny$"):
        open_artifact(tmp_path)
