"""One definition of how a photograph becomes the model's input, shared by training, export,
evaluation, the apps.

decode (EXIF orientation applied, alpha over white, huge photographs subsampled by 2, 4 or 8 while
decoding) -> centre crop to the model's aspect ratio -> Pillow's antialiased bilinear resize ->
uint8 RGB, height x width x 3. Mean and standard deviation belong to the exported graph, so what
leaves here is 0..255.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image, ImageOps
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from mobilekd.support.errors import UserError

#: Above this many pixels a photograph is subsampled by a power of two while it is decoded (JPEG's
#: own scaling).
HUGE = 12_000_000

#: Width or height in pixels of a model's input; far above what a phone's model takes, far below
#: what exhausts memory unasked.
Side = Annotated[int, Field(ge=1, le=4096)]


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
    # Recipes take 128 / 255. This one stays: photographs wait in memory under it, and caches and
    # kept answers of teachers name it.
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

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


def open_photograph(path: Path) -> Image.Image:
    """Decode a photograph upright as RGB. A missing, broken or truncated file is a ``UserError``
    that names it.
    """
    try:
        with Image.open(path) as image:
            factor = subsampling(*image.size)
            if factor > 1:
                if image.format == "JPEG":
                    image.draft("RGB", (-(-image.width // factor), -(-image.height // factor)))
                else:
                    image = image.reduce(factor)  # type: ignore[assignment]
            image.load()
            return to_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise UserError(f"{path}: no such photograph; check the path") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path}: not a readable photograph ({error}); replace or remove it"
        ) from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> RGB; transparent pixels are laid over white."""
    if image.mode == "RGB":
        return image
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
