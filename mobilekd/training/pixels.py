"""Whole sets of photographs through a view or a network, in batches."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from mobilekd.formats.pictures import Pictures
from mobilekd.training.schedule import TrainingImages
from mobilekd.training.views import Views, keys

#: Photographs drawn at once.
BATCH = 256

#: Photographs lie in a CUDA device's memory up to this share of what is free there.
DEVICE_SHARE = 4


class Drawer:
    """Draws views of photographs for one model, batch by batch.

    A view is drawn whenever it is asked for, a fixed one again in every epoch that shows it:
    keeping it would take the memory of a data set for each view (what that costs:
    benchmarks/results/memory.json). On CUDA the photographs lie in the device's memory where it is
    ample.
    """

    def __init__(
        self, images: TrainingImages, views: Views, view_seed: int, device: torch.device
    ) -> None:
        self.images, self.views, self.device = images, views, device
        self.key = keys(images.ids, view_seed)
        self._on_device: Tensor | None = None
        self._asked = False

    def draw(self, rows: np.ndarray, view: int) -> Tensor:
        """View number ``view`` of the photographs ``rows`` ``[B]``: uint8 ``[B, 3, H, W]``."""
        if not self._asked:
            self._asked = True
            self._on_device = self._moved()
        if self._on_device is not None:
            chosen = self._on_device[torch.from_numpy(rows).to(self.device)]
        else:
            chosen = torch.from_numpy(self.images.storage[rows]).to(self.device)
        return self.views.draw(chosen, self.key[rows], view)

    def parts(self, rows: np.ndarray, view: int, size: int) -> Iterator[np.ndarray]:
        """The same of many photographs, ``size`` at once, on the CPU."""
        for some in np.split(rows, range(size, len(rows), size)):
            yield self.draw(some, view).cpu().numpy()

    def _moved(self) -> Tensor | None:
        """The photographs on a CUDA device that has room, brought there in parts."""
        storage = self.images.storage
        if self.device.type != "cuda":
            return None
        if storage.nbytes >= torch.cuda.mem_get_info(self.device)[0] // DEVICE_SHARE:
            return None
        there = torch.empty(storage.shape, dtype=torch.uint8, device=self.device)
        for start in range(0, len(storage), BATCH):
            part = storage[start : start + BATCH]
            there[start : start + len(part)] = torch.from_numpy(part).to(self.device)
        return there


def draw_all(
    views: Views,
    images: TrainingImages,
    key: np.ndarray,
    view: int,
    device: torch.device,
    rows: np.ndarray | None = None,
) -> Tensor:
    """One view of every photograph (or of ``rows`` ``[N]``), drawn on ``device``: uint8 ``[N, 3, H,
    W]`` on the CPU.
    """
    rows = np.arange(len(images.ids)) if rows is None else rows
    parts = [
        views.draw(torch.from_numpy(images.storage[some]).to(device), key[some], view).cpu()
        for some in np.split(rows, range(BATCH, len(rows), BATCH))
    ]
    return torch.cat(parts)


@torch.no_grad()
def predict_logits(
    forward: Callable[[Tensor], Tensor],
    views: Views,
    inputs: Pictures,
    device: torch.device,
    batch: int = 64,
) -> np.ndarray:
    """Preprocessed photographs uint8 ``[N, 3, H, W]`` -> logits float32 ``[N, C]``."""
    parts = [
        forward(views.normalise(torch.from_numpy(inputs[start : start + batch]).to(device)))
        .float()
        .cpu()
        for start in range(0, len(inputs), batch)
    ]
    return torch.cat(parts).numpy()


def quick_scores(logits: np.ndarray, targets: np.ndarray, classes: int) -> dict[str, float]:
    """Point figures for the log while training; results come from evaluate, with intervals."""
    top = logits.argmax(1)
    recalls = [
        float((top[targets == c] == c).mean()) for c in range(classes) if (targets == c).any()
    ]
    shifted = logits - logits.max(1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return {
        "accuracy": round(float((top == targets).mean()), 5),
        "balanced_accuracy": round(float(np.mean(recalls)), 5),
        "nll": round(float(-log_probability[np.arange(len(targets)), targets].mean()), 5),
    }
