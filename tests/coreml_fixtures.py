"""Small networks with every op of the real ones, lowered once per session, for the tests of Core ML."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mobilekd import backends, graphs, quantize
from mobilekd.artifact import Calibration, Label
from mobilekd.backends.base import Lowered
from mobilekd.constants import Constants, constants
from mobilekd.preprocess import Preprocess
from mobilekd.students import Deployable

SIZE = 32
EXAMPLE = torch.zeros(1, 3, SIZE, SIZE)
LABELS = tuple(Label(key=key, text=key.upper()) for key in ("akiec", "bcc", "mel", "nv"))
PREPROCESS = Preprocess(SIZE, SIZE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CALIBRATION = Calibration(temperature=1.3, threshold=0.4)


class Small(nn.Module):
    """An inverted residual between a stem and a head; ``excite`` adds V3's squeeze-and-excitation. Its head is big enough to compress."""

    def __init__(self, act: Callable[[], nn.Module], *, excite: bool) -> None:
        super().__init__()
        self.conv_stem, self.bn1, self.act = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), act()
        self.expand = nn.Sequential(nn.Conv2d(16, 24, 1, bias=False), nn.BatchNorm2d(24), act())
        self.depthwise = nn.Sequential(nn.Conv2d(24, 24, 3, 1, 1, groups=24, bias=False), nn.BatchNorm2d(24), act())
        squeeze = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 8, 1), nn.ReLU(), nn.Conv2d(8, 24, 1), nn.Hardsigmoid()]
        self.excite = nn.Sequential(*squeeze) if excite else None
        self.project = nn.Sequential(nn.Conv2d(24, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.head = nn.Sequential(nn.Conv2d(16, 144, 1, bias=False), nn.BatchNorm2d(144), act())
        self.classifier = nn.Linear(144, len(LABELS))

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.act(self.bn1(self.conv_stem(x)))
        y = self.depthwise(self.expand(x))
        y = y if self.excite is None else y * self.excite(y)
        return self.head(x + self.project(y))

    def forward_head(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def small(kind: str, *, cam: bool = False) -> Deployable:
    """``v2`` or ``v3`` with weights and statistics far from the identity, so that a wrong folding shows."""
    torch.manual_seed(7)
    net = Small(nn.ReLU6, excite=False) if kind == "v2" else Small(nn.Hardswish, excite=True)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    net.classifier.weight.data.mul_(8)
    return Deployable(net, PREPROCESS, CALIBRATION, cam=cam).eval()


def facts(backend: str, precision: str, *, cam: bool = False) -> Constants:
    return constants(
        name="small",
        backend=backend,
        precision=precision,
        labels=LABELS,
        preprocess=PREPROCESS,
        calibration=CALIBRATION,
        outputs=["probabilities", "cam"] if cam else ["probabilities"],
        card="Research demonstration, not a medical device.\nSecond line.",
        student="0" * 64,
        versions={"torch": "2.15"},
    )


def pictures(count: int = 3) -> np.ndarray:
    """uint8 ``[N, 3, H, W]`` with structure: colour gradients under noise, so that channels and axes differ."""
    generator = np.random.default_rng(3)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] * (255 / SIZE)
    planes = np.stack([rows, columns * 0.5, np.full((SIZE, SIZE), 40.0)])
    noise = generator.integers(-30, 30, (count, 3, SIZE, SIZE)) + generator.integers(-40, 60, (count, 3, 1, 1))
    return np.clip(planes + noise, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Made:
    """A lowered small network."""

    model: Deployable
    lowered: Lowered
    constants: Constants
    inputs: np.ndarray

    @property
    def path(self) -> Path:
        return self.lowered.model_path

    def answers(self) -> list[np.ndarray]:
        return backends.get(str(self.constants["backend"])).run(self.path, self.inputs)

    @cached_property
    def golden(self) -> np.ndarray:
        """What the golden set of an artifact holds: the saved file's own probabilities."""
        return self.answers()[0]

    def eager(self) -> list[np.ndarray]:
        return self.lowered.eager_reference(self.inputs)


def captured(model: nn.Module, backend: str, precision: str) -> torch.fx.GraphModule:
    """What an export hands to the backend."""
    weights_in, graph = backends.get(backend).weights_in(precision), graphs.capture(model, EXAMPLE)
    return quantize.store_weights(graph, weights_in, None)[0] if weights_in else graph


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """``made(kind, precision)`` lowers once per session and remembers."""
    kept: dict[tuple[str, str, str, bool], Made] = {}

    def make(kind: str, precision: str, backend: str = "coreml", *, cam: bool = False) -> Made:
        key = (kind, precision, backend, cam)
        if key not in kept:
            model, said = small(kind, cam=cam), facts(backend, precision, cam=cam)
            folder = tmp_path_factory.mktemp(f"{kind}-{backend}-{precision}")
            lowered = backends.get(backend).lower(captured(model, backend, precision), EXAMPLE, precision, said, folder)
            kept[key] = Made(model, lowered, said, pictures().astype(np.float32))
        return kept[key]

    return make
