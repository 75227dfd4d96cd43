"""Predictions, metrics and their bootstrap take a bounded number of bytes for each photograph, so
that 400,000 of them fit into 2 GB (``benchmarks/many_photographs.py`` measures that).
"""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobilekd import metrics as package
from mobilekd.formats.labels import Label
from mobilekd.metrics import metrics
from mobilekd.metrics.predictions import Predictions, read_predictions, write_predictions
from mobilekd.metrics.shapes import subgroups

KEYS = ("mel", "nv", "bcc", "ak", "bkl", "df", "vasc", "scc")


def drawn(count: int) -> Predictions:
    random = np.random.default_rng(0)
    answers = random.dirichlet(np.ones(len(KEYS)), count)
    return Predictions(
        KEYS,
        tuple(f"ISIC_{row:07d}" for row in range(count)),
        tuple(f"IL_{row * 3 // 4:07d}" for row in range(count)),
        np.arange(count) % len(KEYS),
        answers,
    )


def peak(work: Callable[[], object]) -> int:
    """Bytes that Python and numpy hold at most while ``work`` runs."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", ["write", "read", "metrics", "sub-groups"])
def test_memory_for_each_photograph_is_bounded(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "BLOCK", 4_000)

    def work(count: int) -> Callable[[], object]:
        answers, file = drawn(count), tmp_path / f"{count}.csv"
        if what in ("write", "read"):
            write_predictions(file, answers)
        column = [("torso", "leg")[row % 2] for row in range(count)]
        labels = [Label(key=key, text=key) for key in KEYS]
        given = answers.truth, answers.probabilities, answers.lesions
        return {
            "write": lambda: write_predictions(file, answers),
            "read": lambda: read_predictions(file),
            "metrics": lambda: metrics(*given, labels, draws=3),
            "sub-groups": lambda: subgroups(answers, {"site": column}),
        }[what]

    few, many = 500, 2_000
    a, b = peak(work(few)), peak(work(many))
    assert (b - a) / (many - few) < 1_200, f"{a} and {b} bytes"


def test_memory_does_not_grow_with_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "BLOCK", 2_000)
    answers = drawn(1_000)
    given = answers.truth, answers.probabilities, answers.lesions, KEYS
    metrics(*given, draws=2)
    few, many = (peak(lambda draws=draws: metrics(*given, draws=draws)) for draws in (4, 64))
    # one number of a draw is kept for each metric; all weights would be 60 x 1000 numbers
    assert many - few < 60 * 1_000 * 8 / 2


def test_a_long_name_makes_no_room_for_all() -> None:
    answers = drawn(4_000)
    lesions = ("x" * 10_000, *answers.lesions[1:])
    work = package.lesion_weights(answers.truth, lesions, 1)
    assert peak(lambda: next(work)) < 4_000 * 1_200
