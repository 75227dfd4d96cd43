"""MobileNets as students, adapted for the phone by named edits of their description.

A network is a :class:`Spec`: stage strings in timm's notation (``ir_r2_k3_s2_e6_c24`` is two
inverted residuals, kernel 3, stride 2, expansion 6, 24 channels), a width, a depth, a head size and
two activations. An adaptation edits the description before anything is built, so no surgery is done
on modules and the state dict keeps timm's own names. Convolutions pad symmetrically: XNNPACK fuses
that into the convolution, TensorFlow's 'same' becomes a pad operator.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from torch import Tensor, nn

from mobilekd.students.bounds import NORM_EPS, bound_bottlenecks
from mobilekd.support.errors import UserError
from mobilekd.support.words import unknown


class Relu6Gate(nn.Module):
    """Hard sigmoid spelt ``relu6(x + 3) / 6``: the same function in operators that XNNPACK
    delegates and quantises.
    """

    def __init__(self, inplace: bool = False) -> None:  # timm passes inplace to every activation
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise, any shape."""
        return torch.clamp(x + 3.0, 0.0, 6.0) * (1 / 6)


@dataclass(frozen=True)
class Spec:
    """A MobileNet before it is built. ``hub`` maps a width to the timm model whose pretrained
    weights have it.
    """

    title: str
    network: type[EfficientNet] | type[MobileNetV3]
    stages: tuple[tuple[str, ...], ...]
    stem: int
    features: int
    activation: type[nn.Module]
    hub: MappingProxyType[float, str]
    gate: str | type[nn.Module] = "hard_sigmoid"
    width: float = 1.0
    depth: float = 1.0
    bounded: bool = False

    def build(self, classes: int, dropout: float) -> nn.Module:
        """Normalised float ``[B, 3, H, W]`` -> logits ``[B, classes]``."""
        channels = partial(round_channels, multiplier=self.width)
        options: dict[str, Any] = {}
        # V3 keeps its stem in narrow variants, as timm and the paper's authors do
        if self.network is MobileNetV3:
            options["fix_stem"] = self.width < 0.75
        network = self.network(
            decode_arch_def([list(stage) for stage in self.stages], depth_multiplier=self.depth),
            num_classes=classes,
            num_features=self.features,
            stem_size=self.stem,
            round_chs_fn=channels,
            norm_layer=partial(nn.BatchNorm2d, eps=NORM_EPS),
            act_layer=self.activation,
            se_layer=partial(
                SqueezeExcite,
                gate_layer=self.gate,
                force_act_layer=nn.ReLU,
                rd_round_fn=round_channels,
            ),
            drop_rate=dropout,
            pad_type="",
            **options,
        )
        if self.bounded:
            bound_bottlenecks(network)
        return network


#: arXiv 1801.04381, table 2
MOBILENET_V2 = Spec(
    title="MobileNetV2",
    network=EfficientNet,
    stages=(
        ("ds_r1_k3_s1_c16",),
        ("ir_r2_k3_s2_e6_c24",),
        ("ir_r3_k3_s2_e6_c32",),
        ("ir_r4_k3_s2_e6_c64",),
        ("ir_r3_k3_s1_e6_c96",),
        ("ir_r3_k3_s2_e6_c160",),
        ("ir_r1_k3_s1_e6_c320",),
    ),
    stem=32,
    features=1280,
    activation=nn.ReLU6,
    hub=MappingProxyType({0.5: "mobilenetv2_050", 1.0: "mobilenetv2_100", 1.4: "mobilenetv2_140"}),
)

#: arXiv 1905.02244, table 2
MOBILENET_V3_SMALL = Spec(
    title="MobileNetV3-Small",
    network=MobileNetV3,
    stages=(
        ("ds_r1_k3_s2_e1_c16_se0.25_nre",),
        ("ir_r1_k3_s2_e4.5_c24_nre", "ir_r1_k3_s1_e3.67_c24_nre"),
        ("ir_r1_k5_s2_e4_c40_se0.25", "ir_r2_k5_s1_e6_c40_se0.25"),
        ("ir_r2_k5_s1_e3_c48_se0.25",),
        ("ir_r3_k5_s2_e6_c96_se0.25",),
        ("cn_r1_k1_s1_c576",),
    ),
    stem=16,
    features=1024,
    activation=nn.Hardswish,
    hub=MappingProxyType(
        {0.5: "mobilenetv3_small_050", 0.75: "mobilenetv3_small_075", 1.0: "mobilenetv3_small_100"}
    ),
)

