"""The golden set's photographs: drawn, not collected, so that anybody may ship them; awkward, so
that a wrong decoder shows.

Every consumer (Python, the C++ runner, the apps, Swift) preprocesses them with its own code and
must meet the arrays.
"""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mobilekd.formats.colour import ADOBE_RGB, DISPLAY_P3, Space
from mobilekd.formats.preprocess import Preprocess

#: EXIF tag 274: how the camera was held.
_ORIENTATION = 274


def photograph(seed: int, width: int, height: int) -> Image.Image:
    """A lesion-like blot with a ragged border on shaded skin, RGB; the same for the same arguments
    on every machine.
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = (x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5
    skin = np.array([225, 180, 150]) + random.uniform(-25, 15, 3)
    lesion = np.array([110, 65, 45]) + random.uniform(-30, 30, 3)
    shade = 1 - 0.35 * (x * random.uniform(-1, 1) + y * random.uniform(-1, 1))
    centre = random.uniform(-0.12, 0.12, 2)
    angle = np.arctan2(y - centre[1], x - centre[0])
    radius = np.hypot(x - centre[0], y - centre[1])
    border = 0.25 + sum(
        random.uniform(-0.03, 0.03) * np.cos(k * angle + random.uniform(0, 6.3))
        for k in range(1, 7)
    )
    inside = 1 / (1 + np.exp((radius - border) * 40))
    texture = random.normal(0, 4, (height, width))
    pixels = (skin * (1 - inside[..., None]) + lesion * inside[..., None]) * shade[
        ..., None
    ] + texture[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGB")


def _rgb(path: Path, image: Image.Image) -> None:
    image.save(path, quality=92)


def _held(orientation: int) -> Callable[[Path, Image.Image], None]:
    def save(path: Path, image: Image.Image) -> None:
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        image.save(path, quality=92, exif=exif)

    return save


def _grey(path: Path, image: Image.Image) -> None:
    image.convert("L").save(path, quality=92)


def _alpha(path: Path, image: Image.Image) -> None:
    ramp = Image.linear_gradient("L").resize(image.size)
    image.putalpha(ramp)
    image.save(path)


def _palette(path: Path, image: Image.Image) -> None:
    image.quantize(64, dither=Image.Dither.NONE).save(path)


def _profiled(space: Space) -> Callable[[Path, Image.Image], None]:
    """The numbers are said to be of ``space``, as iPhones and cameras do."""

    def save(path: Path, image: Image.Image) -> None:
        image.save(path, quality=92, icc_profile=space.icc())

    return save


def _gamma(path: Path, image: Image.Image) -> None:
    chunks = PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", round(100000 / 1.8)))
    image.save(path, pnginfo=chunks)


def _sixteen_bits(path: Path, image: Image.Image) -> None:
    """16 bits a channel and a profile; Pillow writes no such PNG."""
    levels = np.asarray(image).astype(">u2") * 257

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in levels.astype(">u2"))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"iCCP", b"Display P3\0\0" + zlib.compress(DISPLAY_P3.icc()))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


#: name, width, height, how it is saved. A hyphen in the name: colours are converted, where two
#: decoders may round to neighbouring levels.
_SET: tuple[tuple[str, int, int, Callable[[Path, Image.Image], None]], ...] = (
    ("00.jpg", 600, 450, _rgb),
    ("01.png", 333, 217, _rgb),
    ("02.jpg", 320, 240, _held(6)),
    ("03.jpg", 217, 333, _held(3)),
    ("04.jpg", 241, 160, _held(5)),
    ("05.png", 160, 120, _grey),
    ("06.jpg", 301, 97, _grey),
    ("07.png", 128, 128, _alpha),
    ("08.png", 200, 150, _palette),
    ("09.png", 1, 1, _rgb),
    ("10.png", 3, 2, _rgb),
    ("11.jpg", 64, 500, _rgb),
    ("12-display-p3.jpg", 240, 180, _profiled(DISPLAY_P3)),
    ("13-adobe-rgb.png", 180, 240, _profiled(ADOBE_RGB)),
    ("14-gamma.png", 160, 120, _gamma),
    ("15-sixteen-bits.png", 120, 160, _sixteen_bits),
)


def draw(folder: Path, preprocess: Preprocess) -> tuple[tuple[str, ...], np.ndarray]:
    """Write the photographs into ``folder`` (it exists) -> their names, and what the preprocess
    makes of them: uint8 ``[N, 3, H, W]``.
    """
    for seed, (name, width, height, save) in enumerate(_SET):
        save(folder / name, photograph(seed, width, height))
    names = tuple(name for name, *_ in _SET)
    return names, np.stack([preprocess.load(folder / name).transpose(2, 0, 1) for name in names])
