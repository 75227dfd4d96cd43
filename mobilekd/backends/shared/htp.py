"""Qualcomm's host libraries: found on this machine, fitted to what ExecuTorch was built against,
and kept quiet.

The libraries lower a graph for Hexagon and simulate it. They come with the extra ``mobilekd[qnn]``
(the wheel ``onnxruntime-qnn``) or with the user's own SDK, which goes first; their licence lets
people use them and nobody hand them on.

ExecuTorch 1.5 was built against QNN's headers 2.27 (SDK 2.37). In the headers of 2.40 (SDK 2.51) a
device's custom setting has grown: its value lies 8 bytes behind its number, not 4, and the chip of
an older caller is read as 0. So calls of ``deviceCreate`` are answered by a function of ours that
moves the value. It stands in the table of functions that the library hands out, in memory alone, so
no file is changed and nothing is compiled. ``PLATFORM_INFO`` has another layout too, and the
simulator needs none of it, so it is left out. With an SDK of ExecuTorch's own version nothing is
touched.
"""

import ctypes
import functools
import importlib.util
import os
import platform
import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilekd.formats.chip import Chip
from mobilekd.support.errors import CannotRunHere

#: Chips of phones by the name that ``getprop ro.soc.model`` gives: how people call them, and
#: Hexagon's architecture. Source: ExecuTorch's ``qc_schema.py``, which a test compares.
CHIPS = {
    "SM8650": ("Snapdragon 8 Gen 3", 75),
    "SM8350": ("Snapdragon 888", 68),
    "SM8450": ("Snapdragon 8 Gen 1", 69),
    "SM8475": ("Snapdragon 8+ Gen 1", 69),
    "SM8550": ("Snapdragon 8 Gen 2", 73),
    "SM8750": ("Snapdragon 8 Elite", 79),
    "SM8845": ("Snapdragon 8 Gen 5", 81),
    "SM8850": ("Snapdragon 8 Elite Gen 5", 81),
}
#: Hexagon computes in fp16 from this architecture on.
LEAST_FP16 = 69

#: Core API of QNN that ExecuTorch 1.5 was built against, and the first one known to have the other
#: layout of a device's settings. Which of those between have it is not known.
BUILT_FOR, OTHER_LAYOUT = (2, 27), (2, 40)
#: The package of the extra, and the folder of an SDK that holds libraries for this machine.
PACKAGE, HOST = "onnxruntime_qnn", "lib/x86_64-linux-clang"
LIBRARY = "libQnnHtp.so"
REMEDY = "pip install 'mobilekd[qnn]', or name your own SDK's folder in QNN_SDK_ROOT"

_CUSTOM, _HEADER, _DEVICE_CREATE = 0, 40, 40
_BUILD = re.compile(rb"v(\d+\.\d+\.\d+)\.\d{10,}")


@dataclass(frozen=True)
class Libraries:
    """Where they lie and whose they are."""

    folder: Path
    source: str
    version: str  # of QNN, 2.51.0


def find() -> Libraries:
    """The libraries that this machine has; ``CannotRunHere`` with the remedy where there are none.
    Loads nothing.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise CannotRunHere(
            "Qualcomm's host libraries are for Linux on x86-64, and this is"
            f" {platform.system()} on {platform.machine()}; use such a machine or container"
        )
    if root := os.environ.get("QNN_SDK_ROOT"):
        return _at(Path(root).expanduser() / HOST, "QNN_SDK_ROOT")
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CannotRunHere(f"Qualcomm's host libraries are not installed; {REMEDY}")
    return _at(Path(next(iter(spec.submodule_search_locations))), PACKAGE.replace("_", "-"))


def _at(folder: Path, source: str) -> Libraries:
    library = folder / LIBRARY
    if not library.is_file():
        raise CannotRunHere(f"{library}: missing; {REMEDY}")
    return Libraries(folder, source, _version(library))


@functools.cache
def _version(library: Path) -> str:
    """From the library's own build id."""
    with library.open("rb") as file:
        before = b""
        while block := file.read(1 << 24):
            if found := _BUILD.search(before + block):
                return found.group(1).decode()
            before = block[-64:]
    return "unknown"


def known_to_fit(version: str) -> bool:
    """Whether an SDK's version is one of those that :func:`load` can fit to ExecuTorch."""
    number = tuple(int(part) for part in version.split(".")[:2]) if version[0].isdigit() else ()
    return bool(number) and (number <= (2, 37) or number >= (2, 51))


def phone_libraries() -> Path | None:
    """The folder of an SDK's libraries for Android on Arm; None where there is no SDK."""
    root = os.environ.get("QNN_SDK_ROOT")
    folder = Path(root or "").expanduser() / "lib/aarch64-android"
    return folder if root and (folder / LIBRARY).is_file() else None


