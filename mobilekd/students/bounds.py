"""What keeps int8's steps small: batch norms that do not amplify noise, and clamps that leave no
room for outliers.

int8 has 255 steps for a tensor's whole range. Hair or a ruler's edge puts values many deviations
out, so most steps would lie where nothing is; clamping while training makes the network do without
them. XNNPACK clamps inside the layer before.
"""

from collections.abc import Sequence
from typing import Any

import torch
from timm.models._efficientnet_blocks import (
    DepthwiseSeparableConv,
    EdgeResidual,
    InvertedResidual,
    UniversalInvertedResidual,
)
from torch import Tensor, nn
from torchvision.models import efficientnet, mobilenetv2, mobilenetv3

#: What batch norms add to variances, as in MobileNet's original code and not PyTorch's 1e-5:
#: dermoscopy varies less than ImageNet, so some channels hardly vary at all, and their noise would
#: be amplified up to ten times more.
NORM_EPS = 1e-3
#: Largest absolute value that leaves a bounded layer: three deviations, as batch norm makes
#: deviations near 1.
BOUND = 3.0
#: The same for pretrained bottlenecks, which never learnt to stay within three.
PRETRAINED_BOUND = 4.0


class BoundedReLU(nn.Hardtanh):
    """ReLU up to BOUND."""

    def __init__(self) -> None:
        super().__init__(0.0, BOUND, inplace=True)  # coremltools takes no int beside a float


class BoundedLinear(nn.Hardtanh):
    """The identity within BOUND."""

    def __init__(self, bound: float = BOUND) -> None:
        super().__init__(-bound, bound, inplace=True)


def bound_bottlenecks(network: nn.Module) -> int:
    """Clamp what timm's blocks hand on; in place. Names in the state dict stay. Returns how many.

    A block adds its input last, so its clamp is a hook behind it.
    """
    blocks = _blocks(network)
    for block in blocks:
        _writer(block).act = BoundedLinear(PRETRAINED_BOUND)
        if block.has_skip:
            block.register_forward_hook(_clamp)
    return len(blocks)


def bound_inverted_residuals(network: nn.Module) -> int:
    """The same for the blocks of other networks: timm's fused and universal inverted residuals
    (MobileNetV4), torchvision's MobileNets and EfficientNets. Returns how many.
    """
    count = 0
    for block in network.modules():
        if isinstance(block, OTHER_BLOCKS):
            norms = [each for each in block.modules() if isinstance(each, nn.BatchNorm2d)]
            norms[-1].register_forward_hook(_clamp)
            if any(getattr(block, name, False) for name in SKIPS):
                block.register_forward_hook(_clamp)
            count += 1
    return count


#: Inverted residuals that end in a batch norm without an activation.
OTHER_BLOCKS = (
    EdgeResidual,
    UniversalInvertedResidual,
    mobilenetv2.InvertedResidual,
    mobilenetv3.InvertedResidual,
    efficientnet.MBConv,
    efficientnet.FusedMBConv,
)
#: What blocks call it that they add their input.
SKIPS = ("has_skip", "use_res_connect")


def scale_bottlenecks(network: nn.Module) -> None:
    """Bring pretrained bottlenecks to deviations of at most 1, so that their bound fits them; in
    place, and no answer changes.

    A bottleneck is linear, so each of its channels can be divided by a number if the layers that
    read it multiply by it. Blocks with a residual share their channels with the block before.
    """
    blocks = _blocks(network)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    ends = [
        end for end in range(1, len(blocks) + 1) if end == len(blocks) or not blocks[end].has_skip
    ]
    with torch.no_grad():
        for start, end in zip([0, *ends], ends, strict=False):
            if blocks[start].has_skip:
                continue  # it adds the stem's output, which an activation has shaped
            chain = blocks[start:end]
            after = convolutions[
                1
                + max(
                    convolutions.index(conv)
                    for conv in chain[-1].modules()
                    if isinstance(conv, nn.Conv2d)
                )
            ]
            size = _sizes([_writer(block) for block in chain])
            for norm in map(_writer, chain):
                norm.weight /= size
                norm.bias /= size
            for conv in (*(block.conv_pw for block in chain[1:]), after):
                conv.weight *= size.view(1, -1, 1, 1)


# Any: torch types a module's attributes as Tensor or Module
def _blocks(network: nn.Module) -> list[Any]:
    return [
        module
        for module in network.modules()
        if isinstance(module, (InvertedResidual, DepthwiseSeparableConv))
    ]


def _writer(block: Any) -> Any:
    """The batch norm behind a block's projection."""
    return block.bn3 if isinstance(block, InvertedResidual) else block.bn2


def _sizes(writers: Sequence[Any]) -> Tensor:
    """Root mean square of each channel, the largest along a chain of residuals, by what the batch
    norms say: ``[C]``.
    """
    variance = mean = torch.zeros(())
    largest = []
    for norm in writers:
        variance, mean = variance + norm.weight**2, mean + norm.bias
        largest.append((variance + mean**2).sqrt())
    return torch.stack(largest).amax(0).clamp_min(1e-3)


def _clamp(block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return nn.functional.hardtanh(output, -PRETRAINED_BOUND, PRETRAINED_BOUND)
