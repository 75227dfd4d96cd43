"""Plant a fault in each place where exports go wrong, and see the gate that catches it.

The sound file is lowered once; a fault is planted around it, so that each test shows its own gate
and nothing else.
"""

import copy
import functools
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixtures.run import exported, make_run, run_folder

from mobilekd import students
from mobilekd.backends.base import Lowered
from mobilekd.backends.shared import executorch_file
from mobilekd.backends.xnnpack import Xnnpack
from mobilekd.commands.export import export
from mobilekd.formats.artifact import open_artifact
from mobilekd.graphs import pte, torch_nodes
from mobilekd.inference.evaluation_set import EvaluationSet
from mobilekd.lowering import request
from mobilekd.support.errors import GateError, UserError

KEPT: dict[str, Lowered] = {}


@functools.cache
def wide_run() -> Path:
    """One whose features are more than one cell, so that a map can be wrong."""
    return make_run(
        Path(tempfile.mkdtemp(prefix="mobilekd-wide-")), size=64, steps=5, name="wide"
    ).folder


class Sound(Xnnpack):
    """XNNPACK that lowers the run's fp32 student once and hands out copies of the file."""

    def lower(
        self, model: Any, example: torch.Tensor, precision: str, constants: Any, folder: Path
    ) -> Lowered:
        if "fp32" not in KEPT:
            KEPT["fp32"] = super().lower(model, example, precision, constants, run_folder().parent)
        path = folder / self.model_file
        shutil.copy(KEPT["fp32"].model_path, path)
        return replace(KEPT["fp32"], model_path=path)


@pytest.fixture
def refused(monkeypatch, tmp_path):
    """Export with a planted backend; the refusal's text."""

    def attempt(backend: Xnnpack, **arguments: Any) -> str:
        monkeypatch.setattr(request, "get", lambda _: backend)
        run = arguments.pop("run", run_folder())
        with pytest.raises(GateError) as caught:
            export(run, output=tmp_path / "out", retry=False, **arguments)
        assert list(tmp_path.iterdir()) == []
        return str(caught.value)

    return attempt


def test_without_a_fault_it_is_accepted(monkeypatch, tmp_path):
    monkeypatch.setattr(request, "get", lambda _: Sound())
    assert all(gate.passed for gate in export(run_folder(), output=tmp_path / "out").manifest.gates)


def test_wrong_mean(refused, monkeypatch):
    sound = students.Deployable

    def deployable(student: Any, preprocess: Any, *rest: Any, **named: Any) -> Any:
        return sound(student, replace(preprocess, mean=(0.485, 0.456, 0.406)), *rest, **named)

    monkeypatch.setattr(students, "Deployable", deployable)
    text = refused(Sound())
    assert text.startswith("preprocessing:")
    assert "'eager fp32'" in text


def test_bgr_for_rgb(refused):
    class Swapped(Sound):
        def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
            return super().run(model_path, x[:, ::-1])

    text = refused(Swapped())
    assert text.startswith("max_error:")
    assert "'saved file'" in text
    assert "every layer holds its source's weights" in text


def test_channels_last_input(refused):
    class Strided(Sound):
        def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
            forward = pte.load(model_path).load_method("forward")
            fed = [
                torch.from_numpy(one[None]).float().contiguous(memory_format=torch.channels_last)
                for one in x
            ]
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
        def lower(
            self, model: Any, example: torch.Tensor, precision: str, constants: Any, folder: Path
        ) -> Lowered:
            from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

            configs = [
                config
                for config in ALL_PARTITIONER_CONFIGS
                if not config.__name__.startswith(("Linear", "Addmm", "MM"))
            ]
            partitioner = XnnpackPartitioner(configs=configs)
            return executorch_file.lower(
                model, example, constants, folder / self.model_file, [partitioner], quantized=False
            )

    text = refused(Partial())
    assert text.startswith("delegated layers: 22, must be >= 23")
    assert "outside the delegate: classifier;" in text


def test_random_calibration(refused, monkeypatch):
    """What an exporter's example input is by default: a standard normal, which as pixels of 0..255
    is nearly black.
    """

    def noise(evaluation_set: EvaluationSet, count: int) -> np.ndarray:
        shape = (count, 3, evaluation_set.preprocess.height, evaluation_set.preprocess.width)
        return np.abs(np.random.default_rng(0).normal(size=shape)).astype(np.uint8)

    monkeypatch.setattr(EvaluationSet, "calibration", noise)
    # calibrated on photographs, this student agrees with itself on 0.89 of them
    text = refused(Xnnpack(), precision="int8", overrides=["gates.agreement=0.75"])
    assert text.startswith("agreement:")
    assert "'eager quantised'" in text
    assert "at layer" in text


def test_labels_in_another_order_in_the_file(refused):
    class Permuted(Sound):
        def lower(
            self, model: Any, example: Any, precision: str, constants: Any, folder: Path
        ) -> Lowered:
            lowered = super().lower(model, example, precision, constants, folder)
            constants["labels"] = constants["labels"][::-1]
            return lowered

    text = refused(Permuted())
    assert text.startswith("constants that differ: 1,")
    assert "other in the file than in the manifest: labels;" in text


def test_an_activation_map_of_other_features(refused, monkeypatch):
    """The map is checked against the student's own head, which the graph's formula shares nothing
    with.
    """
    sound = students.Deployable

    class Mirrored(sound):
        def activation_map(
            self, features: torch.Tensor, probabilities: torch.Tensor
        ) -> torch.Tensor:
            return super().activation_map(features, probabilities).flip(2)

    monkeypatch.setattr(students, "Deployable", Mirrored)
    text = refused(Xnnpack(), cam=True, run=wide_run())
    assert text.startswith("activation map:")
    assert "'eager fp32, activation map'" in text


def test_fake_quantisation_left_in_the_graph(refused):
    class Left(Sound):
        def lower(self, *arguments: Any) -> Lowered:
            lowered = super().lower(*arguments)
            assert lowered.graph is not None
            graph = copy.deepcopy(lowered.graph())
            first = next(torch_nodes.heavy_nodes(graph))
            with graph.graph.inserting_after(first):
                graph.graph.call_function(
                    torch.ops.aten.fake_quantize_per_tensor_affine.default,
                    (first, 0.1, 0, -128, 127),
                )
            return replace(lowered, graph=lambda: graph)

    text = refused(Left())
    assert text.startswith("training remains: 1,")
    assert "left in the graph: fake_quantize" in text


def test_decisions_that_rounding_moved_name_the_stage_and_the_layer(refused):
    """No step is beyond its own limit, yet the decisions are: the step that moved the numbers most
    is named, with its worst layer.
    """
    text = refused(
        Xnnpack(),
        precision="int8",
        overrides=[
            "gates.agreement=1",
            "gates.accuracy_drop=0.000001",
            "gates.max_error_quantized=0.9",
        ],
    )
    assert text.startswith(("agreement:", "balanced accuracy:"))
    assert "'eager quantised'" in text
    assert "at layer" in text


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
