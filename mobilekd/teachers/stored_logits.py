"""A teacher of which only its answers are kept: its weights may be too big to share, or not ours to
give.

::

    teacher.json   what ``teach`` wrote about it
    logits.npz     in the weights' place: float16 logits by photograph id, over fixed views and
                   over photographs as they are

Students distil from such a folder like from a trained one (``teachers.N.trained``), as long as they
ask for views that were kept. The file holds what its numbers depend on, as a cache's name does, so
another augmentation is refused.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.formats.teacher import LOGITS, WEIGHTS
from mobilekd.support.arrays import read_arrays
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_bytes


@dataclass(frozen=True, eq=False)
class StoredLogits:
    """One teacher's logits, float ``[V, N, C]`` of N training photographs and ``[M, C]`` of M
    others as they are.
    """

    path: Path
    depends_on: dict[str, Any]  # JSON values; see ``LogitCache``
    train_ids: tuple[str, ...]
    train_views: np.ndarray
    plain_ids: tuple[str, ...]
    plain_logits: np.ndarray

    @property
    def views(self) -> int:
        """Fixed views that were kept, numbered from 0."""
        return len(self.train_views)

    def of_view(self, view: int, ids: Sequence[str]) -> np.ndarray:
        """Logits float32 ``[N, C]`` of ``ids`` under view number ``view``."""
        return self.train_views[view, self._rows(self._train_rows, ids)].astype(np.float32)

    def plain(self, ids: Sequence[str]) -> np.ndarray:
        """Logits ``[N, C]`` of ``ids`` as they are; of training photographs the mean over their
        views, which change no diagnosis.
        """
        if ids and all(name in self._train_rows for name in ids):
            return self.train_views[:, self._rows(self._train_rows, ids)].astype(np.float32).mean(0)
        return self.plain_logits[self._rows(self._plain_rows, ids)].astype(np.float32)

    def check(self, depends_on: dict[str, Any], views: int) -> None:
        """A ``UserError`` where a run's views are not those that were kept; ``views`` 0 stands for
        fresh ones.
        """
        if not views:
            raise UserError(
                f"{self.path}: of this teacher only fixed views are kept, not its weights; set"
                f" train.views to {self.views} or less"
            )
        if views > self.views:
            raise UserError(
                f"{self.path}: {self.views} views are kept and the recipe asks for {views}; set"
                f" train.views to {self.views}"
            )
        other = sorted(key for key in depends_on if depends_on[key] != self.depends_on.get(key))
        if other:
            raise UserError(
                f"{self.path}: kept for another {', '.join(other)} than the recipe's; use the"
                " recipe that it was kept with"
            )

    def write(self) -> None:
        """Write ``path`` whole."""
        buffer = BytesIO()
        np.savez_compressed(
            buffer,
            depends_on=np.array(json.dumps(self.depends_on, sort_keys=True)),
            train_ids=np.array(self.train_ids),
            train_views=self.train_views.astype(np.float16),
            plain_ids=np.array(self.plain_ids),
            plain=self.plain_logits.astype(np.float16),
        )
        write_bytes(self.path, buffer.getvalue())

    @cached_property
    def _train_rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.train_ids)}

    @cached_property
    def _plain_rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.plain_ids)}

    def _rows(self, rows: dict[str, int], ids: Sequence[str]) -> list[int]:
        missing = [name for name in ids if name not in rows]
        if missing:
            raise UserError(
                f"{self.path}: keeps nothing of {len(missing)} photographs"
                f" ({', '.join(missing[:3])}); leave them out, or teach it again"
            )
        return [rows[name] for name in ids]


def read_stored_logits(folder: Path) -> StoredLogits | None:
    """The logits kept in a teacher's folder; None where its weights are there, or neither is."""
    path = folder / LOGITS
    if (folder / WEIGHTS).exists() or not path.exists():
        return None
    what, remedy = "readable logits of a teacher", "copy the file again"
    depends_on, train_ids, train_views, plain_ids, plain = read_arrays(
        path, ("depends_on", "train_ids", "train_views", "plain_ids", "plain"), what, remedy
    )
    try:
        known = json.loads(str(depends_on))
    except ValueError as error:
        raise UserError(f"{path}: not {what} ({error}); {remedy}") from None
    return StoredLogits(
        path, known, tuple(map(str, train_ids)), train_views, tuple(map(str, plain_ids)), plain
    )
