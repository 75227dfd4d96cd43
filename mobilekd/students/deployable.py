"""The student as a phone gets it: pixels in, calibrated probabilities out, so that no app can get
the rest wrong.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mobilekd.formats.artifact import Calibration
from mobilekd.formats.preprocess import Preprocess


class Deployable(nn.Module):
    """float32 ``[1, 3, H, W]`` RGB 0..255 -> probabilities ``[1, C]``, with ``cam`` also a map
    ``[1, h, w]`` in 0..1.

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
    ) -> None:
        super().__init__()
        self.student: Any = student  # Any: torch types a module's attributes as Tensor or Module
        self.cam = cam
        self.temperature = calibration.temperature
        self.mean: Tensor
        self.scale: Tensor
        self.bias: Tensor | None
        self.register_buffer("mean", 255 * torch.tensor(preprocess.mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / (255 * torch.tensor(preprocess.std).view(1, 3, 1, 1)))
        self.register_buffer(
            "bias", None if calibration.bias is None else torch.tensor([calibration.bias])
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Shapes as in the class."""
        x = (x - self.mean) * self.scale
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
