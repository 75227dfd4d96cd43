"""The backend for Hexagon with Qualcomm's libraries: a small network, lowered once for each
precision, answers on the simulator; planted faults are refused with their name.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mobilekd.backends import for_soc, get
from mobilekd.backends.base import eager_runner
from mobilekd.backends.shared import htp
from mobilekd.formats.parity_names import GateId
from mobilekd.graphs import pte, torch_graph
from mobilekd.lowering import quantize
from mobilekd.lowering.checks import structure
from mobilekd.lowering.exported import ParityReport
from mobilekd.lowering.locate import counted
from mobilekd.support.errors import CannotRunHere, GateError

EXAMPLE = torch.zeros(1, 3, 8, 8)
PHOTOGRAPHS = np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8), np.uint8)


@pytest.fixture(scope="module")
def libraries():
    try:
        return htp.find()
    except CannotRunHere as reason:
        pytest.skip(str(reason))


class Two(nn.Module):
    """One convolution with a clamp, one linear layer; logits apart enough for rounding to show."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 4, 3, 2, bias=False), nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = nn.functional.relu6(self.norm(self.conv(x / 255)))
        return (self.linear(features.mean((2, 3))) * 8).softmax(1)


def captured():
    return torch_graph.capture(Two().eval(), EXAMPLE)


def rounded(precision):
    quantizer = get("qnn").quantizer(precision, frozenset())
    if quantizer is None:
        return captured()
    prepared = quantize.prepare(captured(), quantizer)
    quantize.calibrate(prepared, PHOTOGRAPHS)
    prepared, _ = quantize.correct(captured(), prepared, PHOTOGRAPHS)
    return quantize.convert(prepared)


def lower(graph, precision, folder: Path, soc=None):
    backend = for_soc(get("qnn"), soc)
    made = backend.lower(graph, EXAMPLE, precision, {"name": "two", "soc": backend.soc}, folder)
    return backend, made


@pytest.fixture(scope="module", params=["w8a16", "w8a8", "fp16"])
def lowered(libraries, request, tmp_path_factory):
    return *lower(rounded(request.param), request.param, tmp_path_factory.mktemp("qnn")), (
        request.param
    )


def test_the_file_answers_on_the_simulator_as_its_source_does(lowered, capfd):
    backend, made, precision = lowered
    limit = {"w8a16": 2e-3, "w8a8": 0.03, "fp16": 5e-3}[precision]
    wanted = made.eager_reference(PHOTOGRAPHS)[0]
    assert np.abs(backend.run(made.model_path, PHOTOGRAPHS)[0] - wanted).max() < limit
    assert capfd.readouterr() == ("", "")  # hundreds of lines otherwise


def test_everything_lies_in_one_delegate_for_the_chip(lowered, libraries):
    backend, made, _ = lowered
    assert (made.delegation.heavy_delegated, made.delegation.heavy_total) == (2, 2)
    assert (made.delegation.partitions, made.delegation.portable, made.outside) == (1, {}, ())
    assert made.chip == htp.chip("SM8650", libraries.version)
    assert backend.constants(made.model_path) == {"name": "two", "soc": "SM8650"}


def test_a_file_for_another_chip_is_told_by_its_own_delegate(libraries, tmp_path):
    """Whatever the constant method says, the compiled graph is for SM8550."""
    backend, made = lower(rounded("w8a16"), "w8a16", tmp_path, soc="SM8550")
    pte.rewrite(made.model_path, {"soc": "SM8650"})
    assert backend.constants(made.model_path)["soc"] == "SM8550"
    export = SimpleNamespace(
        backend=backend, lowered=made, constants={"name": "two", "soc": "SM8650"}, rounded=False
    )
    report = ParityReport()
    structure(export, report)
    [gate] = [gate for gate in report.gates if not gate.passed]
    assert gate.name.id is GateId.CONSTANTS
    assert counted(export, report, gate.name.id) == "other in the file than in the manifest: soc"


def test_frozen_parameters_give_the_same_answers(libraries, tmp_path):
    """Thawed after a calibration on nothing but black, as an export without data does."""
    graph = rounded("w8a16")
    prepared = quantize.prepare(captured(), get("qnn").quantizer("w8a16", frozenset()), "minmax")
    quantize.calibrate(prepared, np.zeros((1, 3, 8, 8), np.uint8))
    thawed = quantize.thaw(quantize.convert(prepared), quantize.freeze(graph))
    assert np.array_equal(eager_runner(thawed)(PHOTOGRAPHS)[0], eager_runner(graph)(PHOTOGRAPHS)[0])


def test_a_layer_outside_the_delegate_has_its_name(libraries, tmp_path, monkeypatch):
    from executorch.backends.qualcomm.partition.qnn_partitioner import QnnOperatorSupport

    supported = QnnOperatorSupport.is_node_supported

    def all_but_linear(self, modules, node):
        return "linear" not in str(node.target) and supported(self, modules, node)

    monkeypatch.setattr(QnnOperatorSupport, "is_node_supported", all_but_linear)
    with pytest.raises(GateError, match="outside the delegate: linear; nothing was written"):
        lower(captured(), "fp16", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_doubled_scale_is_refused_with_its_layer(libraries, tmp_path, monkeypatch):
    """On its way to the compiler, where nothing could be read back afterwards."""
    from executorch.backends.qualcomm.builders.node_visitor import NodeVisitor

    sound = NodeVisitor.get_quant_encoding_conf

    def doubled(self, node, target):
        encoding, configs = sound(self, node, target)
        if "linear" in node.name and "scale" in configs:
            configs = {**configs, "scale": 2 * configs["scale"]}
        return encoding, configs

    monkeypatch.setattr(NodeVisitor, "get_quant_encoding_conf", doubled)
    with pytest.raises(GateError, match=r"not the rounded graph's: linear has .* in "):
        lower(rounded("w8a16"), "w8a16", tmp_path)
    assert not list(tmp_path.iterdir())