#: arXiv 1905.02244, table 1
MOBILENET_V3_LARGE = Spec(
    title="MobileNetV3-Large",
    network=MobileNetV3,
    stages=(
        ("ds_r1_k3_s1_e1_c16_nre",),
        ("ir_r1_k3_s2_e4_c24_nre", "ir_r1_k3_s1_e3_c24_nre"),
        ("ir_r3_k5_s2_e3_c40_se0.25_nre",),
        ("ir_r1_k3_s2_e6_c80", "ir_r1_k3_s1_e2.5_c80", "ir_r2_k3_s1_e2.3_c80"),
        ("ir_r2_k3_s1_e6_c112_se0.25",),
        ("ir_r3_k5_s2_e6_c160_se0.25",),
        ("cn_r1_k1_s1_c960",),
    ),
    stem=16,
    features=1280,
    activation=nn.Hardswish,
    hub=MappingProxyType({1.0: "mobilenetv3_large_100"}),
)

SPECS = {
    "mobilenetv2": MOBILENET_V2,
    "mobilenetv3_small": MOBILENET_V3_SMALL,
    "mobilenetv3_large": MOBILENET_V3_LARGE,
}


def no_se(spec: Spec) -> Spec:
    """Squeeze-and-excitation removed: a global mean and two tiny layers per block cost more time
    than they give.
    """
    return replace(
        spec,
        stages=tuple(
            tuple(block.replace("_se0.25", "") for block in stage) for stage in spec.stages
        ),
    )


def relu6(spec: Spec) -> Spec:
    """Hard-swish becomes ReLU6, and what hard sigmoid is left is spelt with ReLU6: XNNPACK
    quantises those, not these.
    """
    return replace(spec, activation=nn.ReLU6, gate=Relu6Gate)


def bounded(spec: Spec) -> Spec:
    """Linear bottlenecks clamped, so that int8's steps are half as large or less.

    Pretrained ones are scaled to fit, which changes no answer; where values reached further,
    training mends it. ReLU6 stays: clamped at 3, pretrained weights had two points less of balanced
    accuracy on validation (one run each, benchmarks/results/ham10000/tried-relu3.json).
    """
    return replace(spec, bounded=True)


def depth(spec: Spec, factor: float) -> Spec:
    """Repeats of every stage times ``factor``, rounded up; the blocks that stay keep their names
    and so their weights.
    """
    if not 0 < factor <= 2:
        raise UserError(
            f"student.adapt depth:{factor:g}: not between 0 and 2; for example depth:0.75"
        )
    return replace(spec, depth=spec.depth * factor)


#: Far above what a phone's student needs, far below what exhausts memory unasked.
LARGEST_HEAD = 8192


def head(spec: Spec, features: float) -> Spec:
    """Size of the last layer before the classifier: the largest single block of parameters in a
    narrow network.
    """
    if not 8 <= features <= LARGEST_HEAD or features != int(features):
        raise UserError(
            f"student.adapt head:{features:g}: not a whole number from 8 to {LARGEST_HEAD}; for"
            " example head:512"
        )
    return replace(spec, features=int(features))


#: name -> (edit, whether it takes a number after a colon)
ADAPTATIONS: dict[str, tuple[Callable[..., Spec], bool]] = {
    "no_se": (no_se, False),
    "relu6": (relu6, False),
    "bounded": (bounded, False),
    "depth": (depth, True),
    "head": (head, True),
}


def adapt(spec: Spec, names: tuple[str, ...]) -> Spec:
    """Apply modifications like ``no_se`` or ``depth:0.75`` in the order given."""
    for text in names:
        name, colon, value = text.partition(":")
        if name not in ADAPTATIONS:
            raise UserError(unknown(f"student.adapt {text}", name, ADAPTATIONS))
        edit, takes_number = ADAPTATIONS[name]
        if takes_number != bool(colon):
            raise UserError(
                f"student.adapt {text}: "
                + (
                    "needs a number, like depth:0.75 or head:512"
                    if takes_number
                    else f"takes no value; write {name}"
                )
            )
        if not takes_number:
            spec = edit(spec)
            continue
        try:
            spec = edit(spec, float(value))
        except ValueError:
            raise UserError(
                f"student.adapt {text}: {value!r} is not a number; for example depth:0.75 or"
                " head:512"
            ) from None
    return spec
