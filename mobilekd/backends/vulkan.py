"""Vulkan: a phone's graphics processor through ExecuTorch's delegate; no host runs the file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.backends.base import Lowered
from mobilekd.backends.shared import executorch_file
from mobilekd.backends.shared.executorch_file import ExecutorchFile
from mobilekd.formats.constants import Constants
from mobilekd.support.errors import CannotRunHere

if TYPE_CHECKING:
    import torch
    from torch import fx


class Vulkan(ExecutorchFile):
    """fp32, and fp16 inside the delegate with fp32 at its borders."""

    name = "vulkan"
    precisions: tuple[str, ...] = ("fp32", "fp16")
    model_file = "model.pte"
    runtime = ""
    processor = False
    computes_on = "GPU"

    def quantizer(
        self, precision: str, float_layers: frozenset[str], *, qat: bool = False
    ) -> Any | None:
        """None: floating point only."""
        return None

    def lower(
        self,
        model: "fx.GraphModule",
        example: "torch.Tensor",
        precision: str,
        constants: Constants,
        folder: Path,
    ) -> Lowered:
        """Write ``model.pte``; Vulkan's partitioner takes every operator that it knows."""
        from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

        partitioner = VulkanPartitioner({"force_fp16": precision == "fp16"})
        return executorch_file.lower(
            model, example, constants, folder / self.model_file, [partitioner], quantized=False
        )

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """Raises ``CannotRunHere``: no host of ours runs a Vulkan file."""
        raise CannotRunHere(
            "vulkan: this ExecuTorch wheel has no Vulkan runtime; run the file on a phone whose"
            " runtime has it"
        )


BACKEND = Vulkan()
