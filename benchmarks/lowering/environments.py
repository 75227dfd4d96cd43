"""One virtual environment per peer, made from the ordinary package index when it is first wanted,
kept in the cache folder.

Each sees the packages of the environment that runs this script (torch, numpy, mobilekd) and holds
the peer's own, pinned and without their dependencies: litert-torch 0.10 asks for a torch below
ours, and converts rightly with ours all the same.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from mobilekd.support.files import cache_folder

PACKAGES = {
    "onnxruntime": (
        "onnxruntime==1.32.0 onnx==1.23.2 onnxscript==0.7.2 onnx-ir==1.1.0 ml_dtypes==0.6.0"
    ),
    "litert": (
        "litert-torch==0.10.0 ai-edge-litert==2.3.0 ai-edge-quantizer==0.10.0"
        " litert-converter==0.5.0 jax==0.10.2 jaxlib==0.10.2 jaxtyping==0.3.11 fire==0.7.1"
        " ml_dtypes==0.6.0 opt_einsum==3.4.0 absl-py==2.5.1 multipledispatch==1.0.0"
        " backports.strenum==1.2.8 termcolor==3.3.0 immutabledict==4.3.1"
    ),
}


def interpreter(engine: str) -> Path:
    """The Python that has ``engine``; ExecuTorch's is the one that runs this. Installs it where it
    is not yet.
    """
    if engine not in PACKAGES:
        return Path(sys.executable)
    key = hashlib.sha256(f"{PACKAGES[engine]} {sys.executable}".encode()).hexdigest()[:12]
    place = cache_folder() / f"peer-{engine}-{key}"
    python = place / "bin" / "python"
    if not place.exists():
        making = place.with_name(f"{place.name}.{os.getpid()}")
        shutil.rmtree(making, ignore_errors=True)
        try:
            _make(making, PACKAGES[engine].split())
            making.rename(place)  # under its name only when it is whole
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return python


def _make(place: Path, packages: list[str]) -> None:
    """pip is the running environment's own, pointed at the new one."""
    _run(sys.executable, "-m", "venv", "--without-pip", str(place))
    python = str(place / "bin" / "python")
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    seen = [path for path in sys.path if path.endswith("site-packages")]
    (Path(own.stdout.strip()) / "shared.pth").write_text("\n".join(seen) + "\n", encoding="utf-8")
    _run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        *packages,
    )


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
