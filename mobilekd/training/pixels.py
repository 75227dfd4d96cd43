"""Whole sets of photographs through a view or a network, in batches."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mobilekd.training.schedule import TrainingImages
from mobilekd.training.views import Views

#: Photographs drawn at once.
BATCH = 256


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
