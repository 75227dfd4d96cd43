"""One definition of how a photograph becomes the model's input, shared by training, export,
evaluation, the apps.

decode (EXIF orientation applied, colours as sRGB, alpha over white, huge photographs subsampled by
2, 4 or 8 while decoding) -> centre crop to the model's aspect ratio -> Pillow's antialiased
bilinear resize -> uint8 RGB, height x width x 3. Mean and standard deviation belong to the exported
graph, so what leaves here is 0..255.
"""

import io
import threading
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from mobilekd.formats.colour import profile_of, to_srgb
from mobilekd.support.errors import UserError
from mobilekd.support.words import in_one_line

#: Above this many pixels a photograph is subsampled by a power of two while it is decoded (JPEG's
#: own scaling).
HUGE = 12_000_000

#: Raise it whenever a photograph is decoded, cropped or resized into other pixels than before:
#: pixels that were kept are then not used again.
READING_VERSION = 2

#: Width or height in pixels of a model's input; far above what a phone's model takes, far below
#: what exhausts memory unasked.
Side = Annotated[int, Field(ge=1, le=4096)]
#: Pixels up to which Pillow decodes any file that asks for it; its own limit, twice 2^28 / 3.
BOMB = 2 * (1024 * 1024 * 1024 // 4 // 3)

#: Pixels beyond which nothing is decoded, whatever its bytes.
LARGEST = 1_000_000_000

#: Pillow's names of the formats in which photographs are kept.
FORMATS = frozenset(
    {"AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF"}
    | {"WEBP"}
)

#: What iPhones write; Pillow reads it by the extra ``heic`` alone.
HEIF = frozenset({".heic", ".heif", ".hif"})

#: How such a file begins, whatever it is called (ISO/IEC 23008-12, annex B).
BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Preprocess:
    """Crop and resize policy with the normalisation that the graph applies to 0..255 values divided
    by 255.
    """

    width: Side = 128
    height: Side = 128
    crop: Literal["center"] = "center"
    resize: Literal["pillow-bilinear"] = "pillow-bilinear"
    color: Literal["RGB"] = "RGB"
    # Recipes take 128 / 255. This one stays: photographs wait under it, and caches and
    # kept answers of teachers name it.
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    def rule(self) -> dict[str, Any]:
        """What its pixels depend on: normalisation comes after them."""
        return {key: value for key, value in asdict(self).items() if key not in ("mean", "std")}

    def crop_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the largest centred box with the model's aspect ratio, in
        whole pixels.
        """
        if width * self.height > height * self.width:
            cropped = max(1, (height * self.width + self.height // 2) // self.height)
            left = (width - cropped) // 2
            return left, 0, left + cropped, height
        cropped = max(1, (width * self.height + self.width // 2) // self.width)
        top = (height - cropped) // 2
        return 0, top, width, top + cropped

    def apply(self, image: Image.Image) -> np.ndarray:
        """Upright RGB image -> uint8 ``[height, width, 3]``."""
        box = self.crop_box(*image.size)
        resized = image.resize((self.width, self.height), Image.Resampling.BILINEAR, box=box)
        return np.asarray(resized, dtype=np.uint8)

    def load(self, path: Path) -> np.ndarray:
        """Photograph file -> uint8 ``[height, width, 3]``."""
        return self.apply(open_photograph(path))


def subsampling(width: int, height: int) -> int:
    """1, 2, 4 or 8: the least power of two that brings a photograph to at most ``HUGE`` pixels."""
    factor = 1
    while factor < 8 and (width // factor) * (height // factor) > HUGE:
        factor *= 2
    return factor


def open_photograph(path: Path, data: bytes | None = None) -> Image.Image:
    """Decode a photograph upright as sRGB, of several frames the first. A missing, broken or
    truncated file is a ``UserError`` that names it. Where ``data`` are its bytes, they are decoded,
    and ``path`` is only its name.

    What a phone makes is read, of 200 million pixels too, JPEG reduced while it is decoded. A
    file too small for the pixels that it claims is refused before they are decoded.
    """
    try:
        with _opened(path, data) as image:
            _refuse_bomb(image, path.stat().st_size if data is None else len(data))
            factor = subsampling(*image.size)
            profile = profile_of(image)
            if isinstance(image, JpegImagePlugin.JpegImageFile):  # MPO of phones is one, too
                if factor > 1:
                    image.draft("RGB", (-(-image.width // factor), -(-image.height // factor)))
                image.load()
                return to_rgb(ImageOps.exif_transpose(image), profile)
            image.load()
            # Reduced in colour: the numbers of a palette, or 16 bits, cannot be averaged.
            upright = ImageOps.exif_transpose(image)
            whole = to_rgb(upright, profile)
            return whole if factor == 1 else whole.reduce(factor)
    except FileNotFoundError:
        raise UserError(f"{path}: no such photograph; check the path") from None
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path}: not a readable photograph ({in_one_line(error)}){_remedy(path, data)}"
        ) from None


def photograph_size(path: Path, data: bytes | None = None) -> tuple[int, int]:
    """(width, height) in pixels of a photograph as :func:`open_photograph` gives it, from the
    header alone; a missing file, or one without a header, is a ``UserError``.
    """
    try:
        with _opened(path, data) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except FileNotFoundError:
        raise UserError(f"{path}: no such photograph; check the path") from None
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path}: not a readable photograph ({in_one_line(error)}){_remedy(path, data)}"
        ) from None
    factor = subsampling(width, height)
    width, height = -(-width // factor), -(-height // factor)
    return (height, width) if turned else (width, height)


@cache
def readable_suffixes() -> frozenset[str]:
    """Suffixes, in lower case, of the photographs that this machine's Pillow decodes; HEIC where
    pillow-heif is installed.
    """
    _register_heif()
    Image.init()
    known = Image.registered_extensions()
    return frozenset(
        suffix for suffix, kind in known.items() if kind in FORMATS and kind in Image.OPEN
    )


def to_rgb(image: Image.Image, profile: bytes | None = None) -> Image.Image:
    """Any Pillow mode -> RGB; transparent pixels are laid over white. With an ICC ``profile`` the
    numbers become sRGB's first.

    Grey levels of more than 8 bits are scaled to 0..255, never cut off. 16-bit integers by their
    full range (65535 is white), as PNG and TIFF define them. Of 32-bit integers and floats no
    file says what is white: it is the least of 255, 65535 and 2^31 - 1, for floats the least of
    1, 255 and 65535, that no pixel exceeds. ``ValueError`` for negative, larger or undefined
    values.
    """
    if image.mode == "RGB":
        return to_srgb(image, profile)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _grey(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        grey = image.mode in ("L", "LA")
        rgba = image.convert("RGBA")
        if profile:
            colours = rgba.getchannel("R") if grey else rgba.convert("RGB")
            alpha = rgba.getchannel("A")
            rgba = to_srgb(colours, profile)
            rgba.putalpha(alpha)
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return to_srgb(image if image.mode in ("L", "CMYK") else image.convert("RGB"), profile)


def _grey(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or floats -> L, or LA where a level is transparent; see
    :func:`to_rgb`.
    """
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all() or (low := values.min(initial=0)) < 0:
        wrong = f"grey levels down to {low:g}" if np.isfinite(values).all() else "NaN or infinity"
        raise ValueError(f"{wrong} in it, which are no brightness")
    high = values.max(initial=0)
    if image.mode.startswith("I;16"):
        white = 65535.0
    else:
        ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0, 2.0**31 - 1)
        white = next((top for top in ranges if high <= top), 0.0)
        if not white:
            raise ValueError(f"grey levels up to {high:g}, of which none is known to be white")
    levels = np.rint(values * (255 / white)).astype(np.uint8)
    grey = Image.fromarray(levels)
    if isinstance(clear := image.info.get("transparency"), int):
        grey.putalpha(Image.fromarray(np.where(values == clear, np.uint8(0), np.uint8(255))))
    return grey


