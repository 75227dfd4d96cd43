"""XNNPACK: the CPU delegate of phones. fp32, and int8 by PT2E with per-channel weights and
per-tensor activations.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.backends.base import Lowered
from mobilekd.backends.shared import executorch_file
from mobilekd.backends.shared.executorch_file import ExecutorchFile
from mobilekd.formats.constants import Constants
from mobilekd.graphs import pte

if TYPE_CHECKING:
    import torch
    from torch import fx


class Xnnpack(ExecutorchFile):
    """fp32, and int8 after training, with training or mixed; all of it in one delegate."""

    name = "xnnpack"
    precisions: tuple[str, ...] = ("fp32", "int8", "int8-qat", "mixed")
    model_file = "model.pte"
    on_device = "ExecuTorch (XNNPACK)"

    def quantizer(
        self, precision: str, float_layers: frozenset[str], *, qat: bool = False
    ) -> Any | None:
        """XNNPACK's quantizer with ReLU6 understood and every module in ``float_layers`` left
        alone; None for fp32.

        Training simulates quantisation on the same annotations as calibration, so ``qat`` changes
        nothing here.
        """
        if precision == "fp32":
            return None
        from mobilekd.backends.shared.xnnpack_quantizer import Quantizer

        return Quantizer(float_layers)

    def lower(
        self,
        model: "fx.GraphModule",
        example: "torch.Tensor",
        precision: str,
        constants: Constants,
        folder: Path,
    ) -> Lowered:
        """Write ``model.pte``; every convolution and linear layer is expected in the delegate."""
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

        path = folder / self.model_file
        return executorch_file.lower(
            model, example, constants, path, [XnnpackPartitioner()], quantized=precision != "fp32"
        )

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """float32 or uint8 ``[N, 3, H, W]`` -> outputs, by the runtime in ExecuTorch's wheel."""
        return pte.run(model_path, x)


BACKEND = Xnnpack()
