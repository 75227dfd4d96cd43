"""The state of a training run between epochs: the averaged weights, and the checkpoint as read
back.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mobilekd.support.errors import UserError

#: The checkpoint's name inside a run's folder.
CHECKPOINT = "checkpoint.pt"


class Average:
    """Exponential moving average of weights and buffers; the average is what is validated
    and kept.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        # the model's own tensors, which training changes in place
        self._live = dict(model.state_dict())
        self.values = {key: value.clone() for key, value in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the model; the early steps weigh more so that the start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        floats = [key for key, value in self._live.items() if value.is_floating_point()]
        # All tensors in one call: on CUDA one kernel in place of hundreds.
        get_ema_multi_avg_fn(decay)(
            [self.values[key] for key in floats], [self._live[key] for key in floats], step
        )
        for key in self._live.keys() - set(floats):
            self.values[key].copy_(self._live[key])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content; nothing in it is executed."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a broken file
        raise UserError(
            f"{path}: not a readable checkpoint ({type(error).__name__}); remove it and start again"
        ) from None
    return state