#: Pillow's limit is one setting of the whole process, so it is lifted for one opening at a time.
_LIMIT = threading.Lock()


def _opened(path: Path, data: bytes | None) -> Image.Image:
    """The file's header read, without Pillow's limit: :func:`_refuse_bomb` is ours."""
    if data is None and path.exists() and not path.is_file():
        raise ValueError("a folder, a pipe or a device, not a file")
    if _is_heif(path, data):
        _register_heif()
    with _LIMIT:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return Image.open(path if data is None else io.BytesIO(data))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _refuse_bomb(image: Image.Image, size: int) -> None:
    """Beyond Pillow's own limit (179 million pixels) a photograph needs the bytes of one, and no
    phone makes more than ``LARGEST``.
    """
    pixels = image.width * image.height
    if pixels <= BOMB:
        return
    reduced = isinstance(image, JpegImagePlugin.JpegImageFile)
    least = pixels // (1000 if reduced else 20)
    if pixels > LARGEST or size < least:
        raise Image.DecompressionBombError(
            f"{image.width} x {image.height} pixels in {size:,} bytes; could be a decompression"
            " bomb"
        )


def _register_heif() -> bool:
    """Let Pillow decode HEIC, where pillow-heif is installed (the extra ``heic``)."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    if "HEIF" not in Image.OPEN:
        register_heif_opener()
    return True


def _is_heif(path: Path, data: bytes | None = None) -> bool:
    """By its name, or by its first bytes: phones export HEIC under other names, too."""
    if path.suffix.lower() in HEIF:
        return True
    if data is not None:
        return data[4:8] == b"ftyp" and data[8:12] in BRANDS
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head[4:8] == b"ftyp" and head[8:12] in BRANDS


def _remedy(path: Path, data: bytes | None) -> str:
    if (data is not None or path.is_file()) and _is_heif(path, data) and not _register_heif():
        return "; pip install 'mobilekd[heic]' reads HEIC, or convert it to JPEG"
    return "; replace or remove it"
