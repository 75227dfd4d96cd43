"""One virtual environment per peer, made from the ordinary package index when it is first wanted,
kept in the cache folder; see ``mobilekd.support.own_environment``.
"""

import sys
from pathlib import Path

from mobilekd.backends.shared import litert_converter
from mobilekd.support import own_environment

#: The packages of each, and how large they are.
PACKAGES = {
    "onnxruntime": (
        (
            "onnxruntime==1.32.0",
            "onnx==1.23.2",
            "onnxscript==0.7.2",
            "onnx-ir==1.1.0",
            "ml_dtypes==0.6.0",
        ),
        "0.1 GB",
    ),
    "litert": (litert_converter.PACKAGES, litert_converter.SIZE),
}


def interpreter(engine: str) -> Path:
    """The Python that has ``engine``; ExecuTorch's is the one that runs this. Installs it where it
    is not yet.
    """
    if engine not in PACKAGES:
        return Path(sys.executable)
    packages, size = PACKAGES[engine]
    return own_environment.interpreter(f"peer-{engine}", packages, size=size)
