"""What other clinics' photographs have and one's own lack: hairs, a dermoscope's black rim, blur,
another white balance and gamma, few pixels, JPEG's blocks.

Each is a pure function of pixels and uniform numbers, in coordinates of the view and not in
pixels, so a teacher sees the same hair at its own resolution. They come in the order in which a
camera makes them.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mobilekd.formats.data_tables import AugmentTable

#: Uniform numbers for each photograph, and where each effect's begin.
HAIRS = 12
_HAIR, _RIM, _BLUR, _WHITE, _GAMMA, _FEW, _JPEG = 0, 62, 68, 70, 73, 74, 76
NUMBERS = 78

#: Shares of its own size to which a view is reduced, most to least.
REDUCTIONS = (0.5, 0.4, 0.32, 0.25)

#: Annex K of ITU-T T.81: luminance and chrominance quantisation at quality 50.
_LUMINANCE = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)
_CHROMINANCE = torch.full((8, 8), 99.0)
_CHROMINANCE[:4, :4] = torch.tensor(
    [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]], dtype=torch.float32
)
#: The 8-point DCT-II, orthonormal.
_DCT = torch.tensor(
    [
        [
            math.sqrt((1 if k == 0 else 2) / 8) * math.cos(math.pi * (2 * n + 1) * k / 16)
            for n in range(8)
        ]
        for k in range(8)
    ],
    dtype=torch.float32,
)
#: JFIF's colours: RGB -> Y, Cb, Cr without their offset.
_YCC = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)
_RGB = torch.linalg.inv(_YCC)


def wanted(augment: AugmentTable) -> bool:
    """Whether a recipe asks for any of them."""
    return any(
        (
            augment.hair,
            augment.vignette,
            augment.blur,
            augment.white_balance,
            augment.gamma,
            augment.resolution,
            augment.jpeg,
        )
    )


def as_elsewhere(pixels: Tensor, numbers: np.ndarray, augment: AugmentTable) -> Tensor:
    """Views float32 ``[B, 3, H, W]`` in 0..255 and ``numbers`` ``[B, NUMBERS]`` in [0, 1) -> the
    same views as ``augment`` has them from elsewhere.
    """
    for share, first, effect in (
        (augment.hair, _HAIR, _hair),
        (augment.vignette, _RIM, _rim),
        (augment.blur, _BLUR, _blur),
    ):
        pixels = _some(pixels, numbers, share, first, effect)
    pixels = _white_balance(pixels, numbers, augment.white_balance)
    pixels = _gamma(pixels, numbers, augment.gamma)
    for share, first, effect in (
        (augment.resolution, _FEW, _few_pixels),
        (augment.jpeg, _JPEG, jpeg),
    ):
        pixels = _some(pixels, numbers, share, first, effect)
    return pixels


def _some(
    pixels: Tensor,
    numbers: np.ndarray,
    share: float,
    first: int,
    effect: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """``effect`` on those views whose first number lies below ``share``."""
    if not share:
        return pixels
    chosen = np.flatnonzero(numbers[:, first] < share)
    if not len(chosen):
        return pixels
    rows = torch.from_numpy(chosen).to(pixels.device)
    own = torch.from_numpy(numbers[chosen, first + 1 :]).to(pixels.device)
    return pixels.index_copy(0, rows, effect(pixels[rows], own).contiguous())


def _coordinates(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """x ``[1, 1, W]`` and y ``[1, H, 1]`` from the middle, 1 at half the shorter side."""
    height, width = pixels.shape[2:]
    half = min(height, width) / 2
    x = (torch.arange(width, device=pixels.device) + 0.5 - width / 2) / half
    y = (torch.arange(height, device=pixels.device) + 0.5 - height / 2) / half
    return x.view(1, 1, -1), y.view(1, -1, 1)


def _hair(pixels: Tensor, numbers: Tensor) -> Tensor:
    """Up to ``HAIRS`` dark parabolas, each 0.5 to 2.5% of the view thick."""
    x, y = _coordinates(pixels)
    amount = 1 + (numbers[:, 0] * HAIRS).floor()
    covered = torch.zeros_like(pixels[:, 0])
    for hair in range(HAIRS):
        own = numbers[:, 1 + 5 * hair : 6 + 5 * hair].view(-1, 5, 1, 1).unbind(1)
        angle, shift = own[0] * math.pi, 2 * own[1] - 1
        along = torch.cos(angle) * x + torch.sin(angle) * y
        across = -torch.sin(angle) * x + torch.cos(angle) * y
        bend, start = (2 * own[2] - 1) * 0.8, 2 * own[3] - 1
        away = (across - shift - bend * along * along) / (1 + (2 * bend * along) ** 2).sqrt()
        thick = 0.005 + 0.02 * own[4]
        inside = ((thick - away.abs()) / 0.01 + 0.5).clamp(0, 1)
        inside = inside * ((along - start).abs() < 0.9) * (amount > hair).view(-1, 1, 1)
        covered = torch.maximum(covered, inside)
    dark = (20 + 50 * numbers[:, 0]).view(-1, 1, 1, 1)
    cover = 0.85 * covered[:, None]
    return pixels * (1 - cover) + dark * cover


def _rim(pixels: Tensor, numbers: Tensor) -> Tensor:
    """A round field, 0.8 to 1.2 of half the shorter side, in near black."""
    x, y = _coordinates(pixels)
    radius, left, up, edge, dark = numbers.view(len(numbers), -1, 1, 1)[:, :5].unbind(1)
    distance = ((x - 0.3 * (left - 0.5)) ** 2 + (y - 0.3 * (up - 0.5)) ** 2).sqrt()
    light = ((0.8 + 0.4 * radius - distance) / (0.01 + 0.1 * edge) + 0.5).clamp(0, 1)[:, None]
    return pixels * light + (25 * dark)[:, None] * (1 - light)


def _blur(pixels: Tensor, numbers: Tensor) -> Tensor:
    """Gaussian, 0.3 to 1.5% of the view's height."""
    count, colours, height, width = pixels.shape
    radius = max(1, math.ceil(0.04 * height))
    offsets = torch.arange(-radius, radius + 1, device=pixels.device).float()
    sigma = (0.003 + 0.012 * numbers[:, :1]) * height
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(colours, 0)
    flat = pixels.reshape(1, count * colours, height, width)
    flat = F.pad(flat, (radius, radius, radius, radius), mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=count * colours)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=count * colours)
    return flat.reshape(pixels.shape)


