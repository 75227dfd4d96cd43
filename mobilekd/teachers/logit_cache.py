"""Teachers' logits computed once per (photograph, view) and kept on disk, found by identity and
never by position.

A cache folder is named by the hash of everything its numbers depend on: the teacher's weights, the
data, the augmentation and preprocessing, the views' seed and version. Change one of them and
another folder is used, so a stale number cannot be read. Each view is one file ``view-003.npz``
with the ids beside the logits, written atomically: a killed process leaves whole views or none.
"""

import fcntl
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.support.arrays import read_arrays
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json, write_bytes, write_json


def cache_key(**depends_on: Any) -> str:
    """Folder name for a cache whose numbers depend on ``depends_on`` (JSON values)."""
    return sha256_json(depends_on)[:32]


class LogitCache:
    """One teacher's logits for views 0..V-1 of a set of photographs."""

    def __init__(self, root: Path, **depends_on: Any) -> None:
        self.folder = root / cache_key(**depends_on)
        self.depends_on = depends_on
        self._views: dict[int, tuple[dict[str, int], np.ndarray]] = {}

    def _file(self, view: int) -> Path:
        return self.folder / f"view-{view:03d}.npz"

    def has(self, view: int, ids: Sequence[str]) -> bool:
        """Whether every photograph of ``ids`` has its logits for ``view``."""
        if view not in self._views and not self._read(view):
            return False
        rows, _ = self._views[view]
        return all(name in rows for name in ids)

    def fill(
        self, view: int, ids: Sequence[str], compute: Callable[[Sequence[str]], np.ndarray]
    ) -> None:
        """Compute and keep what is missing of ``view``; ``compute`` maps ids to logits float32
        ``[N, C]``.

        Processes that want the same view at once (students of a sweep) wait for the one that
        computes it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._fill(view, ids, compute)

    def _fill(
        self, view: int, ids: Sequence[str], compute: Callable[[Sequence[str]], np.ndarray]
    ) -> None:
        known, logits = self._views[view] if self._read(view) else ({}, None)
        missing = [name for name in ids if name not in known]
        if not missing:
            return
        fresh = np.asarray(compute(missing), np.float32)
        if fresh.shape[0] != len(missing) or not np.isfinite(fresh).all():
            raise UserError(
                f"teacher: gave {fresh.shape} logits with NaN or of the wrong count for view"
                f" {view}; train it again"
            )
        names = [*known, *missing]
        table = fresh if logits is None else np.concatenate([logits, fresh])
        buffer = io.BytesIO()
        np.savez(buffer, ids=np.array(names), logits=table)
        write_bytes(self._file(view), buffer.getvalue())
        if not (self.folder / "depends-on.json").exists():
            write_json(self.folder / "depends-on.json", self.depends_on)
        self._views[view] = ({name: row for row, name in enumerate(names)}, table)

    def logits(self, view: int, ids: Sequence[str]) -> np.ndarray:
        """Logits float32 ``[N, C]`` of ``ids`` in their order."""
        if view not in self._views and not self._read(view):
            raise KeyError(f"view {view} was never filled")
        rows, table = self._views[view]
        return table[[rows[name] for name in ids]]

    def _read(self, view: int) -> bool:
        path = self._file(view)
        if not path.exists():
            return False
        names, table = read_arrays(
            path, ("ids", "logits"), "a readable teacher cache", f"remove {self.folder}"
        )
        self._views[view] = ({str(name): row for row, name in enumerate(names)}, table)
        return True
