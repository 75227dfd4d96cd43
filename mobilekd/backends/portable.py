"""No delegate: ExecuTorch's portable kernels. Slow, and the reference that needs no backend's
library.
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


class Portable(ExecutorchFile):
    """fp32 through the portable kernels."""

    name = "portable"
    precisions: tuple[str, ...] = ("fp32",)
    model_file = "model.pte"
    on_device = "ExecuTorch (portable kernels)"

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
        """Write ``model.pte`` without a delegate, so nothing is promised to lie inside one."""
        path = folder / self.model_file
        return executorch_file.lower(
            model, example, constants, path, [], quantized=False, promises_delegation=False
        )

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """float32 or uint8 ``[N, 3, H, W]`` -> outputs, by the runtime in ExecuTorch's wheel."""
        return pte.run(model_path, x)


BACKEND = Portable()
