"""LesionNet as a student: our own network for XNNPACK on a phone, 0.34 million parameters at
width 1.

Where a small network's time goes, and what follows from it here (``benchmarks/student_design`` has
the measurements):

1. **Patches for a stem.** A 4 x 4 convolution with stride 4 and no padding reads every pixel once.
   MobileNetV2 computes at half resolution first, where channels are few and memory traffic is all;
   we start at a quarter.
2. **Depthwise first, on few channels.** An inverted residual runs its depthwise convolution on the
   expanded channels, six times as many. Here it comes before the expansion (as in ConvNeXt, arXiv
   2201.03545), so most of the time is spent in 1 x 1 convolutions: matrix products, the operator in
   which XNNPACK is fastest, in float and int8 alike.
3. **Late and wide.** A 1 x 1 convolution costs its parameters times its pixels, so parameters are
   cheap where pixels are few: the 4 x 4 grid (of a 128 x 128 photograph) holds more than half of
   them. The last hidden layer comes after pooling, where it is a vector's work.
4. **Clamps and nothing else.** No squeeze-and-excitation (a global mean and two tiny layers per
   block), no hard-swish (not quantised by XNNPACK's quantizer). Channels are multiples of 8, which
   fills the kernels' registers.
5. **Bounded everywhere.** int8 has 255 steps for a tensor's whole range, and hair or a ruler's edge
   puts values many deviations out, so most steps would lie where nothing is. Every tensor that is
   rounded ends in a clamp at BOUND, which XNNPACK runs inside the layer before it, for free: batch
   norm makes deviations near 1, training does the rest.
"""

import math

from torch import Tensor, nn

from mobilekd.students.bounds import NORM_EPS, BoundedLinear, BoundedReLU

#: Hidden channels of a block over its input channels. MobileNetV2 needs 6, because its depthwise
#: works on the hidden ones.
EXPANSION = 2


class Block(nn.Module):
    """3 x 3 depthwise -> 1 x 1 expand -> ReLU -> 1 x 1 project, with a residual where shapes agree.

    Linear after the depthwise and after the projection: a ReLU on few channels destroys what it
    clips (arXiv 1801.04381).
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        hidden = EXPANSION * inputs
        self.conv_dw = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs, eps=NORM_EPS)
        self.bound_dw = BoundedLinear()
        self.conv_pw = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden, eps=NORM_EPS)
        self.act = BoundedReLU()
        self.conv_pwl = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs, eps=NORM_EPS)
        self.bound = BoundedLinear()
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """``[B, inputs, h, w]`` -> ``[B, outputs, h / stride, w / stride]``."""
        y = self.bound_dw(self.bn1(self.conv_dw(x)))
        y = self.act(self.bn2(self.conv_pw(y)))
        y = self.bn3(self.conv_pwl(y))
        return self.bound(x + y if self.residual else y)


class LesionNet(nn.Module):
    """Normalised float ``[B, 3, H, W]`` -> logits ``[B, classes]``. Layer names follow timm's
    MobileNetV3.
    """

    def __init__(
        self, classes: int, width: float = 1.0, dropout: float = 0.0, depth: float = 1.0
    ) -> None:
        super().__init__()

        def channels(count: int) -> int:
            return max(8, 8 * round(count * width / 8))

        def blocks(count: int) -> int:
            return math.ceil(count * depth)  # as the MobileNets round it

        stem, hidden = channels(24), channels(384)
        self.conv_stem = nn.Conv2d(3, stem, 4, stride=4, bias=False)  # [B, 24, H/4, W/4]
        self.bn1 = nn.BatchNorm2d(stem, eps=NORM_EPS)
        self.act1 = BoundedReLU()
        self.blocks = nn.Sequential(
            stage(stem, channels(40), blocks(2)),  # [B, 40, H/8, W/8]
            stage(channels(40), channels(80), blocks(3)),  # [B, 80, H/16, W/16]
            stage(channels(80), channels(144), blocks(3)),  # [B, 144, H/32, W/32]
        )
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.conv_head = nn.Conv2d(channels(144), hidden, 1, bias=False)
        self.norm_head = nn.BatchNorm2d(hidden, eps=NORM_EPS)
        self.act2 = BoundedReLU()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, Block) and module.residual:
                nn.init.zeros_(module.bn3.weight)  # a residual block starts as the identity

    def forward_features(self, x: Tensor) -> Tensor:
        """``[B, 3, H, W]`` -> ``[B, 144, H/32, W/32]``."""
        return self.blocks(self.act1(self.bn1(self.conv_stem(x))))

    def forward_head(self, x: Tensor) -> Tensor:
        """``[B, 144, h, w]`` -> logits ``[B, classes]``."""
        x = self.act2(self.norm_head(self.conv_head(self.global_pool(x))))
        return self.classifier(self.dropout(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes as in the class."""
        return self.forward_head(self.forward_features(x))


def stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """A block that halves the grid and widens, then residual blocks."""
    return nn.Sequential(
        Block(inputs, outputs, stride=2), *(Block(outputs, outputs) for _ in range(blocks - 1))
    )
