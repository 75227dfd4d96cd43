"""What both Core ML backends need of coremltools: quiet, where answers come from, and the graph
with the decoded weights.
"""

import copy
import io
import logging
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.formats.constants import Constants
from mobilekd.formats.gates import Delegation
from mobilekd.formats.parity_names import StageId
from mobilekd.support.errors import UserError

if TYPE_CHECKING:
    from torch import fx

#: int8 weights in coremltools' terms: every layer's, symmetric, a scale per output channel.
INT8 = {
    "mode": "linear_symmetric",
    "dtype": "int8",
    "granularity": "per_channel",
    "weight_threshold": 0,
}
INT8_NOTE = "weights in int8 (symmetric, a scale per output channel), arithmetic in fp16"
#: What a file must equal, by precision; a compressed package is read back by coremltools itself.
REFERENCE = {
    "fp32": StageId.EAGER,
    "fp16": StageId.EAGER_FLOAT16,
    "int8": StageId.EAGER_DECODED,
    "palette": StageId.EAGER_DECODED,
}
#: Relative L2 distance that compression may put between a layer's weights and their decoded form:
#: they are what is stored already, so only float16's digits may differ; a mixed-up pair of layers
#: is above 1.
MOST_WEIGHT_ERROR = {"int8": 1e-3, "palette": 1e-3}


@contextmanager
def quiet() -> Iterator[None]:
    """coremltools warns of untested versions and draws progress bars on standard error; both are
    noise to our users.
    """
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


class AppleFile:
    """What both backends answer alike."""

    runtime = "a strict interpreter"
    interpreted = True
    processor = False
    rounds_alike = False
    computes_on = "CPU, GPU or NPU"  # which one, Core ML decides on the phone
    apple: StageId | None = StageId.CORE_ML
    socs: tuple[str, ...] = ()
    soc: str | None = None

    def refuse_missing(self, precision: str) -> None:
        """Nothing: coremltools comes with the package."""

    def quantizer(self, precision: str, float_layers: frozenset[str], *, qat: bool = False) -> None:
        """None: coremltools compresses the weights itself."""
        return None

    def weights_in(self, precision: str) -> str | None:
        """Rounded before they come here, so that compressing them moves none further."""
        return {"fp16": "float16", "palette": "palette", "int8": "int8"}.get(precision)


def where(apple: str) -> str:
    """What a backend's ``run`` answers from: on macOS ``apple``, elsewhere the interpreter."""
    if platform.system() == "Darwin":
        return f"{apple} on macOS {platform.mac_ver()[0]}"
    return f"interpreter of the saved package on {platform.system()} (Apple's kernels unverified)"


def account(program: Any, heavy_total: int) -> Delegation:
    """Every op of a ``mil.Program`` is Core ML's; the heavy ones are counted against those of the
    exported graph.
    """
    heavy = program.heavy()
    return Delegation(
        delegated=program.kinds(),
        portable={},
        heavy_total=heavy_total,
        heavy_delegated=len(heavy),
        heavy_quantized=sum(kind == "constexpr_affine_dequantize" for kind in heavy),
        partitions=1,
    )


def answer_from(model: Any, x: np.ndarray) -> list[np.ndarray]:
    """float32 or uint8 ``[N, 3, H, W]`` -> outputs of a ``mil.Model``, one photograph at a time."""
    import torch

    answers = [
        model.answers(torch.from_numpy(np.ascontiguousarray(one[None], np.float32))) for one in x
    ]
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def interpreted_layers(package: Path, x: np.ndarray) -> list[np.ndarray]:
    """Outputs of the saved package's convolutions and linear layers in order, by the interpreter;
    ``x`` float32 ``[1, 3, H, W]``.
    """
    import torch

    with quiet():
        from mobilekd.graphs.mil import Model

        model, trace = Model(package), dict[str, torch.Tensor]()
    model.answers(torch.from_numpy(np.ascontiguousarray(x)), trace)
    return [
        trace[step.results[0][0]].numpy()
        for step in model.program.steps
        if step.kind in ("conv", "linear")
    ]


def refuse_compressed_cam(backend: str, precision: str, constants: Constants) -> None:
    """Compressed weights and an activation map do not go together yet."""
    outputs = constants["outputs"]
    if precision in ("int8", "palette") and isinstance(outputs, list) and len(outputs) > 1:
        raise UserError(
            f"--backend {backend} --precision {precision} --cam: coremltools 9.0 compresses no"
            " classifier with two outputs; use fp16"
        )


def decoded_weights(package: Path) -> list[np.ndarray]:
    """float32 weights of every convolution and linear layer of a saved package in order,
    decompressed by coremltools itself.
    """
    import coremltools as ct

    dense = ct.optimize.coreml.decompress_weights(
        ct.models.MLModel(str(package), skip_model_load=True)
    )
    weights = []
    for operation in dense._mil_program.functions["main"].operations:
        if operation.op_type in ("conv", "linear"):
            weight = operation.inputs["weight"]
            weights.append(np.asarray(weight.val, np.float32))
    return weights


def with_decoded_weights(
    graph: "fx.GraphModule", decoded: list[np.ndarray], precision: str
) -> "fx.GraphModule":
    """A copy of a captured ``graph`` whose layers hold the decoded weights; those must be its own
    but for rounding.
    """
    import torch

    from mobilekd.graphs import torch_nodes

    copied = copy.deepcopy(graph)
    layers = list(torch_nodes.heavy_nodes(copied))
    if len(layers) != len(decoded):
        raise RuntimeError(
            f"the package holds {len(decoded)} convolutions and linear layers, the graph"
            f" {len(layers)}"
        )
    for node, array in zip(layers, decoded, strict=True):
        own, new = torch_nodes.weights_of(copied, node), torch.from_numpy(array)
        if own.shape != new.shape or (new - own).norm() > MOST_WEIGHT_ERROR[precision] * own.norm():
            raise RuntimeError(
                f"layer {torch_nodes.layer_name(node)}: the package's weights are not its own; the"
                " conversion reordered layers"
            )
        name = node.args[1]
        assert isinstance(name, torch.fx.Node)  # a graph in floating point names its weights there
        torch_nodes.set_tensor(copied, str(name.target), new)
    return copied
