"""A data set in memory: ids, labels, lesions and where the photographs are; no pixels. And how one
is put together.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mobilekd.data.packed import Packed
from mobilekd.formats.labels import Label
from mobilekd.formats.pictures import Policy
from mobilekd.formats.preprocess import open_photograph, photograph_size
from mobilekd.formats.runs import Role
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json
from mobilekd.support.progress import say
from mobilekd.support.words import counted

#: What names the keys of a recipe in notes as the reader's own options; as they are by default.
WORDS: ContextVar[Callable[[str], str]] = ContextVar("words", default=lambda text: text)


#: Where a photograph lies: a file's path as text, because of 100,000 of them a ``Path`` takes four
#: times as much memory, or an entry of a file that holds many.
Place = str | Packed


#: What is said in place of a licence that nobody named, and of people's own photographs.
NOT_STATED = "not stated"
OWN_PHOTOGRAPHS = f"{NOT_STATED}: the user's own photographs"


class Notes(list[str]):
    """What a loader left out, joined or could not match, in the order in which it was said."""

    def add(self, text: str) -> None:
        """Say ``text`` in the words of whoever reads the data, and keep it for the results."""
        text = WORDS.get()(text)
        say(text)
        self.append(text)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Photographs by id, sorted by id, so that the order of rows in a CSV or folder never
    matters.
    """

    kind: str
    ids: tuple[str, ...]
    targets: np.ndarray  # int64 [N], index into classes; -1 = no label
    lesions: tuple[str, ...]
    classes: tuple[Label, ...]
    paths: tuple[Place, ...] | None  # None where photographs are generated
    metadata: dict[str, tuple[Any, ...]]  # age (years), sex, site, how confirmed; None: unknown
    licence: str
    hash: str  # over ids, labels, lesions and file sizes
    # generates photograph i where there are no paths
    draw: Callable[[int], Image.Image] | None = None
    # what was left out, joined or not matched, as it was said
    notes: tuple[str, ...] = ()
    # where the data comes split already: the role of each photograph
    roles: tuple[Role, ...] | None = None
    # where each photograph comes from; "" where that is not known
    origins: tuple[str, ...] = ()
    # by id, what is known of the files that were read (mobilekd.data.known_files.Known)
    known: dict[str, tuple[Any, ...]] = field(default_factory=dict, repr=False)
    # sizes at which a photograph will be asked for: whoever decodes it makes all of them
    policies: list[Policy] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if not self.origins:
            object.__setattr__(self, "origins", ("",) * len(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lesions_known(self) -> bool:
        """Whether an id says of any photograph which lesion it shows; copies are known by their
        pixels.
        """
        names = set(self.ids)
        return any(lesion not in names for lesion in self.lesions)

    def photograph(self, i: int) -> Image.Image:
        """Photograph ``i`` upright in RGB, decoded or generated afresh; ``UserError`` when its file
        is broken.
        """
        if self.paths is not None:
            return open_photograph(*_bytes_of(self.paths[i]))
        if self.draw is None:
            raise ValueError("a data set needs paths or a generator")
        return self.draw(i)

    def size(self, i: int) -> tuple[int, int]:
        """(width, height) in pixels of photograph ``i``, without decoding it."""
        if self.paths is None:
            return self.photograph(i).size
        return photograph_size(*_bytes_of(self.paths[i]))

    def rows(self, ids: Iterable[str]) -> np.ndarray:
        """Positions of ``ids``, int64, in their order; ``UserError`` with the first of those that
        are not here.
        """
        place = {name: i for i, name in enumerate(self.ids)}
        wanted = list(ids)
        if missing := [name for name in wanted if name not in place]:
            raise UserError(
                f"{self.kind}: {some(missing, 'id')} not in the data set; use the split that"
                " belongs to this data"
            )
        return np.array([place[name] for name in wanted], dtype=np.int64)

    def subset(self, rows: Sequence[int] | np.ndarray) -> "Dataset":
        """The photographs at positions ``rows``, in that order, with the same classes and a hash of
        their own.
        """
        kept = [int(i) for i in rows]
        draw = self.draw
        return replace(
            self,
            ids=tuple(self.ids[i] for i in kept),
            targets=self.targets[kept],
            lesions=tuple(self.lesions[i] for i in kept),
            paths=tuple(self.paths[i] for i in kept) if self.paths is not None else None,
            metadata={
                name: tuple(column[i] for i in kept) for name, column in self.metadata.items()
            },
            draw=None if draw is None else lambda n: draw(kept[n]),
            roles=None if self.roles is None else tuple(self.roles[i] for i in kept),
            origins=tuple(self.origins[i] for i in kept),
            hash=sha256_json([self.hash, [self.ids[i] for i in kept]]),
        )

    def counts(self) -> dict[str, int]:
        """Photographs per class key, in class order."""
        return {label.key: int(np.sum(self.targets == i)) for i, label in enumerate(self.classes)}

    def confirmed(self, rows: Iterable[int] | None = None) -> dict[str, dict[str, int]]:
        """Photographs at ``rows`` (None: all) by class key and by how their diagnosis was
        confirmed; "" where that is not known. Empty where the data say it of none.
        """
        column = self.metadata.get("confirmed", (None,) * len(self))
        kept = list(range(len(self)) if rows is None else rows)
        if not any(column[row] for row in kept):
            return {}
        counts = {label.key: Counter[str]() for label in self.classes}
        for row in kept:
            if self.targets[row] >= 0:
                counts[self.classes[self.targets[row]].key][column[row] or ""] += 1
        return {key: dict(sorted(count.items())) for key, count in counts.items()}


def _bytes_of(place: Place) -> tuple[Path, bytes | None]:
    """What to open: a file, or a name and the bytes that go by it."""
    if isinstance(place, str):
        return Path(place), None
    try:
        return Path(place), place.read_bytes()
    except OSError as error:
        raise UserError(f"{place}: not a readable photograph ({error}); fetch it again") from None


def some(names: Sequence[str], what: str) -> str:
    """``3 ids (a, b, c)``: the count and the first names of what is wrong, for a message."""
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{counted(len(names), what)} ({shown})"


def assemble(
    kind: str,
    where: Path,
    *,
    ids: Sequence[str],
    keys: Sequence[str | None],
    lesions: Sequence[str],
    classes: tuple[Label, ...],
    files: Mapping[str, tuple[Place, int]],
    metadata: Mapping[str, Sequence[Any]],
    licence: str,
    notes: Sequence[str] = (),
    roles: Sequence[Role] | None = None,
) -> Dataset:
    """Check what a loader read and sort it by id.

    ``keys`` are class keys (None: no label), ``files`` the photographs found as id -> (path,
    bytes). Every mistake is a ``UserError`` with its count and first names: duplicated id, unknown
    class, label without photograph, photograph without label, empty data set. A class without
    photographs is refused where a split is made: only training needs all.
    """
    index = {label.key: i for i, label in enumerate(classes)}
    _refuse_wrong(where, ids, keys, index, files)
    order = sorted(range(len(ids)), key=lambda i: ids[i])
    sorted_ids = tuple(ids[i] for i in order)
    targets = np.array(
        [-1 if (key := keys[i]) is None else index[key] for i in order], dtype=np.int64
    )
    sorted_lesions = tuple(lesions[i] for i in order)
    told = Notes(notes)
    _tell_strange_lesions(told, where, lesions, keys)
    rows = [
        [sorted_ids[n], keys[i], sorted_lesions[n], files[ids[i]][1]] for n, i in enumerate(order)
    ]
    return Dataset(
        kind=kind,
        ids=sorted_ids,
        targets=targets,
        lesions=sorted_lesions,
        classes=classes,
        paths=tuple(files[name][0] for name in sorted_ids),
        metadata={name: tuple(column[i] for i in order) for name, column in metadata.items()},
        licence=licence,
        notes=tuple(told),
        roles=None if roles is None else tuple(roles[i] for i in order),
        hash=sha256_json([[label.key for label in classes], rows]),
    )


def _refuse_wrong(
    where: Path,
    ids: Sequence[str],
    keys: Sequence[str | None],
    known: Collection[str],
    files: Collection[str],
) -> None:
    """A ``UserError`` with count and first names where labels and photographs do not belong
    together; ``known`` are the keys of the classes, ``files`` the ids of the photographs.
    """
    if twice := sorted(name for name, times in Counter(ids).items() if times > 1):
        raise UserError(
            f"{where}: {some(twice, 'id')} listed more than once; keep one row for each photograph"
        )
    if unknown := sorted({key for key in keys if key is not None and key not in known}):
        named = sorted(name for name, key in zip(ids, keys, strict=True) if key in unknown)
        raise UserError(
            f"{where}: {some(named, 'photograph')} of unknown class"
            f" {', '.join(map(repr, unknown))}; known: {', '.join(known)}"
        )
    if lost := sorted(set(ids) - set(files)):
        raise UserError(
            f"{where}: {some(lost, 'label')} without a photograph; add the files, or leave these"
            " rows out with --allow-missing (data.allow_missing = true)"
        )
    if extra := sorted(set(files) - set(ids)):
        raise UserError(
            f"{where}: {some(extra, 'photograph')} without a label; add the rows, or leave these"
            " photographs out with --allow-missing (data.allow_missing = true)"
        )
    if not ids:
        raise UserError(f"{where}: no photographs; give the folder that holds the data set")


def _tell_strange_lesions(
    told: Notes, where: Path, lesions: Sequence[str], keys: Sequence[str | None]
) -> None:
    """Lesions of more than one class, and one that has most of the photographs, are often mistakes
    in a table.
    """
    labels_of: dict[str, set[str]] = defaultdict(set)
    for lesion, key in zip(lesions, keys, strict=True):
        labels_of[lesion] |= {key} if key is not None else set()
    if mixed := sorted(lesion for lesion, labels in labels_of.items() if len(labels) > 1):
        told.add(
            f"{where}: {some(mixed, 'lesion')} with photographs of more than one class; look"
            " whether each is one lesion"
        )
    lesion, times = Counter(lesions).most_common(1)[0]
    if times > max(2, len(lesions) / 2):
        told.add(
            f"{where}: lesion {lesion} has {times} of {len(lesions)} photographs; look whether it"
            " is one"
        )
