"""How long the program takes to say its first word, beside a bare interpreter and torch's import:
processor time of one run, as ratios, so that a slow or busy machine changes nothing.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def processor_seconds(*words: str) -> float:
    """User and system time of one fresh interpreter."""
    process = subprocess.Popen(
        [sys.executable, "-P", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0  # waited for already
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def yardsticks() -> tuple[float, float]:
    """A bare interpreter, and one that imports torch."""
    return min(processor_seconds("-c", "pass") for _ in range(3)), processor_seconds(
        "-c", "import torch"
    )


@pytest.mark.parametrize(
    ("words", "of_bare", "of_torch"),
    [
        # measured on two cores: 5 and 0.04
        (["--help"], 20, 0.2),
        # 35 to 50 and 0.24: pydantic and the recipes, no torch
        (["export", "--backend", "xnpack"], 120, 0.6),
        (["recipes"], 120, 0.6),
        (["recipes", "losses"], 120, 0.6),
        (["inspect", "nosuch"], 120, 0.6),
        (["verify", "--hashes", "nosuch"], 120, 0.6),
        (["bench", "nosuch", "--device", "adb"], 120, 0.6),
        # 70 and 0.35: it writes a page
        (["report", "reference:ham10000-lesionnet", "--output", "PAGE"], 200, 0.8),
    ],
    ids=["help", "refusal", "recipes", "losses", "inspect", "verify", "bench", "report"],
)
def test_the_first_word_comes_long_before_torch_would_be_loaded(
    yardsticks: tuple[float, float],
    words: list[str],
    of_bare: float,
    of_torch: float,
    tmp_path: Path,
) -> None:
    bare, torch = yardsticks
    words = [str(tmp_path / "page.html") if word == "PAGE" else word for word in words]
    taken = processor_seconds("-m", "mobilekd", *words)
    assert taken < of_bare * bare, f"{taken / bare:.0f} times a bare interpreter"
    assert taken < of_torch * torch, f"{taken / torch:.2f} of importing torch"
