"""LesionNet with one design choice undone or changed at a time, and the networks that it stands
beside.
"""

from collections.abc import Callable

from torch import Tensor, nn

from mobilekd.formats.training_tables import StudentTable
from mobilekd.students import build
from mobilekd.students.bounds import BoundedLinear, BoundedReLU
from mobilekd.students.lesionnet import Block, LesionNet, stage

CLASSES = 7


def lesionnet(width: float = 1.0) -> LesionNet:
    return LesionNet(CLASSES, width, dropout=0.1)


def mobilenet(model: str, width: float, *adapt: str) -> nn.Module:
    return build(StudentTable(model=model, width=width, adapt=adapt), CLASSES)


def overlapping_stem() -> nn.Module:
    """A 5 x 5 stem with stride 4: neighbouring patches share pixels."""
    network = lesionnet()
    network.conv_stem = nn.Conv2d(3, 24, 5, stride=4, padding=2, bias=False)
    return network


class TwoStepStem(LesionNet):
    """Half resolution first, as in MobileNets: 3 x 3 onto 8 channels, then a depthwise block onto
    24.
    """

    def __init__(self) -> None:
        super().__init__(CLASSES, dropout=0.1)
        self.conv_stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        halve = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False)
        self.widen = nn.Sequential(
            halve, nn.BatchNorm2d(8), nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU()
        )

    def forward_features(self, x: Tensor) -> Tensor:
        return self.blocks(self.widen(self.act1(self.bn1(self.conv_stem(x)))))


class Inverted(Block):
    """MobileNetV2's order: expand, depthwise on the expanded channels, project."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, stride)
        hidden = self.conv_pw.out_channels
        self.conv_dw = nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.bn2(self.conv_pw(x)))
        y = self.act(self.bn1(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return self.bound(x + y if self.residual else y)


def depthwise_on_expanded() -> nn.Module:
    """Every block in MobileNetV2's order, channels as they are."""
    network = lesionnet()
    for blocks in network.blocks:
        for index, block in enumerate(blocks):
            blocks[index] = Inverted(
                block.conv_dw.in_channels, block.conv_pwl.out_channels, block.conv_dw.stride[0]
            )
    return network


def wide_kernels() -> nn.Module:
    """5 x 5 depthwise convolutions in the two late stages."""
    network = lesionnet()
    for block in (*network.blocks[1], *network.blocks[2]):
        old = block.conv_dw
        block.conv_dw = nn.Conv2d(
            old.in_channels,
            old.in_channels,
            5,
            old.stride,
            padding=2,
            groups=old.in_channels,
            bias=False,
        )
    return network


class EarlyHead(LesionNet):
    """The last hidden layer before pooling, as in MobileNetV2."""

    def forward_head(self, x: Tensor) -> Tensor:
        x = self.global_pool(self.act2(self.norm_head(self.conv_head(x))))
        return self.classifier(self.dropout(x.flatten(1)))


def with_stages(
    early: int, middle: int, late: int, *, blocks: tuple[int, int, int] = (2, 3, 3)
) -> nn.Module:
    """Other channels or depths, the head as it is."""
    network = lesionnet()
    network.blocks = nn.Sequential(
        stage(24, early, blocks[0]),
        stage(early, middle, blocks[1]),
        stage(middle, late, blocks[2]),
    )
    network.conv_head = nn.Conv2d(late, network.norm_head.num_features, 1, bias=False)
    return network


def replaced(network: nn.Module, kind: type[nn.Module], make: Callable[[], nn.Module]) -> nn.Module:
    """``network`` with every layer of one kind replaced; in place."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, kind):
                setattr(module, name, make())
    return network


def hard_swish() -> nn.Module:
    """MobileNetV3's activation, which XNNPACK's quantizer leaves in float."""
    return replaced(lesionnet(), BoundedReLU, lambda: nn.Hardswish(inplace=True))


def unbounded() -> nn.Module:
    """ReLU, and linear layers without a clamp."""
    return replaced(
        replaced(lesionnet(), BoundedReLU, lambda: nn.ReLU(inplace=True)),
        BoundedLinear,
        nn.Identity,
    )


VARIANTS: dict[str, Callable[[], nn.Module]] = {
    "lesionnet": lesionnet,
    "stem: 5 x 5, overlapping": overlapping_stem,
    "stem: half resolution first": TwoStepStem,
    "block: depthwise on expanded channels": depthwise_on_expanded,
    "block: 5 x 5 depthwise late": wide_kernels,
    "block: hard-swish": hard_swish,
    "clamps: none, ReLU only": unbounded,
    "head: before pooling": lambda: EarlyHead(CLASSES, dropout=0.1),
    "stages: 40, 72, 160": lambda: with_stages(40, 72, 160),
    "stages: 32, 80, 160": lambda: with_stages(32, 80, 160),
    "stages: 48, 80, 128": lambda: with_stages(48, 80, 128),
    "stages: one block less each": lambda: with_stages(40, 80, 144, blocks=(1, 2, 2)),
    "width 0.75": lambda: lesionnet(0.75),
    "MobileNetV2-0.35": lambda: mobilenet("mobilenetv2", 0.35),
    "MobileNetV2-0.35, bounded": lambda: mobilenet("mobilenetv2", 0.35, "bounded"),
    "MobileNetV2-0.30, bounded": lambda: mobilenet("mobilenetv2", 0.3, "bounded"),
    "MobileNetV2-0.35, head 512": lambda: mobilenet("mobilenetv2", 0.35, "head:512"),
    "MobileNetV3-small-0.5, no_se, relu6": lambda: mobilenet(
        "mobilenetv3_small", 0.5, "no_se", "relu6"
    ),
}

REFERENCE = "MobileNetV2-0.35"
#: Of LesionNet's size.
EQUAL = "MobileNetV2-0.30, bounded"


def named(names: list[str]) -> dict[str, Callable[[], nn.Module]]:
    """The variants whose names start with one of ``names`` (all of them for none)."""
    chosen = {
        key: make
        for key, make in VARIANTS.items()
        if not names or any(key.startswith(name) for name in names)
    }
    if not chosen:
        raise SystemExit(f"{names}: no such variant; known: {', '.join(VARIANTS)}")
    return chosen
