"""What the backends answer alike whose file another runtime runs: ONNX Runtime, LiteRT. Each file
holds texts by name, and a module of ``mobilekd.graphs`` (``reader``) reads, writes and runs it.
"""

import importlib.util
import platform
from pathlib import Path
from typing import Any

from mobilekd.backends.shared.read_file import ReadFile
from mobilekd.formats.gates import Delegation
from mobilekd.formats.parity_names import StageId


class DescribedFile(ReadFile):
    """fp32, and int8 through XNNPACK's quantizer: after training, with training or mixed."""

    precisions: tuple[str, ...] = ("fp32", "int8", "int8-qat", "mixed")
    runtime: str
    interpreted = False
    processor = True  # the runner opens the package's library for arm64
    rounds_alike = True
    computes_on = "CPU"
    apple: StageId | None = None
    socs: tuple[str, ...] = ()
    soc: str | None = None
    package: str  # what the reader imports to take a file apart
    extra: str  # of pyproject.toml, which brings it

    def quantizer(
        self, precision: str, float_layers: frozenset[str], *, qat: bool = False
    ) -> Any | None:
        """XNNPACK's, whose kernels compute the same; additions may differ, which the backend's
        eager reference says.
        """
        if precision == "fp32":
            return None
        from mobilekd.backends.shared.xnnpack_quantizer import Quantizer

        return Quantizer(float_layers)

    def weights_in(self, precision: str) -> str | None:
        """None: int8 goes through ``quantizer``."""
        return None

    def where(self) -> str:
        """This host runs the file itself."""
        return f"{self.runtime}, {platform.machine()} {platform.system()}"

    def readable(self) -> bool:
        """Whether the reader's package is installed here."""
        return importlib.util.find_spec(self.package) is not None

    def byte_table(self, model_path: Path) -> dict[str, int]:
        """Where the file's bytes are; they sum to its size."""
        return dict(self.reader.byte_table(model_path))

    def delegation(self, model_path: Path, heavy_total: int) -> Delegation:
        """As the reader counts the file's operators."""
        found: Delegation = self.reader.delegation(model_path, heavy_total)
        return found
