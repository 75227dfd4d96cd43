"""The saved Core ML package, read back by the interpreter, answers as eager does; what it says of
itself is true.
"""

import json

import numpy as np
import pytest
import timm
import torch
from fixtures.coreml import (
    CALIBRATION,
    EXAMPLE,
    LABELS,
    PREPROCESS,
    SIZE,
    captured,
    facts,
    made,
    pictures,
    small,
)

from mobilekd import backends
from mobilekd.backends.base import eager_runner
from mobilekd.backends.shared.coreml_file import with_decoded_weights
from mobilekd.formats.parity_names import StageId
from mobilekd.graphs import torch_graph, torch_nodes
from mobilekd.students import Deployable
from mobilekd.support.errors import UserError

__all__ = ["made"]

#: Largest difference of probabilities. fp16 has 11 bits: half a unit in the last place of 1 is
#: 2.4e-4, met at every layer.
BOUNDS = {"fp32": 1e-5, "fp16": 4e-3, "int8": 4e-3, "palette": 4e-3}


def apart(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", ["v2", "v3"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "palette"])
def test_package_answers_as_eager(made, kind, precision):
    lowered = made(kind, precision)
    answers = lowered.answers()
    assert answers[0].shape == (len(lowered.inputs), len(LABELS))
    assert apart(answers, lowered.eager()) < BOUNDS[precision]
    assert np.ptp(answers[0], axis=0).max() > 0.02, (
        "the network must tell the pictures apart, or this test proves nothing"
    )


@pytest.mark.parametrize("precision", ["int8", "palette"])
def test_compressed_weights_are_not_the_trained_ones(made, precision):
    lowered = made("v2", precision)
    assert lowered.lowered.reference is StageId.EAGER_DECODED
    trained = eager_runner(lowered.model)(lowered.inputs)
    assert apart(lowered.eager(), trained) > 1e-5, "the reference must run the decoded weights"
    assert lowered.lowered.memory["weights"] < made("v2", "fp16").lowered.memory["weights"]


def test_a_palette_of_unrounded_weights_is_refused(tmp_path):
    """coremltools would leave them as they are, and a file called palette would hold float16."""
    graph = torch_graph.capture(small("v2"), EXAMPLE)
    with pytest.raises(UserError, match="holds more than 256 values"):
        backends.get("coreml").lower(
            graph, EXAMPLE, "palette", facts("coreml", "palette"), tmp_path
        )
    assert not list(tmp_path.iterdir())


def test_cam_comes_second(made):
    lowered = made("v3", "fp16", cam=True)
    probabilities, cam = lowered.answers()
    assert cam.shape == (len(lowered.inputs), SIZE // 2, SIZE // 2)
    assert apart([probabilities, cam], lowered.eager()) < 1e-2


@pytest.mark.parametrize(
    ("backend", "precision"), [("coreml", "int8"), ("coreml", "palette"), ("coreml-pte", "int8")]
)
def test_compressed_cam_is_refused(backend, precision, tmp_path):
    graph = captured(small("v2", cam=True), backend, precision)
    with pytest.raises(UserError, match="use fp16"):
        backends.get(backend).lower(
            graph, EXAMPLE, precision, facts(backend, precision, cam=True), tmp_path
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("precision", "least"), [("fp32", 15), ("fp16", 15), ("int8", 16), ("palette", 16)]
)
def test_notes_name_the_least_ios_of_the_package(made, precision, least):
    from mobilekd.graphs.mil import Model

    lowered = made("v2", precision)
    assert Model(lowered.path).least_ios == least
    assert any(f"least iOS {least}" in note for note in lowered.lowered.notes)
    assert lowered.lowered.least_ios == least


def test_metadata_hold_what_a_pte_holds(made):
    from mobilekd.graphs.mil import Model

    lowered = made("v2", "fp16")
    assert backends.get("coreml").constants(lowered.path) == lowered.constants
    model = Model(lowered.path)
    assert model.labels == tuple(label.key for label in LABELS)
    assert json.loads(model.metadata["mobilekd.temperature"]) == CALIBRATION.temperature
    assert "not a medical device" in model.short_description
    assert model.author == "mobilekd"
    assert "Apache-2.0" in model.license


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_every_heavy_layer_is_inside(made, precision):
    delegation = made("v3", precision).lowered.delegation
    assert delegation.heavy_total == delegation.heavy_delegated == 8
    assert delegation.portable == {}
    assert delegation.heavy_quantized == (8 if precision == "int8" else 0)


def test_an_image_input_refuses_what_no_image_holds(made):
    with pytest.raises(UserError, match="whole numbers"):
        backends.get("coreml").run(made("v2", "fp16").path, pictures(1).astype(np.float32) + 0.5)
    with pytest.raises(UserError, match="shape"):
        backends.get("coreml").run(
            made("v2", "fp16").path, pictures(1).astype(np.float32)[:, :, ::2]
        )


def test_weights_that_are_not_the_students_own_are_no_reference():
    graph = captured(small("v2"), "coreml", "int8")
    own = [torch_nodes.weights_of(graph, node).numpy() for node in torch_nodes.heavy_nodes(graph)]
    with_decoded_weights(graph, own, "int8")
    with pytest.raises(RuntimeError, match="the package's weights are not its own"):
        with_decoded_weights(graph, [*own[:2], own[2] * 1.01, *own[3:]], "int8")
    with pytest.raises(RuntimeError, match="the package holds"):
        with_decoded_weights(graph, own[1:], "int8")


def test_a_real_network(tmp_path):
    torch.manual_seed(0)
    model = Deployable(
        timm.create_model("mobilenetv3_small_050", num_classes=len(LABELS)), PREPROCESS, CALIBRATION
    ).eval()
    backend = backends.get("coreml")
    lowered = backend.lower(
        captured(model, "coreml", "fp32"), EXAMPLE, "fp32", facts("coreml", "fp32"), tmp_path
    )
    x = pictures(2).astype(np.float32)
    assert apart(eager_runner(model)(x), lowered.eager_reference(x)) < 1e-5
    assert apart(backend.run(lowered.model_path, x), lowered.eager_reference(x)) < 1e-5
    assert lowered.delegation.heavy_total == lowered.delegation.heavy_delegated
