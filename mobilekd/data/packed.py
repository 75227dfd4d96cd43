"""Photographs that lie together in one HDF5 file: a dataset of encoded bytes (JPEG, say) for each,
under its id, as ISIC 2024 has 401,000 of them.

Only the bytes of the photograph that is asked for are read, never the whole file. The extra
``hdf5`` reads it. Each process opens the file for itself: one that was forked closes what it
inherited, because HDF5 does not share an open file over processes.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.support.errors import UserError
from mobilekd.support.words import counted, in_one_line

#: Of a file with more entries their types are not asked for, which takes as long as all the rest:
#: files of another form, with all pixels in one entry, have few.
FEW = 1000

#: Files that this process has open, by path, each with what tells it from a later one there.
_OPEN: dict[Path, tuple[tuple[int, ...], Any]] = {}
_OPENING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Packed:
    """Where one photograph lies: the HDF5 ``file`` and the photograph's ``name`` in it."""

    file: Path
    name: str

    def __fspath__(self) -> str:
        return f"{self.file}/{self.name}"

    def __str__(self) -> str:
        return self.__fspath__()

    def stat(self) -> os.stat_result:
        """The file's: where it changed, any of its photographs may have."""
        return self.file.stat()

    def read_bytes(self) -> bytes:
        """The photograph's encoded bytes; ``OSError`` where they cannot be read."""
        try:
            return np.asarray(_opened(self.file)[self.name][()]).tobytes()
        except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
            raise OSError(in_one_line(error)) from None


def photographs_packed(file: Path) -> tuple[dict[str, tuple[Packed, int]], list[str]]:
    """The photographs of the HDF5 ``file``, none of them read: id -> (place, bytes); and the
    names of what has no bytes there. ``UserError`` where that is no HDF5 file or h5py is absent.
    """
    h5py = _h5py(file)
    found: dict[str, tuple[Packed, int]] = {}
    others: list[str] = []
    try:
        with h5py.File(file, "r") as whole:
            for name in whole:
                if size := _size(h5py, whole, name, closely=len(whole) <= FEW):
                    found[name] = Packed(file, name), size
                else:
                    others.append(name)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; check the path") from None
    except (OSError, RuntimeError, KeyError) as error:
        reason = in_one_line(error)
        raise UserError(
            f"{file}: not a readable HDF5 file ({reason:.160}); fetch it again, whole"
        ) from None
    if not found:
        raise UserError(
            f"{file}: no photograph in it, and {counted(len(others), 'entry')} of something else"
            f" ({', '.join(others[:5])}); each photograph is to be an entry of its encoded bytes,"
            " such as a JPEG's, under its id"
        )
    return found, others


def _size(h5py: Any, whole: Any, name: str, *, closely: bool) -> int:
    """Bytes of an entry; 0 for a group and for one that is empty, and where it is looked at
    ``closely`` for numbers that are no bytes, such as pixels or labels.
    """
    try:
        entry = h5py.h5d.open(whole.id, name.encode())
    except (KeyError, ValueError, TypeError):  # a group, or a link that leads nowhere
        return 0
    if not closely:
        return int(entry.get_storage_size())
    kind = entry.get_type()
    number = kind.get_class() == h5py.h5t.INTEGER and kind.get_size() == 1
    encoded = number or kind.get_class() in (h5py.h5t.OPAQUE, h5py.h5t.STRING, h5py.h5t.VLEN)
    if not encoded or entry.get_space().get_simple_extent_ndims() > 1:
        return 0
    return int(entry.get_storage_size())


def _opened(file: Path) -> Any:
    """The file, opened once; again where another one lies there now."""
    status = file.stat()
    mark = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    known = _OPEN.get(file)
    if known is None or known[0] != mark:
        with _OPENING:
            known = _OPEN.get(file)
            if known is not None and known[0] != mark:
                known[1].close()
                known = None
            if known is None:
                known = _OPEN[file] = (mark, _h5py(file).File(file, "r"))
    return known[1]


def _h5py(file: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise UserError(
            f"{file}: h5py, which reads HDF5, is not installed; pip install 'mobilekd[hdf5]'"
        ) from None
    return h5py


def _close_inherited() -> None:
    """In a forked process: the parent's files stay the parent's."""
    global _OPENING
    _OPENING = threading.Lock()
    inherited = [whole for _, whole in _OPEN.values()]
    _OPEN.clear()
    for whole in inherited:
        whole.close()


os.register_at_fork(after_in_child=_close_inherited)
