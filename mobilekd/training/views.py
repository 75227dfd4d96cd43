"""Views: how a photograph is flipped, rotated, zoomed, shifted and recoloured while training.

A view is a pure function of (seed, photograph id, view number): no generator is carried along, so
shuffling, workers, batch size and resuming cannot change it, and student and teacher see the same
pixels, rounded to uint8. Photographs wait decoded at one size, uint8, and are warped in batches:
one affine resampling and one 3 x 3 colour matrix, because augmentation and not decoding is what
costs time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
import torch.nn.functional as F

from mobilekd.formats.data_tables import AugmentTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.training import clinics

#: Raised when the pixels of a view change for the same arguments, so that cached teacher outputs
#: are not used again.
VIEWS_VERSION = 1

_NUMBERS = 10
#: What came later draws from streams of its own, so that older views stay as they are.
_SQUASH, _CLINICS = np.uint64(0x5851F42D4C957F2D), np.uint64(0x14057B7EF767814F)
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_RGB = torch.linalg.inv(_YIQ)


def keys(ids: Sequence[str], seed: int) -> np.ndarray:
    """One uint64 per photograph id, ``[N]``: the identity from which its views are drawn."""
    digests = b"".join(blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest() for name in ids)
    return np.frombuffer(digests, "<u8").copy()


def uniforms(key: np.ndarray, view: int, count: int) -> np.ndarray:
    """Uniform numbers in [0, 1), float32 ``[N, count]``, by counter-based splitmix64 (Steele et al.
    2014).
    """
    with np.errstate(over="ignore"):
        counter = np.uint64(view) * np.uint64(count) + np.arange(1, count + 1, dtype=np.uint64)
        z = key[:, None] + counter[None, :] * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(40)).astype(np.float32)) / np.float32(1 << 24)


@dataclass(frozen=True)
class Views:
    """The family of views that a recipe draws from."""

    augment: AugmentTable
    preprocess: Preprocess

    def draw(self, pictures: torch.Tensor, key: np.ndarray, view: int) -> torch.Tensor:
        """Storage pictures uint8 ``[B, 3, h, w]`` -> the views numbered ``view``, uint8 ``[B, 3, H,
        W]``.
        """
        numbers = torch.from_numpy(uniforms(key, view, _NUMBERS)).to(pictures.device)
        squash = torch.from_numpy(uniforms(key ^ _SQUASH, view, 1)[:, 0]).to(pictures.device)
        grid = self._grid(numbers, squash, pictures.shape[2], pictures.shape[3])
        # channels_last makes the gather of bilinear sampling contiguous over the three colours.
        floats = pictures.to(torch.float32, memory_format=torch.channels_last)
        warped = F.grid_sample(floats, grid, "bilinear", "reflection", align_corners=False)
        matrix, offset = self._colour(numbers)
        batch, _, height, width = warped.shape
        flat = torch.baddbmm(offset, matrix, warped.reshape(batch, 3, height * width))
        drawn = flat.reshape(batch, 3, height, width)
        if clinics.wanted(self.augment):
            own = uniforms(key ^ _CLINICS, view, clinics.NUMBERS)
            drawn = clinics.as_elsewhere(drawn.clamp_(0, 255), own, self.augment)
        return drawn.clamp_(0, 255).round_().to(torch.uint8)

    def normalise(self, inputs: torch.Tensor) -> torch.Tensor:
        """uint8 ``[B, 3, H, W]`` -> what a network takes, float32 in channels_last."""
        mean = torch.tensor(self.preprocess.mean, device=inputs.device).view(1, 3, 1, 1)
        std = torch.tensor(self.preprocess.std, device=inputs.device).view(1, 3, 1, 1)
        floats = inputs.to(torch.float32, memory_format=torch.channels_last)
        return (floats - 255 * mean) / (255 * std)

    def _grid(
        self, numbers: torch.Tensor, squash: torch.Tensor, height: int, width: int
    ) -> torch.Tensor:
        """Sampling grid ``[B, H, W, 2]``: the centre crop of the storage picture, turned, zoomed,
        squashed, shifted, mirrored.
        """
        left, top, right, bottom = self.preprocess.crop_box(width, height)
        signed = 2 * numbers - 1
        angle = signed[:, 0] * math.radians(self.augment.rotation)
        zoom = torch.exp(signed[:, 1] * math.log1p(self.augment.scale))
        mirror_x = torch.where(numbers[:, 2] < 0.5, -1.0, 1.0)
        mirror_y = torch.where(numbers[:, 3] < 0.5, -1.0, 1.0)
        cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
        # In pixels the crop turns rigidly; dividing by the storage size gives grid_sample's -1..1.
        across: float | torch.Tensor = (right - left) / 2
        down: float | torch.Tensor = (bottom - top) / 2
        if self.augment.aspect:
            ratio = torch.exp((squash - 0.5) * math.log1p(self.augment.aspect))
            across, down = across * ratio, down / ratio
        half_width, half_height = width / 2, height / 2
        theta = torch.stack(
            [
                torch.stack(
                    [
                        cosine * mirror_x * across / half_width,
                        -sine * mirror_y * down / half_width,
                        signed[:, 4] * self.augment.translate * across / half_width,
                    ],
                    1,
                ),
                torch.stack(
                    [
                        sine * mirror_x * across / half_height,
                        cosine * mirror_y * down / half_height,
                        signed[:, 5] * self.augment.translate * down / half_height,
                    ],
                    1,
                ),
            ],
            1,
        )
        size = [len(numbers), 3, self.preprocess.height, self.preprocess.width]
        return F.affine_grid(theta, size, align_corners=False)

    def _colour(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Matrix ``[B, 3, 3]`` and offset ``[B, 3, 1]``: hue and saturation in YIQ, then brightness
        and contrast.
        """
        signed = 2 * numbers - 1
        hue = signed[:, 6] * 2 * math.pi * self.augment.hue
        saturation = 1 + signed[:, 7] * self.augment.saturation
        contrast = 1 + signed[:, 8] * self.augment.contrast
        brightness = 1 + signed[:, 9] * self.augment.brightness
        plane = torch.zeros(len(numbers), 3, 3, device=numbers.device)
        plane[:, 0, 0] = 1
        plane[:, 1, 1] = plane[:, 2, 2] = torch.cos(hue) * saturation
        plane[:, 1, 2] = -torch.sin(hue) * saturation
        plane[:, 2, 1] = torch.sin(hue) * saturation
        matrix = _RGB.to(numbers.device) @ plane @ _YIQ.to(numbers.device)
        grey = 127.5 * brightness * (1 - contrast)
        return matrix * (brightness * contrast).view(-1, 1, 1), grey.view(-1, 1, 1).expand(-1, 3, 1)
