"""A file of arrays that is broken in any way is named in one line."""

import struct
from pathlib import Path

import numpy as np
import pytest

from mobilekd.support.arrays import read_arrays
from mobilekd.support.errors import UserError


def ask(path: Path) -> list[np.ndarray]:
    return read_arrays(path, ("a", "b"), "a file of arrays", "make it again")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "kept.npz"
    np.savez(path, a=np.arange(4), b=np.eye(2))
    return path


def test_what_was_kept_is_read(file: Path) -> None:
    a, b = ask(file)
    assert a.tolist() == [0, 1, 2, 3]
    assert np.array_equal(b, np.eye(2))


def with_method(raw: bytes, method: int) -> bytes:
    """Every member said to be packed in another way, in both places where a zip says it."""
    changed = bytearray(raw)
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = changed.find(mark)
        while place >= 0:
            struct.pack_into("<H", changed, place + at, method)
            place = changed.find(mark, place + 1)
    return bytes(changed)


def encrypted(raw: bytes) -> bytes:
    changed = bytearray(raw)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = changed.find(mark)
        while place >= 0:
            changed[place + at] |= 1
            place = changed.find(mark, place + 1)
    return bytes(changed)


@pytest.mark.parametrize(
    "broken",
    [
        lambda raw: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"<html>" + raw[6:],
        lambda raw: with_method(raw, 8),  # deflated, which it is not
        lambda raw: with_method(raw, 97),  # a way that Python does not know
        lambda raw: with_method(raw, 14),  # LZMA
        encrypted,
        lambda raw: raw.replace(b"'shape': (4,)", b"'shape': 4,,)"),
        lambda raw: raw.replace(b"a.npy", b"c.npy"),
    ],
)
def test_what_is_broken_is_named(broken, file: Path) -> None:
    changed = broken(file.read_bytes())
    assert changed != file.read_bytes()
    file.write_bytes(changed)
    with pytest.raises(UserError, match=r"kept\.npz: not a file of arrays \(.+\); make it again"):
        ask(file)


def test_arrays_of_objects_are_not_unpickled(file: Path) -> None:
    np.savez(file, a=np.array([{}], dtype=object), b=np.eye(2))
    with pytest.raises(UserError, match="not a file of arrays"):
        ask(file)
