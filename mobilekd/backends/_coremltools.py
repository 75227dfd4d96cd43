"""What both Core ML backends need of coremltools: quiet, where answers come from, and eager with the decoded weights."""

import copy
import io
import logging
import platform
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.artifact import Delegation
from mobilekd.constants import Constants
from mobilekd.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import fx, nn

#: int8 weights in coremltools' terms: every layer's, symmetric, a scale per output channel.
INT8 = {"mode": "linear_symmetric", "dtype": "int8", "granularity": "per_channel", "weight_threshold": 0}
INT8_NOTE = "weights in int8 (symmetric, a scale per output channel), arithmetic in fp16"
#: The parity table's row that only Apple's systems can fill; ``ios_export/check_on_mac.py`` fills it.
APPLE_STAGE = "saved file on Core ML"
#: Relative L2 distance that compression may put between a layer's weights and their decoded form; a mixed-up pair of layers is above 1.
MOST_WEIGHT_ERROR = 0.25


@contextmanager
def quiet() -> Iterator[None]:
    """coremltools warns of untested versions and draws progress bars on standard error; both are noise to our users."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def where(apple: str) -> str:
    """What a backend's ``run`` answers from: on macOS ``apple``, elsewhere the interpreter."""
    if platform.system() == "Darwin":
        return f"{apple} on macOS {platform.mac_ver()[0]}"
    return f"interpreter of the saved package on {platform.system()} (Apple's kernels unverified)"


def account(program: Any, heavy_total: int) -> Delegation:
    """Every op of a ``mil.Program`` is Core ML's; the heavy ones are counted against those of the exported graph."""
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
    """float32 ``[N, 3, H, W]`` -> outputs of a ``mil.Model``, one photograph at a time."""
    import torch

    answers = [model.answers(torch.from_numpy(np.ascontiguousarray(one[None], np.float32))) for one in x]
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def captured(model: "nn.Module", example: "torch.Tensor") -> "Callable[[], fx.GraphModule]":
    """``model`` as a graph with batch norms folded, as coremltools folds them; captured when it is asked for."""

    def graph() -> "fx.GraphModule":
        from mobilekd import graphs

        return graphs.capture(model, example)

    return graph


def interpreted_layers(package: Path, x: np.ndarray) -> list[np.ndarray]:
    """Outputs of the saved package's convolutions and linear layers in order, by the interpreter; ``x`` float32 ``[1, 3, H, W]``."""
    import torch

    with quiet():
        from mobilekd.backends.mil import Model

        model, trace = Model(package), dict[str, torch.Tensor]()
    model.answers(torch.from_numpy(np.ascontiguousarray(x)), trace)
    return [trace[step.results[0][0]].numpy() for step in model.program.steps if step.kind in ("conv", "linear")]


def refuse_compressed_cam(backend: str, precision: str, constants: Constants) -> None:
    """Compressed weights and an activation map do not go together yet."""
    outputs = constants["outputs"]
    if precision in ("int8", "palette") and isinstance(outputs, list) and len(outputs) > 1:
        raise UserError(
            f"--backend {backend} --precision {precision} --cam: coremltools 9.0 compresses no classifier with two outputs; use fp16"
        )


def decoded_weights(mlmodel: Any) -> list[np.ndarray]:
    """float32 weights of every convolution and linear layer in order, decompressed by coremltools itself."""
    found = []
    for operation in mlmodel._mil_program.functions["main"].operations:
        if operation.op_type in ("conv", "linear"):
            weight = operation.inputs["weight"]
            compressed = weight.op is not None and weight.op.op_type.startswith("constexpr_")
            found.append(np.asarray(weight.op.materialized_val_inference() if compressed else weight.val, np.float32))
    return found


def heavy_layers(model: "nn.Module", example: "torch.Tensor") -> list[tuple[str, str | None]]:
    """(convolution or linear layer, the batch norm fed by it alone) by module name, in the order of execution."""
    import torch
    from torch import nn

    layers: list[tuple[str, str | None]] = []
    last: list[Any] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(module, nn.BatchNorm2d):
                if last and inputs[0] is last[0]:
                    layers[-1] = (layers[-1][0], name)
            else:
                layers.append((name, None))
                last[:] = [output]

        return hook

    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if isinstance(module, kinds)]
    with torch.no_grad():  # inference mode would mark the model's own tensors
        model(example)
    for hook in hooks:
        hook.remove()
    return layers


def with_decoded_weights(model: "nn.Module", example: "torch.Tensor", decoded: list[np.ndarray]) -> "nn.Module":
    """A copy of ``model`` whose layers hold the decoded weights, divided by the batch norm that was folded into them."""
    import torch

    copied = copy.deepcopy(model)
    layers = heavy_layers(copied, example)
    if len(layers) != len(decoded):
        raise RuntimeError(f"the package holds {len(decoded)} convolutions and linear layers, the model ran {len(layers)}")
    for (name, norm_name), array in zip(layers, decoded, strict=True):
        weight = copied.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)
        scale = torch.ones(weight.shape[0])
        if norm_name is not None:
            norm: Any = copied.get_submodule(norm_name)
            scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
        scale = scale.reshape(-1, *[1] * (weight.dim() - 1))
        folded, new = weight.detach() * scale, torch.from_numpy(array)
        if folded.shape != new.shape or (new - folded).norm() > MOST_WEIGHT_ERROR * folded.norm():
            raise RuntimeError(f"layer {name}: the package's weights are not its own; the conversion reordered layers")
        weight.data = torch.where(scale == 0, weight.detach(), new / scale)
    return copied
