"""The state of a training run between epochs: the averaged weights, and the checkpoint as read back."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilekd.errors import UserError

#: The checkpoint's name inside a run's folder.
CHECKPOINT = "checkpoint.pt"


class Average:
    """Exponential moving average of weights and buffers; the average is what is validated and kept."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model; the early steps weigh more so that the start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            average = self.values[key]
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content; nothing in it is executed."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a broken file
        raise UserError(f"{path}: not a readable checkpoint ({type(error).__name__}); remove it and start again") from None
    return state