def _white_balance(pixels: Tensor, numbers: np.ndarray, strength: float) -> Tensor:
    if not strength:
        return pixels
    signed = 2 * torch.from_numpy(numbers[:, _WHITE : _WHITE + 3]).to(pixels.device) - 1
    gain = torch.exp(signed * math.log1p(strength))
    # the light stays, its colour changes
    gain = gain / gain.mean(1, keepdim=True)
    return pixels * gain[:, :, None, None]


def _gamma(pixels: Tensor, numbers: np.ndarray, strength: float) -> Tensor:
    if not strength:
        return pixels
    signed = 2 * torch.from_numpy(numbers[:, _GAMMA]).to(pixels.device) - 1
    exponent = torch.exp(signed * math.log1p(strength)).view(-1, 1, 1, 1)
    return 255 * (pixels.clamp(0, 255) / 255) ** exponent


def _few_pixels(pixels: Tensor, numbers: Tensor) -> Tensor:
    """Reduced to one of ``REDUCTIONS`` and enlarged again."""
    height, width = pixels.shape[2:]
    chosen = (numbers[:, 0] * len(REDUCTIONS)).floor().long()
    out = pixels.contiguous().clone()
    for index, share in enumerate(REDUCTIONS):
        here = torch.where(chosen == index)[0]
        small = (max(1, round(share * height)), max(1, round(share * width)))
        if len(here):
            reduced = F.interpolate(out[here], small, mode="bilinear", antialias=True)
            out[here] = F.interpolate(reduced, (height, width), mode="bilinear")
    return out


def jpeg(pixels: Tensor, numbers: Tensor) -> Tensor:
    """Baseline JPEG's losses at quality 20 to 80: colours at half resolution, DCT in blocks of 8,
    coefficients rounded to Annex K's steps by libjpeg's scale.
    """
    device, (height, width) = pixels.device, pixels.shape[2:]
    quality = 20 + 60 * numbers[:, 0]
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50).view(-1, 1, 1, 1)
    padded = F.pad(pixels, (0, -width % 16, 0, -height % 16), mode="replicate")
    ycc = torch.einsum("kc,bchw->bkhw", _YCC.to(device), padded)
    light = _rounded(ycc[:, :1] - 128, _LUMINANCE.to(device) * scale) + 128
    colour = _rounded(F.avg_pool2d(ycc[:, 1:], 2), _CHROMINANCE.to(device) * scale)
    colour = F.interpolate(colour, scale_factor=2, mode="bilinear")
    rgb = torch.einsum("kc,bchw->bkhw", _RGB.to(device), torch.cat([light, colour], 1))
    return rgb[:, :, :height, :width]


def _rounded(planes: Tensor, steps: Tensor) -> Tensor:
    """Planes ``[B, P, H, W]`` through the DCT of their blocks, rounded to ``steps`` ``[B, 1, 8,
    8]``.
    """
    count, number, height, width = planes.shape
    dct, steps = _DCT.to(planes.device), steps.clamp_min(1)[:, :, None, None]
    blocks = planes.reshape(count, number, height // 8, 8, width // 8, 8).transpose(3, 4)
    coefficients = dct @ blocks @ dct.T
    restored = dct.T @ ((coefficients / steps).round() * steps) @ dct
    return restored.transpose(3, 4).reshape(planes.shape)
