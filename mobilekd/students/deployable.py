"""The student as a phone gets it: pixels in, calibrated probabilities out, so that no app can get
the rest wrong.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.guard import FURTHEST, Guard
from mobilekd.formats.preprocess import Preprocess


class GuardScore(nn.Module):
    """A layer's output ``[B, D, h, w]`` -> the guard's score ``[B, 1]`` in 0..1
    (:mod:`mobilekd.formats.guard`).

    It stays in floating point where the student is rounded to int8: small variances magnify what
    rounding moves. Products and means instead of a linear layer, which counts as one of the
    student's.
    """

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self.centre: Tensor
        self.directions: Tensor
        self.register_buffer("centre", torch.tensor(guard.centre).view(1, -1, 1, 1))
        # times D, since their products are averaged over D
        self.register_buffer("directions", len(guard.centre) * torch.tensor([guard.directions]))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes as in the class."""
        offset = x.mean((2, 3), keepdim=True) - self.centre
        products = offset.flatten(2).transpose(1, 2) * self.directions  # [B, K, D]
        whitened = torch.clamp(products.mean(2), -FURTHEST, FURTHEST)
        squares = (whitened * whitened).mean(1, keepdim=True)
        return squares / (squares + 1.0)


def middle_layer(student: nn.Module, example: Tensor) -> str | None:
    """The last stage before the grid is halved for the last time, by name; None for a network
    without ``blocks`` that give maps. ``example`` float32 ``[1, 3, H, W]``.
    """
    blocks = getattr(student, "blocks", None)
    if not isinstance(blocks, nn.Sequential) or not len(blocks):
        return None
    outputs: list[Any] = []
    handles = [
        stage.register_forward_hook(lambda _, __, output: outputs.append(output))
        for stage in blocks
    ]
    with torch.no_grad():
        student(example)
    for handle in handles:
        handle.remove()
    if not all(isinstance(output, Tensor) and output.dim() == 4 for output in outputs):
        return None  # tokens of a transformer, for one
    areas = [output[0, 0].numel() for output in outputs]
    if len(areas) != len(blocks):
        return None
    larger = [i for i, area in enumerate(areas) if area > areas[-1]]
    return f"blocks.{larger[-1] if larger else len(areas) - 1}"


@contextmanager
def seen_at(student: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Outputs of one of the student's modules, gathered while it is asked."""
    outputs: list[Tensor] = []
    module = student.get_submodule(layer)
    handle = module.register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()


class Deployable(nn.Module):
    """float32 ``[1, 3, H, W]`` RGB 0..255 -> probabilities ``[1, C]``, with ``cam`` also a map
    ``[1, h, w]`` in 0..1, with a ``guard`` its score ``[1, 1]`` last.

    Normalisation ``(x / 255 - mean) / std`` is one subtraction, which quantisation leaves in float
    and so exact, and one multiplication. The scale could go into the stem and spare a pass over the
    input, but the stem's weights would shrink 127-fold, and quantisation-aware training with a
    learning rate made for weights near 0.1 would wreck them.

    The class activation map (arXiv 1512.04150) weights the classifier's maps by the answer's
    probabilities instead of picking the arg max class: no gather in the graph, the same map where
    the answer is sure, a blend where it is not. Its cell (i, j) looks around pixel (32 i, 32 j),
    the cell's own upper left corner and not its middle: strides of 2 that pad both sides alike
    start at the edge. Whoever draws the map over the picture must place the cells' middles there.
    """

    def __init__(
        self,
        student: nn.Module,
        preprocess: Preprocess,
        calibration: Calibration,
        cam: bool = False,
        guard: Guard | None = None,
    ) -> None:
        super().__init__()
        self.student: Any = student  # Any: torch types a module's attributes as Tensor or Module
        self.cam = cam
        self.temperature = calibration.temperature
        self.guard = GuardScore(guard) if guard else None
        self.layer = guard.layer if guard else ""
        self.mean: Tensor
        self.scale: Tensor
        self.bias: Tensor | None
        self.register_buffer("mean", 255 * torch.tensor(preprocess.mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / (255 * torch.tensor(preprocess.std).view(1, 3, 1, 1)))
        self.register_buffer(
            "bias", None if calibration.bias is None else torch.tensor([calibration.bias])
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Shapes as in the class."""
        x = (x - self.mean) * self.scale
        if self.guard is None:
            return self.answers(x)
        with seen_at(self.student, self.layer) as outputs:
            answers = self.answers(x)
        answers = answers if isinstance(answers, tuple) else (answers,)
        return *answers, self.guard(outputs[0])

    def answers(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Normalised ``[1, 3, H, W]`` -> probabilities, and the map with ``cam``."""
        if not self.cam:
            return self.calibrated(self.student(x))
        features = self.student.forward_features(x)  # [1, D, h, w]
        probabilities = self.calibrated(self.student.forward_head(features))
        return probabilities, self.activation_map(features, probabilities)

    def calibrated(self, logits: Tensor) -> Tensor:
        """``[1, C]`` logits -> probabilities."""
        logits = logits * (1 / self.temperature)
        return torch.softmax(logits if self.bias is None else logits + self.bias, dim=1)

    def activation_map(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """``[1, D, h, w]`` and ``[1, C]`` -> ``[1, h, w]``, its least value 0 and its greatest 1
        (all 0 if it is flat).
        """
        if hasattr(self.student, "norm_head"):
            # MobileNetV3 and LesionNet pool before their last hidden layer; that layer is 1 x 1, so
            # it works on a map as well
            features = self.student.act2(self.student.norm_head(self.student.conv_head(features)))
        weights = probabilities @ self.student.classifier.weight  # [1, D]
        evidence = (features * weights[:, :, None, None]).sum(1)  # [1, h, w]
        low, high = evidence.amin((1, 2), keepdim=True), evidence.amax((1, 2), keepdim=True)
        return (evidence - low) / (high - low).clamp(min=1e-6)
