"""Headers of ELF files: whether a phone can load a library."""

import struct
from collections.abc import Iterator

#: Bytes of a page on the newest phones.
PAGE = 16384

#: ``e_machine`` of a library for Hexagon, which the phone's own linker never loads, and for arm64.
HEXAGON, ARM64 = 164, 183


def machine(library: bytes) -> int | None:
    """``e_machine`` of a little-endian ELF file; None for what is none."""
    if library[:4] != b"\x7fELF" or library[5:6] != b"\x01" or len(library) < 20:
        return None
    (found,) = struct.unpack_from("<H", library, 18)
    return int(found)


def alignments(library: bytes) -> Iterator[int]:
    """``p_align`` of every LOAD segment of a little-endian 64-bit ELF file."""
    if library[:6] != b"\x7fELF\x02\x01":
        return
    (offset,) = struct.unpack_from("<Q", library, 32)
    size, count = struct.unpack_from("<HH", library, 54)
    for index in range(count):
        at = offset + index * size
        if struct.unpack_from("<I", library, at)[0] == 1:
            yield struct.unpack_from("<Q", library, at + 48)[0]


def unloadable(library: bytes) -> str | None:
    """Why not every phone of its architecture can load it; None where each can."""
    if machine(library) == HEXAGON:
        return None
    least = min(alignments(library), default=0)
    if least >= PAGE:
        return None
    return f"is aligned to {least} bytes, which phones with pages of 16 kB cannot load"
