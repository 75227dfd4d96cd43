"""No delegate: ExecuTorch's portable kernels. Slow, and the reference that needs no backend's
library.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.backends import _pte
from mobilekd.backends._pte import ExecutorchFile
from mobilekd.backends.base import Lowered
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
        path = folder / self.model_file
        return _pte.lower(
            model, example, constants, path, [], quantized=False, promises_delegation=False
        )

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """See ``base.Backend``."""
        return pte.run(model_path, x)


BACKEND = Portable()
