"""Inputs on which rounding can be judged."""

import numpy as np
import torch
from torch.nn.functional import interpolate


def smooth_photographs(cells: int, pixels: int, count: int = 48) -> np.ndarray:
    """uint8 ``[count, 3, pixels, pixels]``: ``cells`` x ``cells`` random colours, blended as a photograph's neighbours are."""
    small = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, cells, cells), np.uint8)).float()
    return interpolate(small, size=pixels, mode="bicubic").clamp(0, 255).round().byte().numpy()
