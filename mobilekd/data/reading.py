"""Photographs decoded once: hashed, brought to every size that is asked for, and put into the
store, in parallel; what is known or stored already is not opened again.
"""

import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from mobilekd.data.blocks import Filling, Found, Shelf
from mobilekd.data.dataset import Dataset, some
from mobilekd.data.known_files import Known, keep, recall, stamp
from mobilekd.data.store import Store, let_others, open_store
from mobilekd.formats.pictures import Policy
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_file
from mobilekd.support.progress import track

#: Bytes of pixels that are written at once, over all sizes: what a kill may cost.
PART = 64 << 20

#: Bytes of the hash of a file's bytes.
CONTENT = 32

#: Photographs that are read at once, at least and at most.
FEWEST, MOST = 16, 1024


def store_for(dataset: Dataset) -> Store | None:
    """The store, for photographs that are files: generated ones are generated again."""
    return open_store() if dataset.paths is not None else None


def read(
    dataset: Dataset, rows: np.ndarray, what: str, policies: Sequence[Policy], *, hashes: bool
) -> list[list[Found | None]]:
    """Decode what is not known of the photographs ``rows`` or not in the store under ``policies``;
    where each lies there, by policy, None where it does not. One ``UserError`` names every
    photograph that is broken.

    With ``hashes``, ``dataset.known`` has all of ``rows`` afterwards, store or not.
    """
    store = store_for(dataset)
    reading = _Reading(dataset, rows, store, policies)
    if store is not None:
        recall(store.folder, dataset, reading.stamps)
    todo = reading.todo(hashes=hashes)
    if todo:
        try:
            for _ in track(reading.work(todo, hashes=hashes), what, total=len(todo)):
                pass
        finally:  # what was read counts, though another photograph is broken
            reading.keep()
    if reading.errors:
        names = [dataset.ids[int(rows[n])] for n in sorted(reading.errors)]
        raise UserError(
            f"{some(names, 'unreadable photograph')}; the first:"
            f" {reading.errors[min(reading.errors)]}"
        )
    return reading.places()


def in_parallel(
    dataset: Dataset, rows: np.ndarray, work: Callable[[int, int], None], what: str
) -> None:
    """Call ``work(n, row)`` for each row; broken photographs are gathered, so that the message can
    count them.
    """
    errors: dict[int, str] = {}

    def one(n: int) -> None:
        try:
            work(n, int(rows[n]))
        except UserError as error:
            errors[n] = str(error)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for _ in track(pool.map(one, range(len(rows))), what, total=len(rows)):
            pass
    if errors:
        names = [dataset.ids[int(rows[n])] for n in sorted(errors)]
        raise UserError(f"{some(names, 'unreadable photograph')}; the first: {errors[min(errors)]}")


def pixel_hash_of(image: Image.Image) -> bytes:
    """SHA-256 of a photograph's size and pixels."""
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()


