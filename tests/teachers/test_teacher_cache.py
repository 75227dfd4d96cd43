"""Cached teacher outputs are found by identity, and a stale one is never used."""

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekd.support.errors import UserError
from mobilekd.teachers.logit_cache import LogitCache, cache_key

names = st.lists(
    st.text("abcdef0123", min_size=1, max_size=6), min_size=1, max_size=20, unique=True
)


def answer(ids: list[str], view: int = 0) -> np.ndarray:
    """A teacher whose logits tell which photograph and view they belong to."""
    return np.array([[hash((name, view)) % 1000, len(name), view] for name in ids], np.float32)


@given(names, st.randoms(), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_any_order_any_batch_any_stretch_finds_its_own(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], random, view: int
) -> None:
    root = tmp_path_factory.mktemp("cache")
    half = ids[: len(ids) // 2]
    LogitCache(root, teacher="a").fill(view, half, lambda wanted: answer(list(wanted), view))
    LogitCache(root, teacher="a").fill(view, ids, lambda wanted: answer(list(wanted), view))
    shuffled = random.sample(ids, random.randint(1, len(ids)))
    again = LogitCache(root, teacher="a")
    assert again.has(view, shuffled)
    assert np.array_equal(again.logits(view, shuffled), answer(shuffled, view))


def test_only_what_is_missing_is_computed(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def compute(wanted):
        asked.append(list(wanted))
        return answer(list(wanted))

    cache = LogitCache(tmp_path, teacher="a")
    cache.fill(0, ["x", "y"], compute)
    cache.fill(0, ["y", "z", "x"], compute)
    cache.fill(0, ["z"], compute)
    assert asked == [["x", "y"], ["z"]]


@pytest.mark.parametrize("change", ["weights", "data", "augment", "seed"])
def test_a_change_of_anything_it_depends_on_is_another_cache(tmp_path: Path, change: str) -> None:
    depends = {"weights": "w", "data": "d", "augment": {"rotation": 10.0}, "seed": 0}
    LogitCache(tmp_path, **depends).fill(0, ["x"], lambda wanted: answer(list(wanted)))
    other = LogitCache(tmp_path, **{**depends, change: "other"})
    assert not other.has(0, ["x"])
    assert cache_key(**depends) == cache_key(**dict(reversed(depends.items())))


def test_a_teacher_that_answers_nan_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    cache = LogitCache(tmp_path, teacher="a")
    with pytest.raises(UserError, match="NaN"):
        cache.fill(0, ["x"], lambda wanted: np.full((1, 3), np.nan))
    assert not cache.has(0, ["x"])
    assert not list(tmp_path.rglob("*.npz"))


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    cache = LogitCache(tmp_path, teacher="a")
    cache.fill(0, ["x"], lambda wanted: answer(list(wanted)))
    file = next(tmp_path.rglob("*.npz"))
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(UserError, match=r"view-000.npz.*remove"):
        LogitCache(tmp_path, teacher="a").has(0, ["x"])


def fill_slowly(root: Path, counted: Path) -> None:
    """A process of its own: fills one view, leaving a mark for each time that it had to compute."""

    def compute(wanted):
        counted.mkdir(exist_ok=True)
        (counted / str(os.getpid())).touch()
        time.sleep(0.5)
        return np.zeros((len(wanted), 3), np.float32)

    LogitCache(root, teacher="a").fill(0, ["x", "y"], compute)


def test_processes_that_want_a_view_at_once_compute_it_once(tmp_path: Path) -> None:
    start = multiprocessing.get_context("spawn")
    processes = [
        start.Process(target=fill_slowly, args=(tmp_path / "cache", tmp_path / "counted"))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list((tmp_path / "counted").iterdir())) == 1
    assert LogitCache(tmp_path / "cache", teacher="a").has(0, ["x", "y"])
