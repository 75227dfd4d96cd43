"""Vulkan: a phone's graphics processor through ExecuTorch's delegate.

No host has that runtime, so the saved file is run by the strict interpreter in
``mobilekd/graphs/vulkan_interpreter.py``, which proves everything but Vulkan's own kernels.
"""

import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.backends.base import Lowered
from mobilekd.backends.shared import executorch_file
from mobilekd.backends.shared.executorch_file import ExecutorchFile
from mobilekd.formats.constants import Constants

if TYPE_CHECKING:
    import torch
    from torch import fx


class Vulkan(ExecutorchFile):
    """fp32, fp16 inside the delegate with fp32 at its borders, and int8 after training or with
    it.
    """

    name = "vulkan"
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8", "int8-qat")
    model_file = "model.pte"
    runtime = "a strict interpreter"
    on_device = "ExecuTorch (Vulkan)"
    interpreted = True
    processor = False
    rounds_alike = False
    computes_on = "GPU"

    def quantizer(
        self, precision: str, float_layers: frozenset[str], *, qat: bool = False
    ) -> Any | None:
        """XNNPACK's, whose int8 Vulkan's kernels compute as well; None for fp32 and fp16."""
        if not precision.startswith("int8"):
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
        """Write ``model.pte``; Vulkan's partitioner takes every operator that it knows. A clamp
        where int8 saturates anyway would leave its convolution in floating point.
        """
        from mobilekd.graphs import torch_graph

        quantized = precision.startswith("int8")
        with _warnings_alone():
            from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

            return executorch_file.lower(
                torch_graph.without_idle_clamps(model) if quantized else model,
                example,
                constants,
                folder / self.model_file,
                [VulkanPartitioner({"force_fp16": precision == "fp16"})],
                quantized=quantized,
            )

    def where(self) -> str:
        """What :meth:`run` runs on, for the parity table."""
        return f"interpreter of the saved file on {platform.system()} (Vulkan's kernels unverified)"

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """float32 or uint8 ``[N, 3, H, W]`` -> outputs. Raises ``CannotRunHere`` where the
        interpreter does not know an operator.
        """
        from mobilekd.graphs.program_interpreter import interpret
        from mobilekd.graphs.vulkan_interpreter import Interpreter

        return interpret(model_path, x, {"VulkanBackend": Interpreter})


@contextmanager
def _warnings_alone() -> Iterator[None]:
    """ExecuTorch's modules for Vulkan let the whole program log what they do, a line for each
    operator, from the moment that they are loaded.
    """
    root = logging.getLogger()
    level, disabled = root.level, root.manager.disable
    logging.disable(max(disabled, logging.INFO))
    try:
        yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)


BACKEND = Vulkan()
