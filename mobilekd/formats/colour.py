"""One rule for colours: whatever space a photograph's numbers are in, the model sees sRGB.

An ICC profile decides. A PNG without one goes by its chunks sRGB, then gAMA and cHRM, a HEIC or an
AVIF by the code points of its box colr, as Android's decoder does. A photograph without any of them
is sRGB already, and so is one whose profile is broken or is about other channels than the
photograph has: their numbers stay as they are. Brightness beyond an ordinary display's (HDR) is
refused.
"""

import io
import struct
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

#: CIE 1931 x and y.
Chromaticity = tuple[float, float]

#: The white of sRGB, Display P3 and Adobe RGB.
D65: Chromaticity = (0.3127, 0.3290)

#: The white of the space in which ICC profiles meet, as XYZ (ICC.1:2022, 7.2.16).
_D50 = np.array([0.9642, 1.0, 0.8249])

#: Bradford's cone responses, by which ICC profiles adapt one white to another (ICC.1:2022, E.2).
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)

#: A profile that moves no level further than this is sRGB: its numbers stay as they are.
_SAME = 1


@dataclass(frozen=True)
class Space:
    """An RGB space: chromaticities of its primaries and of its white, and its curve: an exponent,
    or None for sRGB's.
    """

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity = D65
    gamma: float | None = None

    def icc(self) -> bytes:
        """The space as an ICC profile, version 4; the same bytes on every machine."""
        white = _xyz(self.white)
        adapted = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white))
        primaries = np.stack([_xyz(self.red), _xyz(self.green), _xyz(self.blue)], 1)
        columns = adapted @ _BRADFORD @ (primaries * np.linalg.solve(primaries, white))
        curve = (
            _parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
            if self.gamma is None
            else _parametric(0, self.gamma)
        )
        words = "mobilekd".encode("utf-16-be")
        text = b"mluc" + struct.pack(">4xII2s2sII", 1, 12, b"en", b"US", len(words), 28) + words
        tags = {b"desc": text, b"cprt": text, b"wtpt": _xyz_type(_D50)}
        for name, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
            tags[name + b"XYZ"] = _xyz_type(column)
            tags[name + b"TRC"] = curve
        table, body = struct.pack(">I", len(tags)), b""
        start = 128 + 4 + 12 * len(tags)
        for name, data in tags.items():
            table += struct.pack(">4sII", name, start + len(body), len(data))
            body += data + bytes(-len(data) % 4)
        header = struct.pack(
            ">I4xI4s4s4s12x4s28x12s48x",
            start + len(body),
            0x04000000,
            b"mntr",
            b"RGB ",
            b"XYZ ",
            b"acsp",
            _xyz_type(_D50)[8:],
        )
        return header + table + body


SRGB = Space((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = Space((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
ADOBE_RGB = Space((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), gamma=563 / 256)
BT2020 = Space((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))

#: Spaces by the code point of their primaries (ITU-T H.273, table 2), which HEIC and AVIF write;
#: those of television before 1990 are within sRGB's reach and count as sRGB.
_PRIMARIES = {9: BT2020, 12: DISPLAY_P3}

#: Exponents by the code point of the transfer (table 3); the others are sRGB's curve, or for
#: photographs stand for it.
_EXPONENTS = {4: 2.2, 5: 2.8, 8: 1.0}

#: Transfers of HDR, for which no rule gives the brightness on an ordinary display.
_HDR = {16: "PQ", 18: "HLG"}

#: The box with the code points lies before the pixels.
_HEAD = 65536


def profile_of(image: Image.Image) -> bytes | None:
    """The ICC profile that says what an opened photograph's numbers mean; None for sRGB.

    A PNG's gamma and chromaticities become one, and so do the code points of HEIC and AVIF; a
    ``ValueError`` where these say HDR. Asked for before the pixels are loaded.
    """
    info = image.info
    if profile := info.get("icc_profile"):
        return bytes(profile)
    if image.format in ("HEIF", "AVIF"):
        return _of_code_points(*_code_points(image))
    if "srgb" in info or image.format != "PNG":
        return None
    gamma, primaries = info.get("gamma"), info.get("chromaticity")
    if not gamma and not primaries:
        return None
    return _png_space(1 / gamma if gamma else None, tuple(primaries) if primaries else None)


def _code_points(image: Image.Image) -> tuple[int, int]:
    """Primaries and transfer that a HEIC or AVIF names (ISO/IEC 23000-22, box colr); 2 and 2, which
    is unspecified, where it names none.
    """
    if named := image.info.get("nclx_profile"):  # pillow-heif has read the box
        return int(named["color_primaries"]), int(named["transfer_characteristics"])
    file = getattr(image, "fp", None)
    if file is None:
        return 2, 2
    file.seek(0)
    _, box, rest = file.read(_HEAD).partition(b"colrnclx")
    return struct.unpack(">HH", rest[:4]) if box and len(rest) >= 4 else (2, 2)


@lru_cache(maxsize=64)
def _of_code_points(primaries: int, transfer: int) -> bytes | None:
    if transfer in _HDR:
        raise ValueError(
            f"HDR ({_HDR[transfer]}), whose brightness an ordinary display does not have; export it"
            " in SDR, for example as JPEG"
        )
    space = replace(_PRIMARIES.get(primaries, SRGB), gamma=_EXPONENTS.get(transfer))
    return None if space == SRGB else space.icc()


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An image of mode RGB, L or CMYK in the space of ``profile`` -> RGB in sRGB. Without a
    profile, or with one that is about other channels, it is only written as RGB.
    """
    if profile is None:
        return image.convert("RGB")
    transform = _transform(profile, image.mode)
    if transform is None and image.mode == "L":  # grey levels of an RGB space
        image = image.convert("RGB")
        transform = _transform(profile, image.mode)
    return image.convert("RGB") if transform is None else transform.apply(image)


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> Any | None:
    """Pillow's transform; None where the numbers stay."""
    from PIL import ImageCms

    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
        )
    except (ImageCms.PyCMSError, OSError):
        return None
    if mode == "CMYK":
        return transform
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "L":
        grid = np.repeat(levels[:, None], 3, 1)[None]
        moved = transform.apply(Image.fromarray(levels[None]))
    else:
        grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
        moved = transform.apply(Image.fromarray(grid))
    apart = np.abs(np.asarray(moved).astype(int) - grid).max()
    return None if apart <= _SAME else transform


@lru_cache(maxsize=64)
def _png_space(gamma: float | None, primaries: tuple[float, ...] | None) -> bytes | None:
    """A PNG's exponent and chromaticities (white, red, green, blue) as a profile. Chromaticities
    that describe no space are left out, and so is an exponent.
    """
    plain = Space(SRGB.red, SRGB.green, SRGB.blue, gamma=gamma)
    spaces = [plain]
    if primaries and len(primaries) == 8:
        white, red, green, blue = zip(primaries[::2], primaries[1::2], strict=True)
        spaces.insert(0, Space(red, green, blue, white, gamma))
    for space in spaces:
        try:
            with np.errstate(divide="raise", invalid="raise", over="raise"):
                return space.icc()
        except (ArithmeticError, np.linalg.LinAlgError, struct.error, ValueError):
            continue
    return None


def _xyz(chromaticity: Chromaticity) -> np.ndarray:
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz_type(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_fixed(float(value)) for value in values)


def _parametric(kind: int, *values: float) -> bytes:
    """A curve of ICC.1:2022, table 68."""
    return b"para" + struct.pack(">4xHxx", kind) + b"".join(map(_fixed, values))
