"""LiteRT's converter: it asks for a torch below ours, and converts rightly with ours all the same,
so it lives in an environment of its own, which the first conversion makes.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from mobilekd.support import own_environment
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say

#: What were tried together.
PACKAGES = (
    "litert-torch==0.10.0",
    "ai-edge-litert==2.3.0",
    "ai-edge-quantizer==0.10.0",
    "litert-converter==0.5.0",
    "jax==0.10.2",
    "jaxlib==0.10.2",
    "jaxtyping==0.3.11",
    "fire==0.7.1",
    "ml_dtypes==0.6.0",
    "opt_einsum==3.4.0",
    "absl-py==2.5.1",
    "multipledispatch==1.0.0",
    "backports.strenum==1.2.8",
    "termcolor==3.3.0",
    "immutabledict==4.3.1",
)
SIZE = "0.75 GB"
WORKER = Path(__file__).with_name("litert_worker.py")
#: Seconds for one conversion.
LONGEST = 1800
#: The last line of a traceback; the converter's compiler says much besides.
ERROR = re.compile(r"[\w.]+(Error|Exception)\b")


def environment() -> Path:
    """The Python that has the converter; made where it is not yet."""
    return own_environment.interpreter("litert-converter", PACKAGES, size=SIZE)


def convert(program: Any, file: Path, precision: str) -> None:
    """Write ``file`` from an ``ExportedProgram`` with example inputs; ``int8`` where PT2E has
    quantised it, else ``fp32``.

    Raises:
        UserError: where the converter refuses the network, with its reason.
    """
    import torch

    python = environment()
    with tempfile.TemporaryDirectory() as work:
        saved = Path(work) / "program.pt2"
        torch.export.save(program, saved)
        say("export: LiteRT's converter is at work in its own environment")
        try:
            done = subprocess.run(
                [python, "-P", WORKER, saved, file.absolute(), precision],
                cwd=work,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LONGEST,
            )
        except subprocess.TimeoutExpired:
            raise UserError(
                f"--backend litert: the converter gave no file within {LONGEST // 60} minutes;"
                " choose a smaller student"
            ) from None
    if done.returncode or not file.is_file():
        said = [line for line in done.stderr.strip().splitlines() if ERROR.match(line)]
        reason = (said or [f"it ended with code {done.returncode}"])[-1]
        raise UserError(
            f"--backend litert: the converter refuses this student ({reason}); choose another"
            " student, or --backend xnnpack"
        )
