"""What backends answer alike whose files a module of ``mobilekd.graphs`` reads and rewrites."""

from pathlib import Path
from types import ModuleType

import numpy as np

from mobilekd.formats.constants import Constants


class ReadFile:
    """``reader`` has the functions ``constants``, ``rewrite``, ``network_hash`` and ``run``."""

    reader: ModuleType

    def constants(self, model_path: Path) -> Constants:
        """What the saved file says of itself."""
        return dict(self.reader.constants(model_path))

    def rewrite(self, model_path: Path, constants: Constants) -> None:
        """Let the file say these of itself, and leave the rest as it was."""
        self.reader.rewrite(model_path, constants)

    def network_hash(self, model_path: Path) -> str:
        """Hex SHA-256 over the file without what it says of itself."""
        return str(self.reader.network_hash(model_path))

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """float32 or uint8 ``[N, 3, H, W]`` -> outputs, by the file's runtime on this host."""
        return list(self.reader.run(model_path, x))
