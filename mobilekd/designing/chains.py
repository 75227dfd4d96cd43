"""Little networks that operators are measured in: one operator many times in a row.

An operator alone cannot be timed, since a file has an input, an output and a runtime's overhead
besides. Each chain is a whole network of a few kinds of operators, so a sum of costs explains its
time, and all chains together tell the kinds apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from mobilekd.students.bounds import BoundedLinear, BoundedReLU


class Chain(nn.Module):
    """Normalised float ``[1, 3, H, W]`` -> a stem, the same operator again and again, and a
    classifier of pooled channels.
    """

    def __init__(self, stem: nn.Module, links: nn.Module, channels: int) -> None:
        super().__init__()
        self.stem, self.links = stem, links
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, 7)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[1, 7]``."""
        return self.classifier(self.pool(self.links(self.stem(x))).flatten(1))


class Adding(nn.Module):
    """A layer with its input added and clamped, as a residual block ends."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.bound = layer, BoundedLinear()

    def forward(self, x: Tensor) -> Tensor:
        """``[1, C, h, w]`` -> the same shape."""
        return self.bound(x + self.layer(x))


def patches(channels: int) -> nn.Module:
    """A 4 x 4 convolution with stride 4."""
    return _layer(nn.Conv2d(3, channels, 4, 4, bias=False))


def halving(channels: int) -> nn.Module:
    """A 3 x 3 convolution with stride 2."""
    return _layer(nn.Conv2d(3, channels, 3, 2, 1, bias=False))


def depthwise(channels: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    """A depthwise convolution."""
    return _layer(
        nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    )


def residual(channels: int) -> nn.Module:
    """A depthwise convolution with its input added."""
    return Adding(depthwise(channels))


def _layer(layer: nn.Conv2d) -> nn.Module:
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels), BoundedReLU())


def _pointwise(inputs: int, outputs: int) -> nn.Module:
    return _layer(nn.Conv2d(inputs, outputs, 1, bias=False))


@dataclass(frozen=True)
class Plan:
    """A chain that is to be measured: its name, the picture's side in pixels, and how it is
    made.
    """

    name: str
    side: int
    make: Callable[[], nn.Module]


def _stem(name: str, make: Callable[[int], nn.Module], channels: int, side: int) -> Plan:
    return Plan(
        f"{name} onto {channels} channels of {side}",
        side,
        lambda: Chain(make(channels), nn.Identity(), channels),
    )


def _repeated(
    name: str, channels: int, grid: int, count: int, link: Callable[[int], nn.Module]
) -> Plan:
    """``count`` links behind a stem of patches, on a grid of ``grid`` x ``grid``."""
    return Plan(
        f"{count} {name}, {channels} channels at {grid}",
        4 * grid,
        lambda: Chain(
            patches(channels), nn.Sequential(*(link(channels) for _ in range(count))), channels
        ),
    )


def _products(channels: int, factor: int, grid: int, count: int) -> Plan:
    def link(channels: int) -> nn.Module:
        hidden = factor * channels
        return nn.Sequential(_pointwise(channels, hidden), _pointwise(hidden, channels))

    return _repeated(f"pointwise by {factor} and back", channels, grid, count, link)


#: Sizes as the families' networks have them at 64 to 256 pixels.
PLANS = (
    *(_stem("patches", patches, channels, side) for channels, side in ((16, 64), (24, 128))),
    *(_stem("patches", patches, channels, side) for channels, side in ((40, 128), (24, 256))),
    *(_stem("3 x 3 by 2", halving, channels, side) for channels, side in ((16, 64), (8, 128))),
    *(_stem("3 x 3 by 2", halving, channels, side) for channels, side in ((16, 192), (32, 128))),
    *(
        _products(*one)
        for one in (
            (16, 2, 32, 3), (32, 2, 32, 2), (8, 6, 32, 2), (40, 2, 16, 3), (24, 6, 16, 2),
            (80, 2, 8, 3), (56, 6, 8, 2), (144, 2, 4, 3), (96, 6, 4, 2), (288, 2, 4, 2),
            (320, 2, 1, 3),
        )
    ),
    *(
        _repeated("depthwise 3 x 3", channels, grid, 6, depthwise)
        for channels, grid in ((24, 32), (96, 32), (48, 16), (192, 16), (80, 8), (384, 8), (160, 4))
    ),
    *(
        _repeated("depthwise 5 x 5", channels, grid, 4, partial(depthwise, kernel=5))
        for channels, grid in ((96, 16), (160, 8))
    ),
    *(
        _repeated("depthwise 3 x 3 by 2", channels, grid, 2, partial(depthwise, stride=2))
        for channels, grid in ((48, 64), (96, 32), (192, 16))
    ),
    *(
        _repeated("residual depthwise", channels, grid, 4, residual)
        for channels, grid in ((24, 32), (80, 16), (144, 8))
    ),
)  # fmt: skip
