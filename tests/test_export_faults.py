"""Plant a fault in each place where exports go wrong, and see the gate that catches it.

The sound file is lowered once; a fault is planted around it, so that each test shows its own gate and nothing else.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_fixtures import exported, run_folder

from mobilekd import export as exporting
from mobilekd import pte, students
from mobilekd.artifact import open_artifact
from mobilekd.backends import _pte
from mobilekd.backends.base import Lowered
from mobilekd.backends.xnnpack import Xnnpack
from mobilekd.errors import GateError, UserError
from mobilekd.evidence import Evidence
from mobilekd.export import export

KEPT: dict[str, Lowered] = {}


class Sound(Xnnpack):
    """XNNPACK that lowers the run's fp32 student once and hands out copies of the file."""

    def lower(self, model: Any, example: torch.Tensor, calibration: Any, precision: str, constants: Any, folder: Path) -> Lowered:
        if "fp32" not in KEPT:
            KEPT["fp32"] = super().lower(model, example, calibration, precision, constants, run_folder().parent)
        path = folder / self.model_file
        shutil.copy(KEPT["fp32"].model_path, path)
        return replace(KEPT["fp32"], model_path=path)


@pytest.fixture
def refused(monkeypatch, tmp_path):
    """Export with a planted backend; the refusal's text."""

    def attempt(backend: Xnnpack, **arguments: Any) -> str:
        monkeypatch.setattr(exporting, "get", lambda _: backend)
        with pytest.raises(GateError) as caught:
            export(run_folder(), output=tmp_path / "out", **arguments)
        assert list(tmp_path.iterdir()) == []
        return str(caught.value)

    return attempt


def test_without_a_fault_it_is_accepted(monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "get", lambda _: Sound())
    assert all(gate.passed for gate in export(run_folder(), output=tmp_path / "out").manifest.gates)


def test_wrong_mean(refused, monkeypatch):
    sound = students.Deployable

    def deployable(student: Any, preprocess: Any, calibration: Any, cam: bool = False) -> Any:
        return sound(student, replace(preprocess, mean=(0.485, 0.456, 0.406)), calibration, cam)

    monkeypatch.setattr(students, "Deployable", deployable)
    assert refused(Sound()).startswith("preprocessing:")


def test_bgr_for_rgb(refused):
    class Swapped(Sound):
        def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
            return super().run(model_path, x[:, ::-1])

    text = refused(Swapped())
    assert text.startswith("max_error:")
    assert "'saved file'" in text


def test_channels_last_input(refused):
    class Strided(Sound):
        def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
            forward = pte.load(model_path).load_method("forward")
            fed = [torch.from_numpy(one[None]).contiguous(memory_format=torch.channels_last) for one in x]
            return [np.concatenate([forward.execute([one])[0].numpy() for one in fed])]

    assert refused(Strided()).startswith("max_error:")


def test_a_weight_flipped_in_the_file_is_named(refused):
    class Flipped(Sound):
        def lower(self, *arguments: Any) -> Lowered:
            lowered = super().lower(*arguments)
            file = pte.read(lowered.model_path)
            blob = file.blobs[file.heavy[3].weight_key]
            broken = np.frombuffer(blob, np.float32).copy()
            broken *= -1
            data = lowered.model_path.read_bytes()
            assert data.count(blob) == 1
            lowered.model_path.write_bytes(data.replace(blob, broken.tobytes()))
            return lowered

    text = refused(Flipped())
    assert text.startswith("max_error:")
    assert "layer blocks.1.0.conv_pw " in text


def test_a_weight_changed_while_lowering_is_named(refused):
    class Wrong(Sound):
        def lower(self, *arguments: Any) -> Lowered:
            lowered = super().lower(*arguments)
            assert lowered.layers is not None
            layers, graph = lowered.layers, lowered.lowered
            assert graph is not None

            def spoilt(x: np.ndarray) -> list[np.ndarray]:
                found = layers(x)
                return [*found[:5], *(-one for one in found[5:])]

            return replace(lowered, layers=spoilt, lowered=lambda x: [graph(x)[0][:, ::-1]])

    text = refused(Wrong())
    assert text.startswith("lowered graph:")
    assert "layer blocks.1.0.conv_pwl " in text


def test_a_layer_left_outside_the_delegate(refused):
    class Partial(Xnnpack):
        def lower(self, model: Any, example: torch.Tensor, calibration: Any, precision: str, constants: Any, folder: Path) -> Lowered:
            from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

            configs = [config for config in ALL_PARTITIONER_CONFIGS if not config.__name__.startswith(("Linear", "Addmm", "MM"))]
            partitioner = XnnpackPartitioner(configs=configs)
            return _pte.lower(model, example, constants, folder / self.model_file, [partitioner], quantized=False)

    assert refused(Partial()).startswith("delegated layers: 22, must be >= 23")


def test_random_calibration(refused, monkeypatch):
    """What an exporter's example input is by default: a standard normal, which as pixels of 0..255 is nearly black."""

    def noise(evidence: Evidence, count: int) -> np.ndarray:
        shape = (count, 3, evidence.preprocess.height, evidence.preprocess.width)
        return np.abs(np.random.default_rng(0).normal(size=shape)).astype(np.uint8)

    monkeypatch.setattr(Evidence, "calibration", noise)
    text = refused(Xnnpack(), precision="int8")
    assert text.startswith(("agreement:", "balanced accuracy:", "max_error:"))
    assert "'eager quantised'" in text
    assert "at layer" in text


def test_labels_in_another_order_in_the_file(refused):
    class Permuted(Sound):
        def lower(self, model: Any, example: Any, calibration: Any, precision: str, constants: Any, folder: Path) -> Lowered:
            lowered = super().lower(model, example, calibration, precision, constants, folder)
            constants["labels"] = constants["labels"][::-1]
            return lowered

    assert refused(Permuted()).startswith("constants that differ: 1,")


def test_labels_in_another_order_in_the_run(tmp_path):
    place = tmp_path / "run"
    shutil.copytree(run_folder(), place)
    info = json.loads((place / "run.json").read_text())
    info["labels"].reverse()
    (place / "run.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match="in that order"):
        export(place, output=tmp_path / "out")


@pytest.mark.parametrize("damage", ["swapped", "truncated", "missing"])
def test_a_damaged_artifact_does_not_open(damage, tmp_path):
    place = tmp_path / "artifact"
    shutil.copytree(exported("int8"), place)
    model = place / "model.pte"
    if damage == "swapped":
        shutil.copy(exported("fp32") / "model.pte", model)
    elif damage == "truncated":
        model.write_bytes(model.read_bytes()[:-1000])
    else:
        model.unlink()
    with pytest.raises(UserError, match=r"model\.pte: (does not match|missing)"):
        open_artifact(place)
