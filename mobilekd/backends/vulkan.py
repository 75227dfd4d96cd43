"""Vulkan: a phone's graphics processor through ExecuTorch's delegate. Lowered here, run on
a phone.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.backends import _pte
from mobilekd.backends._pte import ExecutorchFile
from mobilekd.backends.base import Lowered
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
    processor = False

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
        """See ``base.Backend``."""
        from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

        partitioner = VulkanPartitioner({"force_fp16": precision == "fp16"})
        return _pte.lower(
            model, example, constants, folder / self.model_file, [partitioner], quantized=False
        )

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """Raises ``CannotRunHere``."""
        raise CannotRunHere(
            "vulkan: this ExecuTorch wheel has no Vulkan runtime; run the file on a phone whose"
            " runtime has it"
        )


BACKEND = Vulkan()