class _Reading:
    """One call of :func:`read`."""

    def __init__(
        self, dataset: Dataset, rows: np.ndarray, store: Store | None, policies: Sequence[Policy]
    ) -> None:
        self.dataset, self.rows, self.store = dataset, rows, store
        self.stamps = {int(i): stamp(dataset, int(i)) for i in rows}
        self.errors: dict[int, str] = {}
        self.policies, self.count = list(policies), len(policies)
        self.shelves: list[Shelf] = []
        self.learnt: list[int] = []
        if store is not None:
            # whoever decodes makes all sizes that will be asked for
            rules = [policy.rule() for policy in policies]
            self.policies += [one for one in dataset.policies if one.rule() not in rules]
            self.shelves = [store.shelf(policy) for policy in self.policies]
        self.asked = self.shelves[: len(policies)]
        for shelf in self.asked:
            shelf.look()

    def known(self, i: int) -> Known | None:
        """What is known of row ``i``, where its file is the same still."""
        known = self.dataset.known.get(self.dataset.ids[i])
        if known is None or known[0] != self.stamps[i] or (not known[0] and self._is_file):
            return None
        return known if isinstance(known, Known) else Known(*known)

    @property
    def _is_file(self) -> bool:
        return self.dataset.paths is not None

    def todo(self, *, hashes: bool) -> list[int]:
        """Positions in ``rows`` of photographs that must be opened."""
        found = []
        for n, i in enumerate(map(int, self.rows)):
            known = self.known(i)
            if known is None:
                wanted = hashes or self.store is not None
            else:
                wanted = self._writes and not self._there(known.content)
            if wanted:
                found.append(n)
        return found

    @property
    def _writes(self) -> bool:
        return self.store is not None and self.store.writable and bool(self.shelves)

    def _there(self, content: bytes) -> bool:
        """Whether every size that was asked for lies in the store."""
        return all(shelf.find(content) is not None for shelf in self.asked)

    def _shelved(self, content: bytes) -> Found | None:
        """The photograph in any size."""
        found = (shelf.find(content) for shelf in self.shelves)
        return next((one for one in found if one is not None), None)

    def places(self) -> list[list[Found | None]]:
        """Where ``rows`` lie in the store, by the policies that were asked for."""
        if self.store is None:
            return [[None] * len(self.rows)] * self.count
        contents = [
            None if (known := self.known(int(i))) is None else known.content for i in self.rows
        ]
        found = [
            [None if content is None else shelf.find(content) for content in contents]
            for shelf in self.asked
        ]
        self.store.use({one.block for part in found for one in part if one is not None})
        return found

    def keep(self) -> None:
        """Remember the files that were read."""
        if self.store is None or not self.store.writable or not self.learnt:
            return
        try:
            with self.store.locked():
                keep(self.store.folder, self.dataset, self.learnt)
        except OSError as error:
            self.store.give_up(error)

    def work(self, todo: list[int], *, hashes: bool) -> Iterator[None]:
        """Read the photographs at positions ``todo``, a part after another; yields once for
        each.
        """
        size = sum(3 * policy.width * policy.height for policy in self.policies) or 1
        step = max(FEWEST, min(MOST, PART // size))

        def plainly(n: int) -> None:
            self._plainly(n, decode=hashes)

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            for start in range(0, len(todo), step):
                part = todo[start : start + step]
                if self._writes and self.store is not None:
                    done = yield from self._store(self.store, pool, part)
                    if done:
                        continue
                    part = [n for n in part if self.known(int(self.rows[n])) is None]
                yield from pool.map(plainly, part)

    def _plainly(self, n: int, *, decode: bool) -> None:
        """Find the photograph at position ``n`` in the store, or decode it for its hash alone."""
        i = int(self.rows[n])
        try:
            content = self._content(i)
            if (found := self._shelved(content)) is not None:
                self._learn(i, content, found.pixels, found.width, found.height)
            elif decode:
                image = self.dataset.photograph(i)
                self._learn(i, content, pixel_hash_of(image), *image.size)
        except UserError as error:
            self.errors[n] = str(error)

    def _content(self, i: int) -> bytes:
        """SHA-256 of row ``i``'s file; empty where nothing is found by it."""
        if self.dataset.paths is None or self.store is None:
            return b""
        if (known := self.known(i)) is not None and known.content:
            return known.content
        try:
            place = self.dataset.paths[i]
            if isinstance(place, str):
                return bytes.fromhex(sha256_file(Path(place)))
            return hashlib.sha256(place.read_bytes()).digest()
        except OSError:
            return b""  # decoding says what is wrong

    def _learn(self, i: int, content: bytes, pixels: bytes, width: int, height: int) -> None:
        """Note what a file holds, which must be the one still whose stamp was taken before."""
        if self._is_file and stamp(self.dataset, i) != self.stamps[i]:
            raise UserError(self._changed(i))
        known = Known(self.stamps[i], content, pixels, width, height)
        self.dataset.known[self.dataset.ids[i]] = known
        if content:
            self.learnt.append(i)

    def _changed(self, i: int) -> str:
        assert self.dataset.paths is not None
        return f"{self.dataset.paths[i]}: changed while it was read; wait until nobody writes it"

    def _store(
        self, store: Store, pool: ThreadPoolExecutor, part: list[int]
    ) -> Generator[None, None, bool]:
        """Bring a part into the store; False where that cannot be written."""
        rows = [int(self.rows[n]) for n in part]
        # what cannot be read has no content: a name of its own, until decoding says why
        contents = [
            content or str(n).encode()
            for n, content in zip(part, pool.map(self._content, rows), strict=True)
        ]
        wrong: dict[bytes, str] = {}
        opened = 0
        try:
            with store.locked():
                for shelf in self.shelves:
                    shelf.look()
                    store.clear_leftovers(shelf)
                todo: dict[bytes, int] = {}
                for i, content in zip(rows, contents, strict=True):
                    if self._shelved(content) is None or not self._there(content):
                        todo.setdefault(content, i)
                if todo:
                    wanted = len(todo) * sum(shelf.size for shelf in self.shelves)
                    if not store.make_room(wanted):
                        raise OSError(0, "its bound is reached, and all in it is needed")
                    with store.filling(self.shelves) as filling:
                        for _ in pool.map(self._decoding(filling, wrong), todo.items()):
                            opened += 1
                            yield
                    for shelf in self.shelves:
                        shelf.look()
        except OSError as error:
            store.give_up(error)
            return False
        let_others()
        for n, i, content in zip(part, rows, contents, strict=True):
            try:
                if content in wrong:
                    raise UserError(wrong[content])
                found = self._shelved(content)
                if found is None:
                    raise UserError(self._changed(i))
                self._learn(i, content, found.pixels, found.width, found.height)
            except UserError as error:
                self.errors[n] = str(error)
        for _ in range(len(part) - opened):
            yield
        return True

    def _decoding(
        self, filling: Filling, wrong: dict[bytes, str]
    ) -> Callable[[tuple[bytes, int]], None]:
        """What decodes a photograph, by content and row, and writes it in every size that its
        shelf has not.
        """

        def one(item: tuple[bytes, int]) -> None:
            content, i = item
            try:
                image = self.dataset.photograph(i)
                if len(content) != CONTENT or stamp(self.dataset, i) != self.stamps[i]:
                    raise UserError(self._changed(i))
            except UserError as error:
                wrong[content] = str(error)
                return
            pixels = pixel_hash_of(image)
            for number, (shelf, policy) in enumerate(zip(self.shelves, self.policies, strict=True)):
                if shelf.find(content) is None:
                    picture = policy.apply(image).transpose(2, 0, 1)
                    filling.put(number, content, pixels, image.size, picture)

        return one
