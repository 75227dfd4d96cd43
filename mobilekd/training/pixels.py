"""Whole sets of photographs through a view or a network, in batches."""

import os
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mobilekd.training.schedule import TrainingImages
from mobilekd.training.views import Views, keys

#: Photographs drawn at once.
BATCH = 256

#: Fixed views stay in memory up to this share of it; beyond, they are drawn again.
KEPT_SHARE = 8


class Drawer:
    """Draws views of photographs that wait in memory for one model, batch by batch.

    On CUDA the photographs lie in the device's memory where it is ample, and any view is drawn
    faster than it is copied. A CPU keeps fixed views whole while an eighth of the memory holds
    them; which are kept changes no pixel.
    """

    def __init__(
        self,
        images: TrainingImages,
        views: Views,
        view_seed: int,
        device: torch.device,
        *,
        fixed: bool,
    ) -> None:
        self.images, self.views, self.device, self.fixed = images, views, device, fixed
        self.key = keys(images.ids, view_seed)
        self._kept: dict[int, Tensor] = {}
        self._storage: Tensor | None = None

    def draw(self, rows: np.ndarray, view: int) -> Tensor:
        """View number ``view`` of the photographs ``rows`` ``[B]``: uint8 ``[B, 3, H, W]``."""
        if self.device.type == "cpu" and self.fixed:
            if view not in self._kept and self._room():
                self._kept[view] = draw_all(self.views, self.images, self.key, view, self.device)
            if view in self._kept:
                return self._kept[view][torch.from_numpy(rows)]
        if self._storage is None:
            self._storage = torch.from_numpy(self.images.storage)
            if (
                self.device.type == "cuda"
                and self.images.storage.nbytes < torch.cuda.mem_get_info(self.device)[0] // 4
            ):
                self._storage = self._storage.to(self.device)
        chosen = self._storage[torch.from_numpy(rows).to(self._storage.device)]
        return self.views.draw(chosen.to(self.device), self.key[rows], view)

    def _room(self) -> bool:
        size = 3 * self.views.preprocess.width * self.views.preprocess.height
        one = len(self.images.ids) * size
        return (len(self._kept) + 1) * one <= memory_bytes() // KEPT_SHARE


def memory_bytes() -> int:
    """This machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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
    inputs: np.ndarray,
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
