"""Was this photograph trained on? Salted hashes of a training set's ids, lesions and pixels, short
enough to travel.

ISIC 2019 contains HAM10000, so an evaluation on it must leave shared photographs out. The salt
keeps the list from being a dictionary for other artifacts; it does not hide ids from somebody who
tries them all.
"""

import hashlib
import re
from collections.abc import Collection, Sequence

import numpy as np

from mobilekd.data.dataset import Dataset
from mobilekd.data.decode import photograph_hashes
from mobilekd.data.spellings import DOWNSAMPLED
from mobilekd.formats.artifact import TrainingHashes
from mobilekd.formats.runs import Split

#: 48 bits: among 25,000 photographs against 20,000 hashes a chance match has probability 2e-6.
DIGITS = 12

#: Kinds of data whose names were given by the user, so that they mean nothing elsewhere.
OWN = ("csv", "folder", "unlabelled")

#: Names that the ISIC archive gave, which mean the same photograph wherever they appear.
ARCHIVE = re.compile(r"ISIC_\d{7}")


def overlap_hashes(dataset: Dataset, ids: Sequence[str], salt: str) -> list[str]:
    """Sorted hashes of the photographs ``ids``: their names, lesions and decoded pixels, for an
    artifact to carry.
    """
    called = {_called(name, salt) for name in ids if _is_own(dataset)}
    return sorted({*called, *(value for marks in _marks(dataset, ids, salt) for value in marks)})


def training_hashes(dataset: Dataset, split: Split) -> TrainingHashes:
    """``training_hashes.json``: salt and hashes of all that trained, chose and calibrated."""
    salt = split.hash()
    ids = (*split.train, *split.validation)
    return TrainingHashes(salt=salt, hashes=tuple(overlap_hashes(dataset, ids, salt)))


def overlapping(
    dataset: Dataset, ids: Sequence[str], hashes: Collection[str], salt: str
) -> np.ndarray:
    """bool ``[N]``: which of ``ids`` share a name, a lesion or their pixels with the photographs
    behind ``hashes``.
    """
    seen = frozenset(hashes)
    return np.array(
        [not seen.isdisjoint(marks) for marks in _marks(dataset, ids, salt)], dtype=bool
    )


def called_alike(
    dataset: Dataset, ids: Sequence[str], hashes: Collection[str], salt: str
) -> np.ndarray:
    """bool ``[N]``: which of ``ids``, photographs of one's own, have class and name of one behind
    ``hashes``. That proves nothing, but such a photograph saved again or resized looks so.
    """
    seen = frozenset(hashes)
    return np.array([_called(name, salt) in seen for name in ids], dtype=bool)


def _called(name: str, salt: str) -> str:
    """Hash of a photograph's class and name, wherever the folder of its class lies."""
    return _mark("called", "/".join(name.split("/")[-2:]), salt)


def _is_own(dataset: Dataset) -> bool:
    """Whether photographs of one's own are among them: a data set of several sources has all of
    their kinds.
    """
    return not set(OWN).isdisjoint(dataset.kind.split("+"))


def _mark(what: str, value: str, salt: str) -> str:
    return hashlib.sha256(f"{salt}\0{what}\0{value}".encode()).hexdigest()[:DIGITS]


def _marks(dataset: Dataset, ids: Sequence[str], salt: str) -> list[set[str]]:
    rows = [int(i) for i in dataset.rows(ids)]
    own = frozenset(dataset.ids)
    return [
        {
            _mark("pixels", pixels, salt),
            *(_mark("name", name, salt) for name in _names(dataset, i, own)),
        }
        for i, pixels in zip(rows, photograph_hashes(dataset, ids), strict=True)
    ]


def _names(dataset: Dataset, i: int, own: Collection[str]) -> set[str]:
    """Names under which photograph ``i`` may be met elsewhere: the archive's id and the lesion's.

    A photograph without a known lesion is its own. In folders of one's own, IMG_0001 says nothing
    elsewhere, so there only lesions that a CSV names (not those of copies, which are called like
    one of ``own``) and file names of the ISIC archive count.
    """
    name, lesion = dataset.ids[i], dataset.lesions[i]
    file = name.rpartition("/")[2]
    names = {file} if ARCHIVE.match(file) else set()
    if _is_own(dataset):
        names |= {lesion} if lesion != name and lesion not in own else set()
    else:
        names |= {name, lesion}
    return {text.removesuffix(DOWNSAMPLED) for text in names}
