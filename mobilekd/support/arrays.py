"""Arrays kept in numpy's ``.npz`` files, read so that nothing but a ``UserError`` comes of a broken
one.
"""

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mobilekd.support.errors import UserError
from mobilekd.support.process import printable

#: What numpy and zipfile raise at bytes that are no such file: cut short, packed in a way that
#: Python does not know, encrypted, or of a size that no memory holds.
BROKEN = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    BadZipFile,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    OverflowError,
    SyntaxError,
    TypeError,
    zlib.error,
)


def read_arrays(path: Path, names: tuple[str, ...], what: str, remedy: str) -> list[np.ndarray]:
    """The arrays ``names`` of the file at ``path``; where it is something else, the ``UserError``
    says ``what`` it should be, and the ``remedy``.
    """
    try:
        with np.load(path) as stored:
            return [stored[name] for name in names]
    except BROKEN as error:
        reason = printable(str(error)) or type(error).__name__
        raise UserError(f"{path}: not {what} ({reason}); {remedy}") from None
