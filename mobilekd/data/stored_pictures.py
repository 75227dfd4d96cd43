"""Photographs as a model takes them, read from the store as they are asked for."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np

from mobilekd.data.blocks import Found, read_into
from mobilekd.data.dataset import Dataset, some
from mobilekd.data.reading import in_parallel, read, store_for
from mobilekd.formats.pictures import AT_ONCE, LazyPictures, Pictures, Policy
from mobilekd.support.progress import say

#: Photographs that are in no store stay in memory up to this share of it; beyond, each is decoded
#: whenever it is asked for.
HELD_SHARE = 4

#: Numbers of blocks that are none: read from the file whenever it is asked for, and in memory.
LOOSE, HELD = -1, -2


class StoredPictures(LazyPictures):
    """Photographs ``rows`` of a data set, uint8 ``[N, 3, H, W]``, of which a slice or an array of
    rows is read at once.

    Each is compared with its checksum whenever it is read; one that differs is never used: its
    block is removed and the photographs in it are read from their files again.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: np.ndarray,
        policy: Policy,
        found: Sequence[Found | None],
    ) -> None:
        self.dataset, self.policy, self.rows = dataset, policy, rows
        self.shape = (len(rows), 3, policy.height, policy.width)
        self._blocks: list[Path] = []
        self._number: dict[Path, int] = {}
        self._block = np.full(len(rows), LOOSE, np.int32)
        self._slot = np.zeros(len(rows), np.int32)
        self._checksum = np.zeros(len(rows), np.int64)
        self._held = np.empty((0, *self.shape[1:]), np.uint8)
        self._place(np.arange(len(rows)), found)

    dtype = np.dtype(np.uint8)

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), AT_ONCE):
            yield from self[start : start + AT_ONCE]

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, (int, np.integer)):
            return self._gather(np.arange(len(self))[[int(rows)]])[0]
        return self._gather(np.arange(len(self))[rows])

    def _place(self, which: np.ndarray, found: Sequence[Found | None]) -> None:
        """Note where the photographs at positions ``which`` lie."""
        for n, one in zip(which, found, strict=True):
            if one is None:
                self._block[n] = LOOSE
                continue
            if one.block not in self._number:
                self._number[one.block] = len(self._blocks)
                self._blocks.append(one.block)
            self._block[n] = self._number[one.block]
            self._slot[n], self._checksum[n] = one.slot, one.checksum

    def hold(self) -> None:
        """Read into memory what the store has not, where a share of memory holds that."""
        loose = np.flatnonzero(self._block == LOOSE)
        size = len(loose) * self.nbytes // max(1, len(self))
        if not size:
            return
        if size > memory_bytes() // HELD_SHARE:
            say(
                f"photographs: {size / 1e9:.1f} GB of pixels are more than memory should hold, so"
                " each is decoded whenever it is needed"
            )
            return
        self._held = arrays(self.dataset, self.rows[loose], self.policy)
        self._block[loose], self._slot[loose] = HELD, np.arange(len(loose))

    def _gather(self, wanted: np.ndarray) -> np.ndarray:
        out = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        wrong = self._read(wanted, out)
        if len(wrong):
            self._mend(wanted[wrong])
            wrong = wrong[self._read(wanted[wrong], out, wrong)]
        if len(wrong):
            loose = out[wrong]
            self._decode(wanted[wrong], loose)
            out[wrong] = loose
        return out

    def _read(
        self, wanted: np.ndarray, out: np.ndarray, places: np.ndarray | None = None
    ) -> np.ndarray:
        """Read ``wanted`` from the store into ``out`` (at ``places``); positions in ``wanted`` of
        those that are not there, or not as they were written.
        """
        places = np.arange(len(wanted)) if places is None else places
        blocks = self._block[wanted]
        wrong = [np.flatnonzero(blocks == LOOSE)]
        held = np.flatnonzero(blocks == HELD)
        out[places[held]] = self._held[self._slot[wanted[held]]]
        for block in np.unique(blocks[blocks >= 0]):
            members = np.flatnonzero(blocks == block)
            at = wanted[members]
            slots = list(zip(self._slot[at].tolist(), self._checksum[at].tolist(), strict=True))
            bad = read_into(self._blocks[block], slots, [out[places[m]] for m in members])
            wrong.append(members[bad])
        return np.sort(np.concatenate(wrong)).astype(np.int64)

    def _mend(self, damaged: np.ndarray) -> None:
        """Build again the blocks that hold ``damaged``; what cannot be written is left to its
        file.
        """
        damaged = damaged[self._block[damaged] >= 0]
        if not len(damaged):
            return
        names = [self.dataset.ids[int(self.rows[n])] for n in damaged]
        say(
            f"photographs: {some(names, 'photograph')} in the store not as written there, or gone;"
            " read from the files again"
        )
        blocks = np.unique(self._block[damaged])
        again = np.flatnonzero(np.isin(self._block, blocks))
        store = store_for(self.dataset)
        if store is not None:
            store.drop({self._blocks[block] for block in blocks})
        found = read(
            self.dataset, self.rows[again], "reading photographs", [self.policy], hashes=False
        )[0]
        bad = {self._blocks[block] for block in blocks}  # a store that is only read keeps them
        self._place(again, [None if one and one.block in bad else one for one in found])

    def _decode(self, wanted: np.ndarray, out: np.ndarray) -> None:
        """Read ``wanted`` from their files into ``out`` ``[n, 3, H, W]``."""
        policy, dataset = self.policy, self.dataset

        def one(n: int) -> None:
            image = dataset.photograph(int(self.rows[wanted[n]]))
            out[n] = policy.apply(image).transpose(2, 0, 1)

        for _ in self._pool.map(one, range(len(wanted))):
            pass

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=os.cpu_count() or 1)


def pictures_of(dataset: Dataset, rows: np.ndarray, policy: Policy) -> Pictures:
    """Photographs ``rows`` under ``policy``: those of the store read from there, others held in
    memory; where that cannot hold them, each is decoded whenever it is asked for.
    """
    found = read(dataset, rows, "reading photographs", [policy], hashes=False)[0]
    size = len(rows) * 3 * policy.height * policy.width
    if any(one is not None for one in found) or size > memory_bytes() // HELD_SHARE:
        stored = StoredPictures(dataset, rows, policy, found)
        stored.hold()
        return stored
    return arrays(dataset, rows, policy)


def arrays(dataset: Dataset, rows: np.ndarray, policy: Policy) -> np.ndarray:
    """Photographs ``rows`` decoded into memory."""
    out = np.empty((len(rows), 3, policy.height, policy.width), dtype=np.uint8)

    def one(n: int, i: int) -> None:
        out[n] = policy.apply(dataset.photograph(i)).transpose(2, 0, 1)

    in_parallel(dataset, rows, one, "reading photographs")
    return out


def memory_bytes() -> int:
    """This machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
