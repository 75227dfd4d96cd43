"""How training photographs wait for their views: one size for all, a little above the model's,
with what lies around the model's crop kept, so that a view can turn and shift.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mobilekd.formats.preprocess import Preprocess

#: Photographs wait this much above the model's height, so that a zoomed view stays sharp.
ABOVE = 1.25


@dataclass(frozen=True)
class Storage:
    """Photographs of ``width`` x ``height`` for a model that takes ``model``'s crop of them.

    Most have this aspect ratio. Of a wider one the sides are cut off. A narrower one is scaled so
    that the model's crop of it covers the model's crop of the storage picture, and what is
    missing beside it is its own mirror image; so training sees the very frame that the model is
    asked about, whatever the photograph's shape.
    """

    model: Preprocess
    width: int
    height: int
    #: whether some photograph is narrower than the storage
    narrow: bool = False

    @classmethod
    def for_sizes(cls, model: Preprocess, sizes: list[tuple[int, int]]) -> "Storage":
        """The storage for photographs of these (width, height): their median's aspect, a quarter
        above the model's height, never above the median's own.
        """
        width, height = (int(np.median(side)) for side in zip(*sizes, strict=True))
        stored_width, stored_height = storage_size(model.height, width / height, height)
        aspect = stored_width / stored_height
        # half a pixel of rounding is no other shape
        narrow = any(w * stored_height + 0.5 * h < stored_width * h for w, h in set(sizes))
        frame = Preprocess(width=stored_width, height=stored_height)
        if not narrow or model.width / model.height > aspect:
            return cls(frame, stored_width, stored_height)  # the same for every model
        # models of one shape share it, whatever their size
        common = math.gcd(model.width, model.height)
        crop = Preprocess(width=model.width // common, height=model.height // common)
        return cls(crop, stored_width, stored_height, narrow=True)

    @property
    def frame(self) -> Preprocess:
        """Crop and size as a policy; under it photographs of the usual shape are kept."""
        return Preprocess(width=self.width, height=self.height)

    def to_dict(self) -> dict[str, Any]:
        """JSON form, for the names of caches."""
        return self.frame.to_dict() | ({"narrow": "mirrored"} if self.narrow else {})

    def rule(self) -> dict[str, Any]:
        """What its pixels depend on; of photographs that are all wide, the model's crop is none."""
        if not self.narrow:
            return self.frame.rule()
        return self.frame.rule() | {"around": [self.model.width, self.model.height]}

    def apply(self, image: Image.Image) -> np.ndarray:
        """Upright RGB image -> uint8 ``[height, width, 3]``."""
        if not self.narrow or image.width * self.height + 0.5 * image.height >= (
            self.width * image.height
        ):
            return self.frame.apply(image)
        left, top, right, bottom = self.model.crop_box(*image.size)
        own_left, own_top, own_right, own_bottom = self.model.crop_box(self.width, self.height)
        scale = min(
            (own_right - own_left) / (right - left), (own_bottom - own_top) / (bottom - top)
        )
        # of a very tall photograph what lies above and below the storage is cut off
        kept = min(float(image.height), self.height / scale)
        box = (0.0, (image.height - kept) / 2, float(image.width), (image.height + kept) / 2)
        width = min(self.width, max(1, round(image.width * scale)))
        rows = min(self.height, max(1, round(kept * scale)))
        resized = image.resize((width, rows), Image.Resampling.BILINEAR, box=box)
        before, above = (self.width - width) // 2, (self.height - rows) // 2
        around = (
            (above, self.height - rows - above),
            (before, self.width - width - before),
            (0, 0),
        )
        return np.pad(np.asarray(resized, dtype=np.uint8), around, mode="symmetric")


def storage_size(model_height: int, aspect: float, native_height: int) -> tuple[int, int]:
    """(width, height) at which photographs wait: a quarter above the model's height,
    never above native.
    """
    height = min(native_height, math.ceil(model_height * ABOVE))
    return max(1, round(height * aspect)), height
