"""What a shared library (ELF) says of itself: the processor that it is for, what it needs and what
it offers. Read from the file alone, which nobody vouches for.

The format is that of the System V ABI (generic part, chapters 4 and 5).
"""

import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"\x7fELF"
#: ``e_machine``, in the words of Android's folders.
MACHINES = {3: "x86", 40: "armeabi-v7a", 62: "x86_64", 183: "arm64-v8a", 243: "riscv64"}
#: ``sh_type`` of the table of symbols that other files may use, and of what a file needs.
DYNAMIC_SYMBOLS, DYNAMIC = 11, 6
#: ``d_tag`` of the name of a library that is needed; the end of the list.
NEEDED, END = 1, 0


@dataclass(frozen=True)
class SharedLibrary:
    """One file."""

    abi: str  # as Android calls it: arm64-v8a
    needs: tuple[str, ...]  # names of libraries
    offers: frozenset[str]  # names of functions and data
    texts: frozenset[str]  # whatever names the linker finds in it, versions of symbols included

    @property
    def android(self) -> bool:
        """Whether it is built for Android's C library; another's does not load it."""
        return "libc.so" in self.needs


def read(path: Path) -> SharedLibrary:
    """Raises ``ValueError`` for what is no shared library, or a damaged one, and ``OSError``."""
    data = path.read_bytes()
    if data[:4] != MAGIC:
        raise ValueError("not a shared library")
    try:
        library = _parsed(data)
    except (struct.error, IndexError, OverflowError, ValueError):
        raise ValueError("a damaged shared library") from None
    return library


def _parsed(data: bytes) -> SharedLibrary:
    machine = struct.unpack_from("<H", data, 18)[0]
    abi = MACHINES.get(machine, f"processor {machine}")
    if data[4:6] != b"\x02\x01":  # 64 bits, least byte first
        return SharedLibrary(abi, (), frozenset(), frozenset())
    start, size, count = (
        struct.unpack_from("<Q", data, 40)[0],
        *struct.unpack_from("<HH", data, 58),
    )
    # of each section: type, place, bytes, and the section that holds its names
    sections = [
        (kind, place, length, link)
        for _, kind, _, _, place, length, link in (
            struct.unpack_from("<IIQQQQI", data, start + number * size) for number in range(count)
        )
    ]
    needs: list[str] = []
    offers: set[str] = set()
    texts: set[str] = set()
    for kind, place, length, link in sections:
        if kind not in (DYNAMIC_SYMBOLS, DYNAMIC):
            continue
        _, at, extent, _ = sections[link]
        names = data[at : at + extent]
        if kind == DYNAMIC_SYMBOLS:
            offers |= _offered(data[place : place + length], names)
            texts |= {text.decode("ascii") for text in names.split(b"\0")}
        else:
            needs += _needed(data[place : place + length], names)
    return SharedLibrary(abi, tuple(needs), frozenset(offers), frozenset(texts))


def _offered(table: bytes, names: bytes) -> set[str]:
    """Symbols that are defined in the file itself (their section is not 0)."""
    return {
        _text(names, name)
        for name, _, _, section, *_ in struct.iter_unpack("<IBBHQQ", table)
        if section
    }


def _needed(table: bytes, names: bytes) -> list[str]:
    found = []
    for tag, value in struct.iter_unpack("<qQ", table):
        if tag == END:
            break
        if tag == NEEDED:
            found.append(_text(names, value))
    return found


def _text(names: bytes, place: int) -> str:
    return names[place : names.index(b"\0", place)].decode("ascii")