@functools.cache
def load() -> Libraries:
    """The libraries in this process, fitted to ExecuTorch."""
    libraries = find()
    with quiet("Qualcomm's host libraries"):
        # after torch and ExecuTorch: the libraries bring a C++ runtime of their own, on which the
        # others must not be resolved
        from executorch.backends.qualcomm.python import PyQnnManagerAdaptor  # noqa: F401

        from mobilekd.graphs import pte

        pte.runtime()
        if not os.environ.get("QNN_SDK_ROOT"):
            _pretend_sdk(libraries.folder)
        kept = [
            ctypes.CDLL(str(libraries.folder / name), mode=os.RTLD_NOW | os.RTLD_LOCAL)
            for name in (LIBRARY, "libQnnSystem.so")
        ]
    _fit(kept[0], libraries)
    _KEPT.extend(kept)
    return libraries


#: What must live as long as the process: libraries, and functions that they call.
_KEPT: list[Any] = []


def _pretend_sdk(folder: Path) -> None:
    """ExecuTorch looks for its SDK in ``QNN_SDK_ROOT``, and without one downloads it: here it finds
    a folder whose only content is a link to the libraries.
    """
    root = tempfile.TemporaryDirectory(prefix="mobilekd-qnn-")
    link = Path(root.name) / HOST
    link.parent.mkdir(parents=True)
    link.symlink_to(folder, target_is_directory=True)
    _KEPT.append(root)
    os.environ["QNN_SDK_ROOT"] = root.name


def _fit(library: ctypes.CDLL, libraries: Libraries) -> None:
    """Let ``deviceCreate`` understand what ExecuTorch gives it, where the layouts differ."""
    table, count = ctypes.POINTER(ctypes.c_void_p)(), ctypes.c_uint32()
    library.QnnInterface_getProviders.restype = ctypes.c_uint64
    if library.QnnInterface_getProviders(ctypes.byref(table), ctypes.byref(count)):
        raise CannotRunHere(f"{libraries.folder / LIBRARY}: hands out no functions; {REMEDY}")
    for index in range(count.value):
        provider = table[index]
        api = struct.unpack_from("<2I", ctypes.string_at(provider, _HEADER), 16)
        if api <= BUILT_FOR:
            continue
        if api < OTHER_LAYOUT:
            raise CannotRunHere(
                f"QNN {libraries.version} of {libraries.source}: no version that is known to go"
                " with this ExecuTorch; take SDK 2.37, or 2.51 and newer (pip install"
                " 'mobilekd[qnn]', and unset QNN_SDK_ROOT)"
            )
        slot = ctypes.cast(provider + _HEADER + 8 * _DEVICE_CREATE, ctypes.POINTER(ctypes.c_void_p))
        mended = _DeviceCreate(functools.partial(create_device, _DeviceCreate(slot[0])))
        _KEPT.append(mended)
        slot[0] = ctypes.cast(mended, ctypes.c_void_p).value


_DeviceCreate = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def create_device(create: Any, log: int | None, settings: int | None, device: int | None) -> int:
    """``deviceCreate`` with each custom setting in the newer layout."""
    moved: list[Any] = []
    for address in addresses(settings):
        kind, _, custom = struct.unpack("<IIQ", ctypes.string_at(address, 16))
        if kind == _CUSTOM:
            number, *value = struct.unpack("<3I", ctypes.string_at(custom, 12))
            grown = ctypes.create_string_buffer(struct.pack("<4I", number, 0, *value), 32)
            outer = struct.pack("<IIQ", _CUSTOM, 0, ctypes.addressof(grown))
            moved += [grown, ctypes.create_string_buffer(outer, len(outer))]
    listed = (ctypes.c_void_p * (len(moved) // 2 + 1))(*map(ctypes.addressof, moved[1::2]), None)
    _KEPT.extend([*moved, listed])
    return int(create(log, ctypes.addressof(listed), device))


def addresses(settings: int | None) -> Iterator[int]:
    """C's list of pointers, whose end is a null pointer; none for no list."""
    given = ctypes.cast(settings or 0, ctypes.POINTER(ctypes.c_void_p))
    index = 0
    while given and (address := given[index]):
        yield address
        index += 1


@contextmanager
def quiet(what: str) -> Iterator[None]:
    """Hide what ExecuTorch's Qualcomm path and the libraries print, hundreds of lines on both
    outputs; what goes wrong is told with the last line that names an error.
    """
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as printed:
        try:
            os.dup2(printed.fileno(), 1)
            os.dup2(printed.fileno(), 2)
            yield
        except (RuntimeError, AssertionError) as error:
            printed.seek(0)
            lines = printed.read().decode(errors="replace").splitlines()
            said = [line for line in lines if "[ERROR]" in line or "<E>" in line]
            detail = f" ({said[-1].strip()})" if said else ""
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise RuntimeError(f"{what}: {first}{detail}") from error
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
            logging.disable(before)


def chip(soc: str, version: str) -> Chip:
    """What a manifest says of the chip that a file is for."""
    return Chip(soc=soc, architecture=f"v{CHIPS[soc][1]}", qnn=version)
