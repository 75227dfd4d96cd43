"""The saved ONNX file answers in ONNX Runtime as eager does, in int8 with our own steps; faults
planted in it are refused by name.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from fixtures.coreml import EXAMPLE, LABELS, facts, pictures, small
from fixtures.run import exported, run_folder
from onnx import numpy_helper

from mobilekd.backends import get
from mobilekd.backends.base import Lowered
from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.export import export
from mobilekd.commands.inspect import inspect
from mobilekd.commands.verify import verify
from mobilekd.formats.artifact import hashes, open_artifact
from mobilekd.formats.gates import Gate
from mobilekd.formats.integrity import write_sealed
from mobilekd.formats.parity_names import GateId
from mobilekd.formats.runs import open_run
from mobilekd.graphs import onnx_file, torch_graph, torch_nodes
from mobilekd.lowering import parity, quantize
from mobilekd.lowering.remedy import limit_key
from mobilekd.runners.qemu import TRUSTED
from mobilekd.support.errors import UserError

BACKEND = get("onnx")


@pytest.fixture(scope="module")
def rounded(tmp_path_factory) -> Lowered:
    """A small network in int8, with an addition and clamps that levels replace."""
    graph = torch_graph.capture(small("v2"), EXAMPLE)
    torch_graph.fold_calibration(graph)
    prepared = quantize.prepare(graph, BACKEND.quantizer("int8", frozenset()), "minmax")
    quantize.calibrate(prepared, pictures(24))
    folder = tmp_path_factory.mktemp("onnx-int8")
    model = quantize.convert(prepared)
    return BACKEND.lower(model, EXAMPLE, "int8", facts("onnx", "int8"), folder)


@pytest.fixture
def copy(tmp_path) -> Path:
    return Path(shutil.copytree(exported("int8", "onnx"), tmp_path / "artifact"))


def apart(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("backend", "precision", "key"),
    [
        ("onnx", "int8", "max_error_quantized"),
        ("onnx", "fp32", "max_error"),
        ("xnnpack", "int8", "max_error"),
    ],
)
def test_a_phone_may_round_int8_otherwise_and_fp32_not(backend, precision, key):
    """The runtime's int8 kernels for Arm are not those for x86; XNNPACK's round alike."""
    gates = open_run(run_folder()).recipe.gates
    assert gates.max_error < gates.max_error_quantized
    artifact = open_artifact(exported(precision, backend))
    assert artifact.golden().index.max_error == getattr(gates, key)
    refused = SimpleNamespace(precision=precision, backend=get(backend), target="RUN")
    assert limit_key(GateId.GOLDEN_SET, refused) == key


@pytest.mark.parametrize("kind", ["v2", "v3"])
def test_the_file_answers_as_eager(kind, tmp_path):
    graph = torch_graph.capture(small(kind, cam=True), EXAMPLE)
    said = facts("onnx", "fp32", cam=True)
    made = BACKEND.lower(graph, EXAMPLE, "fp32", said, tmp_path)
    x = pictures()
    given = BACKEND.run(made.model_path, x)
    assert apart(given, made.eager_reference(x)) < 1e-5
    assert np.ptp(given[0], axis=0).max() > 0.02
    assert BACKEND.constants(made.model_path) == said
    assert apart(BACKEND.run(made.model_path, np.asfortranarray(x)), given) == 0
    names = [one.name for one in onnx.load(made.model_path).graph.output]
    assert names == ["probabilities", "cam"]


def test_int8_is_ours_level_by_level(rounded):
    """ONNX Runtime's kernels give what their arithmetic gives, spelt out in torch: to the last
    level where that is written down.
    """
    x = pictures(6)
    wanted = rounded.eager_reference(x)
    assert apart(rounded.lowered(x), wanted) < 0.01
    written_down = platform.machine() in ("x86_64", "AMD64")
    assert apart(BACKEND.run(rounded.model_path, x), wanted) < (1e-6 if written_down else 0.01)
    layers = torch_nodes.layer_outputs(rounded.graph(), x[:1].astype(np.float32))
    given = dict(zip(layers, rounded.saved_layers(x[:1]), strict=True))
    assert min(parity.sqnr_db(given[name], layers[name]) for name in layers) > 30


def test_the_file_holds_our_steps_and_no_clamp(rounded):
    graph = onnx.load(rounded.model_path).graph
    tensors = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    kinds = [node.op_type for node in graph.node]
    assert "Clip" not in kinds
    assert rounded.delegation.heavy_quantized == rounded.delegation.heavy_total == 6
    steps = {
        float(np.float32(node.args[1]))
        for node in rounded.graph().graph.nodes
        if "quantize_per_tensor" in str(node.target)
    }
    quantisers = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {float(tensors[node.input[1]]) for node in quantisers} <= steps
    assert {tensors[node.input[2]].dtype for node in quantisers} == {np.dtype(np.uint8)}


def test_the_file_tells_nothing_of_the_machine(rounded):
    assert str(Path(__file__).parents[2]).encode() not in rounded.model_path.read_bytes()
    assert b"stack_trace" not in rounded.model_path.read_bytes()


def test_every_byte_is_accounted_for(rounded):
    assert sum(rounded.memory.values()) == rounded.model_path.stat().st_size


def test_metadata_are_rewritten_and_the_network_is_not(rounded, tmp_path):
    path = Path(shutil.copy(rounded.model_path, tmp_path))
    BACKEND.rewrite(path, {"threshold": 0.75, "rescale": [1.0, 0.5]})
    assert BACKEND.constants(path)["threshold"] == 0.75
    assert BACKEND.constants(path)["labels"] == [label.key for label in LABELS]
    assert BACKEND.network_hash(path) == BACKEND.network_hash(rounded.model_path)
    plant(path)
    assert BACKEND.network_hash(path) != BACKEND.network_hash(rounded.model_path)


def test_what_is_no_file_of_ours_is_told(rounded, tmp_path):
    cut = tmp_path / "cut.onnx"
    whole = rounded.model_path.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.onnx: .*export again"):
        BACKEND.run(cut, pictures(1))
    with pytest.raises(UserError, match="no such model file"):
        BACKEND.constants(tmp_path / "none.onnx")
    with pytest.raises(UserError, match="input's shape"):
        BACKEND.run(rounded.model_path, pictures(1)[:, :, 1:])


def without_inputs(model):
    for node in model.graph.node:
        del node.input[:]


def without_operators(model):
    del model.graph.node[:]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_inputs, "an operator [A-Za-z]+ without inputs or outputs"),
        (without_operators, "no operators"),
    ],
)
def test_a_graph_that_lacks_parts_is_told_wherever_it_is_read(rounded, tmp_path, change, said):
    model, odd = onnx_file.read(rounded.model_path), tmp_path / "odd.onnx"
    change(model)
    odd.write_bytes(model.SerializeToString())
    for read in (lambda: onnx_file.delegation(odd, 1), lambda: onnx_file.byte_table(odd)):
        with pytest.raises(UserError, match=rf"odd\.onnx: not a readable ONNX file \({said}"):
            read()


def test_names_that_are_no_text_are_told(rounded, tmp_path):
    """protobuf hands bytes that are not UTF-8 on as bytes."""
    whole, odd = rounded.model_path.read_bytes(), tmp_path / "odd.onnx"
    for word in (b"mobilekd.labels", b"DequantizeLinear"):
        odd.write_bytes(whole.replace(word, b"\xff" * len(word)))
        for read in (onnx_file.constants, onnx_file.network_hash, onnx_file.byte_table):
            with pytest.raises(UserError, match=r"odd\.onnx: not a readable ONNX file \(a name"):
                read(odd)


def test_a_file_of_two_inputs_is_told(rounded, tmp_path):
    model, odd = onnx_file.read(rounded.model_path), tmp_path / "odd.onnx"
    model.graph.input.add().CopyFrom(model.graph.input[0])
    model.graph.input[1].name = "second"
    odd.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"odd\.onnx: it takes 2 inputs"):
        BACKEND.run(odd, pictures(1))


def test_the_missing_extra_is_told_before_anything_is_lowered(monkeypatch, tmp_path):
    monkeypatch.setattr("mobilekd.backends.onnx.PACKAGES", ("onnx", "onnxscript_of_nobody"))
    with pytest.raises(UserError, match=r"of_nobody is not installed; pip install 'mobilekd\[onnx"):
        export("no-such-run", backend="onnx", output=tmp_path / "out")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="onnxruntime is not installed"):
        onnx_file.session(tmp_path / "any.onnx")
    assert not list(tmp_path.iterdir())


def test_the_artifact_passes_every_check(copy):
    result = verify(copy, arm=True, runs=run_folder().parent)
    assert result.passed, result.checks
    on_arm = [check for check in result.checks if check.name.startswith("golden set on")]
    assert len(on_arm) == len(TRUSTED)
    emulated = shutil.which("qemu-aarch64") and shutil.which("aarch64-linux-gnu-g++")
    assert {check.passed for check in on_arm} == {True if emulated else None}
    manifest = open_artifact(copy).manifest
    assert all(isinstance(gate, Gate) and gate.passed for gate in manifest.gates)
    assert {gate.name.id.id for gate in manifest.gates} >= {"max_error", "int8 layers", "agreement"}


def test_the_runtime_reports_to_nobody(rounded, tmp_path):
    """Its builds for Linux send events to Microsoft and leave an identifier in the home or the
    folder for temporary files; not here, nor in the process that is measured.
    """
    program = (
        "import sys; from pathlib import Path; from mobilekd.graphs import onnx_file;"
        "from mobilekd.runners import host; import numpy as np; x = np.zeros((1, 3, 32, 32), 'u1');"
        "path = Path(sys.argv[1]); onnx_file.run(path, x); host.answers(path, x)"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    unset = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    places = {name: str(empty) for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    line = [sys.executable, "-P", "-c", program, rounded.model_path]
    subprocess.run(line, check=True, cwd=empty, env=unset | places)
    assert list(empty.iterdir()) == []


def test_inspect_takes_it_apart(copy):
    found = inspect(copy)
    assert sum(found["bytes"]["parts"].values()) == found["bytes"]["file"]
    assert found["constants"]["precision"] == "int8"
    assert found["layers"]


def test_evaluate_judges_it(copy, tmp_path):
    found = evaluate(copy, runs=run_folder().parent, output=tmp_path / "evaluation")
    assert found["metrics"]["balanced_accuracy"]["value"] is not None


def plant(path: Path) -> str:
    """Double the step of one layer's weights; the layer's name."""
    model = onnx.load(path)
    made = {node.output[0]: node for node in model.graph.node}
    layer = list(onnx_file.heavy_nodes(model.graph))[2]
    step = made[layer.input[1]].input[1]
    for tensor in model.graph.initializer:
        if tensor.name == step:
            tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), step))
    onnx.save(model, path)
    return str(layer.name)


def seal(folder: Path) -> None:
    """Write the manifest again with right hashes, as somebody would who tampers with care."""
    document = json.loads((folder / "manifest.json").read_text())
    document["files"] = hashes(folder)
    write_sealed(folder / "manifest.json", document)


def test_a_flipped_byte_stops_at_once(copy):
    data = bytearray((copy / "model.onnx").read_bytes())
    data[5000] ^= 1
    (copy / "model.onnx").write_bytes(data)
    with pytest.raises(UserError, match=r"model\.onnx: does not match its hash"):
        verify(copy)


def test_a_doubled_step_behind_right_hashes_is_found(copy):
    plant(copy / "model.onnx")
    seal(copy)
    outcomes = {check.name: check.passed for check in verify(copy, runs=run_folder().parent).checks}
    assert outcomes["golden set"] is False


def test_another_preprocessing_behind_right_hashes_is_found(copy):
    """The mean inside the graph is another's: the answers tell, and so does what the file says."""
    model = onnx.load(copy / "model.onnx")
    for tensor in model.graph.initializer:
        if tensor.name.endswith("mean"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) / 2, tensor.name))
    onnx.save(model, copy / "model.onnx")
    BACKEND.rewrite(copy / "model.onnx", {"mean": [0.25, 0.25, 0.25]})
    seal(copy)
    outcomes = {check.name: check.passed for check in verify(copy, runs=run_folder().parent).checks}
    assert outcomes["golden set"] is False
    assert outcomes["constants"] is False


def test_an_export_with_a_doubled_step_is_refused_and_the_layer_named(monkeypatch, tmp_path):
    planted: list[str] = []
    sound = type(BACKEND).lower

    def lower(self, model, example, precision, constants, folder):
        made = sound(self, model, example, precision, constants, folder)
        planted.append(plant(made.model_path))
        return made

    monkeypatch.setattr(type(BACKEND), "lower", lower)
    with pytest.raises(UserError, match=r"(lowered graph|max_error): ") as caught:
        export(run_folder(), backend="onnx", precision="int8", output=tmp_path / "out", retry=False)
    assert planted[0] in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_torch_is_asked_for_one_photograph_at_a_time(rounded):
    """A phone asks for one, so the file's batch is 1."""
    (given,) = onnx_file.session(rounded.model_path).get_inputs()
    assert given.shape == list(torch.Size([1, *EXAMPLE.shape[1:]]))
