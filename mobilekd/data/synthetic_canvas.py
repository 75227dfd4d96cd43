"""A canvas in the lesion's own coordinates: its centre is (0, 0) and its border lies near radius 1,
whatever the view.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Rgb = np.ndarray  # float32 [3], 0..255


@dataclass(frozen=True)
class View:
    """How the dermatoscope was held: where the lesion lies in a square picture of ``side`` pixels,
    how large, how turned.
    """

    side: int
    centre: tuple[float, float]
    scale: float  # pixels per lesion radius
    angle: float  # radians

    @classmethod
    def random(cls, lesion: np.random.Generator, scene: np.random.Generator, side: int) -> "View":
        """A lesion's size and turn, and around them one photograph's: shifted by up to 6%, zoomed
        by up to 12%, turned a little.
        """
        radius, angle = lesion.uniform(0.27, 0.36), lesion.uniform(0, 2 * np.pi)
        x, y = 0.5 + scene.uniform(-0.06, 0.06, 2)
        return cls(
            side,
            (x * side, y * side),
            radius * side * scene.uniform(0.88, 1.12),
            angle + scene.normal(0, 0.25),
        )

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Lesion coordinates ``[N, 2]`` -> pixels ``[N, 2]``."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return points @ np.array([[cos, sin], [-sin, cos]]) * self.scale + self.centre

    def lesion(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (x, y) -> lesion coordinates (u, v); the inverse of :meth:`pixels`."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        x, y = (x - self.centre[0]) / self.scale, (y - self.centre[1]) / self.scale
        return x * cos + y * sin, y * cos - x * sin

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Lesion coordinates (u, v) of every pixel, float32 ``[side, side]`` each."""
        line = np.arange(self.side, dtype=np.float32) + 0.5
        u, v = self.lesion(line[None, :], line[:, None])
        return u.astype(np.float32), v.astype(np.float32)


class Canvas:
    """Paint by masks: every shape becomes a mask float32 ``[side, side]`` in 0..1, blended in with
    a colour.
    """

    def __init__(self, view: View, skin: np.ndarray) -> None:
        """``skin``: float32 ``[side, side, 3]``, 0..255."""
        self.view = view
        self.picture = skin

    def polygon(self, points: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """Filled outline of lesion coordinates ``[N, 2]``; ``blur`` in lesion radii."""
        image, draw = self._blank()
        draw.polygon(self._flat(points), fill=255)
        return self._mask(image, blur)

    def discs(
        self, centres: np.ndarray, radii: np.ndarray, blur: float = 0.0, stretch: float = 1.0
    ) -> np.ndarray:
        """Ellipses around ``centres [N, 2]``, their axes along the picture's; ``stretch`` is height
        over width.
        """
        image, draw = self._blank()
        for (x, y), radius in zip(self.view.pixels(centres), radii * self.view.scale, strict=True):
            draw.ellipse(
                (x - radius, y - radius * stretch, x + radius, y + radius * stretch), fill=255
            )
        return self._mask(image, blur)

    def lines(self, strokes: Iterable[tuple[np.ndarray, float]], blur: float = 0.0) -> np.ndarray:
        """Open curves of (points ``[N, 2]``, width in lesion radii)."""
        image, draw = self._blank()
        for points, width in strokes:
            draw.line(
                self._flat(points),
                fill=255,
                width=max(1, round(width * self.view.scale)),
                joint="curve",
            )
        return self._mask(image, blur)

    def blend(self, mask: np.ndarray, colour: Rgb, opacity: float = 1.0) -> None:
        """Lay ``colour`` over the picture where ``mask`` says."""
        weight = (mask * opacity)[:, :, None]
        self.picture += weight * (colour - self.picture)

    def multiply(self, field: np.ndarray) -> None:
        """Light and shade: every channel times ``field [side, side]``."""
        self.picture *= field[:, :, None]

    def warp(self, rng: np.random.Generator, amount: float, period: float) -> None:
        """Pull the picture about, fixed to the lesion, by about ``amount`` lesion radii: nothing
        grown is exact.
        """
        side, reach = self.view.side, amount * self.view.scale
        line = np.arange(side, dtype=np.float32)
        x = line[None, :] + reach * ripple(rng, self.view, period)
        y = line[:, None] + reach * ripple(rng, self.view, period)
        columns, rows = (np.clip(np.rint(place), 0, side - 1).astype(np.intp) for place in (x, y))
        self.picture = self.picture[rows, columns]

    def photograph(self) -> Image.Image:
        """The finished picture at half the canvas's side."""
        return Image.fromarray(np.clip(self.picture + 0.5, 0, 255).astype(np.uint8)).reduce(2)

    def _blank(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        image = Image.new("L", (self.view.side, self.view.side))
        return image, ImageDraw.Draw(image)

    def _flat(self, points: np.ndarray) -> list[float]:
        return [float(value) for value in self.view.pixels(points).ravel()]

    def _mask(self, image: Image.Image, blur: float) -> np.ndarray:
        if blur:
            image = image.filter(ImageFilter.GaussianBlur(blur * self.view.scale))
        return np.asarray(image, dtype=np.float32) / 255


def ripple(rng: np.random.Generator, view: View | int, period: float, waves: int = 6) -> np.ndarray:
    """Smooth noise of about unit deviation, float32 ``[side, side]``: ``waves`` plane waves of
    about ``period``.

    Fixed to the lesion (``period`` in its radii) for a view, to the picture (``period`` in its
    sides) for a side. Computed at a quarter of the side and enlarged, for it is smooth.
    """
    side = view if isinstance(view, int) else view.side
    coarse = max(8, side // 4)
    line = (np.arange(coarse, dtype=np.float32) + 0.5) / coarse
    if isinstance(view, int):
        u, v = line[None, :], line[:, None]
    else:
        u, v = view.lesion(line[None, :] * side, line[:, None] * side)
    total = np.zeros((coarse, coarse), dtype=np.float32)
    for _ in range(waves):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        k = 2 * np.pi / (period * rng.uniform(0.7, 1.5))
        total += np.cos(k * np.cos(angle) * u + k * np.sin(angle) * v + phase).astype(np.float32)
    total *= np.float32(np.sqrt(2 / waves))
    return np.asarray(Image.fromarray(total).resize((side, side), Image.Resampling.BILINEAR))
