"""The student as a phone gets it: pixels in, calibrated probabilities out, so that no app can get
the rest wrong.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.guard import FURTHEST, Guard
from mobilekd.formats.preprocess import Preprocess


def moments(maps: Sequence[Tensor], deviations: bool) -> Tensor:
    """Maps ``[B, D, h, w]`` -> means of their channels, with ``deviations`` each map's followed by
    their standard deviations, ``[B, D1 + D1 + D2 + ..., 1, 1]``.
    """
    parts = []
    for each in maps:
        mean = each.mean((2, 3), keepdim=True)
        offset = each - mean
        deviation = (offset * offset).mean((2, 3), keepdim=True).sqrt()
        # two by two: XNNPACK joins five at most
        parts.append(torch.cat([mean, deviation], 1) if deviations else mean)
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


class GuardScore(nn.Module):
    """Layers' outputs ``[B, D, h, w]`` each -> the guard's score ``[B, 1]`` in 0..1
    (:mod:`mobilekd.formats.guard`).

    It stays in floating point where the student is rounded to int8: small variances magnify what
    rounding moves. Products and means instead of a linear layer, which counts as one of the
    student's.
    """

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self.deviations = guard.deviations
        self.centre: Tensor
        self.directions: Tensor
        self.register_buffer("centre", torch.tensor(guard.centre).view(1, -1, 1, 1))
        # times D, since their products are averaged over D
        self.register_buffer("directions", len(guard.centre) * torch.tensor([guard.directions]))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Shapes as in the class."""
        offset = moments(maps, self.deviations) - self.centre
        products = offset.flatten(2).transpose(1, 2) * self.directions  # [B, K, D]
        whitened = torch.clamp(products.mean(2), -FURTHEST, FURTHEST)
        squares = (whitened * whitened).mean(1, keepdim=True)
        return squares / (squares + 1.0)


def early_stages(student: nn.Module, example: Tensor) -> dict[str, int]:
    """The stages that a guard may look at, by name, and how many channels each has: of those whose
    grid is at most a quarter as wide as the input and not the last one, the first of each grid,
    from the largest on. Empty for a network without ``blocks`` or ``stages`` that give maps.
    ``example`` float32 ``[1, 3, H, W]``.
    """
    found = [
        (name, stages)
        for name in ("blocks", "stages")
        if isinstance(stages := getattr(student, name, None), nn.Sequential) and len(stages)
    ]
    if not found:
        return {}
    names = [f"{found[0][0]}.{i}" for i in range(len(found[0][1]))]
    with torch.no_grad(), seen_at(student, names) as outputs:
        student(example)
    if len(outputs) != len(names) or any(output.dim() != 4 for output in outputs):
        return {}  # tokens of a transformer, for one
    areas = [output[0, 0].numel() for output in outputs]
    firsts = [
        i
        for i, area in enumerate(areas)
        if areas[-1] < area <= example[0, 0].numel() // 16 and area not in areas[:i]
    ]
    return {names[i]: outputs[i].shape[1] for i in firsts or [len(areas) - 1]}


@contextmanager
def seen_at(student: nn.Module, layers: Sequence[str]) -> Iterator[list[Tensor]]:
    """Outputs of some of the student's modules, gathered in order while it is asked; by this
    thread, since others may ask the same student at the same time.
    """
    outputs: list[Tensor] = []
    thread = get_ident()

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        if get_ident() == thread:
            outputs.append(output)

    handles = [student.get_submodule(layer).register_forward_hook(keep) for layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
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
        self.layers = guard.layers if guard else ()
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
        with seen_at(self.student, self.layers) as outputs:
            answers = self.answers(x)
        answers = answers if isinstance(answers, tuple) else (answers,)
        return *answers, self.guard(outputs)

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
