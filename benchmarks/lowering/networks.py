"""What the engines are compared on: whole networks, and chains of one operator that show which
kernel a difference comes from.

The chains are the reproducer for what is upstream's: nothing of this project is in them but the
export.
"""

from typing import Any

import numpy as np

#: name: student, width, pixels
NETWORKS = {
    "mobilenetv2-0.35 at 224": ("mobilenetv2", 0.35, 224),
    "mobilenetv2-0.35 at 160": ("mobilenetv2", 0.35, 160),
    "mobilenetv2-1.0 at 224": ("mobilenetv2", 1.0, 224),
    "mobilenetv3-small at 224": ("mobilenetv3_small", 1.0, 224),
}
#: name: convolutions in a row, channels, kernel, stride, groups, pixels; ReLU6 behind each, as in
#: the networks
OPERATORS = {
    "8 pointwise, 96 channels at 28": (8, 96, 1, 1, 1, 28),
    "8 pointwise, 24 channels at 56": (8, 24, 1, 1, 1, 56),
    "8 depthwise 3x3, 96 channels at 28": (8, 96, 3, 1, 96, 28),
    "4 depthwise 3x3 by 2, 96 channels at 112": (4, 96, 3, 2, 96, 112),
    "4 dense 3x3, 64 channels at 28": (4, 64, 3, 1, 1, 28),
}
SMOKE = {
    "mobilenetv2-0.1 at 64": ("mobilenetv2", 0.1, 64),
    "2 pointwise, 8 channels at 14": (2, 8, 1, 1, 1, 14),
}
CALIBRATION = 32


def network(name: str) -> tuple[Any, np.ndarray]:
    """A module with random weights, the same in every process, and float32 ``[CALIBRATION, C, H,
    W]`` to calibrate and to run on.
    """
    import torch

    torch.manual_seed(0)
    shape = {**NETWORKS, **OPERATORS, **SMOKE}[name]
    if len(shape) == 3:
        return _student(*shape), _photographs(shape[2])
    return _chain(*shape), np.random.default_rng(0).normal(
        size=(CALIBRATION, shape[1], shape[5], shape[5])
    ).astype(np.float32)


def _student(model: str, width: float, pixels: int) -> Any:
    """The deployed network with filled batch norms."""
    import torch

    from mobilekd.formats.calibration import Calibration
    from mobilekd.formats.preprocess import Preprocess
    from mobilekd.formats.training_tables import StudentTable
    from mobilekd.students import Deployable, build

    student = build(StudentTable(model=model, width=width), 7)
    with torch.no_grad():
        for _ in range(10):
            student.train()(2 * torch.rand(4, 3, pixels, pixels) - 1)
    return Deployable(student.eval(), Preprocess(width=pixels, height=pixels), Calibration()).eval()


def _photographs(pixels: int) -> np.ndarray:
    """Drawn, not noise, since quantisation ranges depend on them."""
    from mobilekd.formats.golden import photograph

    drawn = [
        np.asarray(photograph(seed, pixels, pixels)).transpose(2, 0, 1)
        for seed in range(CALIBRATION)
    ]
    return np.ascontiguousarray(np.stack(drawn), np.float32)


def _chain(count: int, channels: int, kernel: int, stride: int, groups: int, pixels: int) -> Any:
    from torch import nn

    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [
            nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=groups),
            nn.ReLU6(),
        ]
    return nn.Sequential(*layers).eval()
