"""Libraries of nobody, with the headers of Qualcomm's."""

import struct
from pathlib import Path

from mobilekd.android.elf import ARM64, HEXAGON, PAGE


def library(machine: int, align: int = PAGE) -> bytes:
    """A little-endian 64-bit ELF file with one LOAD segment; for Hexagon one of 32 bits without
    any.
    """
    if machine == HEXAGON:
        return b"\x7fELF\x01\x01" + bytes(10) + struct.pack("<HH", 3, machine) + bytes(32)
    head = b"\x7fELF\x02\x01" + bytes(10) + struct.pack("<HH", 3, machine) + bytes(12)
    head += struct.pack("<Q", 64) + bytes(14) + struct.pack("<HH", 56, 1) + bytes(6)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0, 0, align)


def qualcomm(folder: Path) -> Path:
    """``folder`` with a library for the phone's CPU and one for Hexagon."""
    folder.mkdir()
    (folder / "libQnnHtp.so").write_bytes(library(ARM64))
    (folder / "libQnnHtpV75Skel.so").write_bytes(library(HEXAGON))
    return folder
