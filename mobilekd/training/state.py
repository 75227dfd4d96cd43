"""The state of a training run between epochs: the averaged weights, and the checkpoint as read
back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mobilekd.formats.document import Document
from mobilekd.formats.recipe import Recipe
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json

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


@dataclass(frozen=True)
class Checkpoint:
    """What training between two epochs consists of, as it was written."""

    identity: str
    epoch: int
    model: dict[str, Any]
    average: dict[str, Any]
    objective: dict[str, Any]
    optimizer: dict[str, Any]
    seconds: float
    images: int
    metrics: str

    def load_into(
        self, path: Path, model: nn.Module, objective: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        """Put weights and the optimiser's state where they belong; a ``UserError`` that names
        ``path`` where they do not fit, and then nothing was changed.
        """
        parts = {"model": model, "average": model, "objective": objective}
        misfit = [
            name
            for name, module in parts.items()
            if _shapes(getattr(self, name)) != _shapes(module.state_dict())
        ]
        if not _fits(self.optimizer, optimizer):
            misfit.append("optimizer")
        if misfit:
            raise UserError(
                f"{path}: its {' and '.join(misfit)} belong to another network; remove it and start"
                " again"
            )
        model.load_state_dict(self.model)
        objective.load_state_dict(self.objective)
        optimizer.load_state_dict(self.optimizer)


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint, every key of it checked; nothing in it is executed."""
    try:
        with ZipFile(path) as archive:
            broken = archive.testzip()  # torch does not look at the checksums that it writes
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a broken file
        raise UserError(
            f"{path}: not a readable checkpoint ({type(error).__name__}); remove it and start again"
        ) from None
    if broken is not None:
        raise UserError(f"{path}: {broken} in it is damaged; remove it and start again")
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a checkpoint of mobilekd; remove it and start again")
    for field in fields(Checkpoint):
        if field.name not in content:
            raise UserError(
                f"{path}: not a whole checkpoint ({field.name}: missing); remove it and start again"
            )
        value, kind = content[field.name], _KINDS[field.name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UserError(
                f"{path}: not a checkpoint ({field.name}: {value!r:.40}); remove it and start again"
            )
        if kind in (int, (int, float)) and not 0 <= value < float("inf"):
            raise UserError(
                f"{path}: not a checkpoint ({field.name}: {value} is below 0 or infinite); remove"
                " it and start again"
            )
    return Checkpoint(**{field.name: content[field.name] for field in fields(Checkpoint)})


#: What each key of a checkpoint must be.
_KINDS: dict[str, Any] = {
    "identity": str,
    "epoch": int,
    "model": dict,
    "average": dict,
    "objective": dict,
    "optimizer": dict,
    "seconds": (int, float),
    "images": int,
    "metrics": str,
}


def _shapes(state: dict[str, Any]) -> dict[str, Any]:
    return {key: getattr(value, "shape", None) for key, value in state.items()}


def _fits(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimiser's state has a moment of the right shape for each parameter that it
    knows, and settings of the kinds that the optimiser's own are.
    """
    groups, own = state.get("param_groups"), optimizer.state_dict()["param_groups"]
    moments = state.get("state")
    if not isinstance(groups, list) or not isinstance(moments, dict):
        return False
    try:
        if [(group.keys(), group["params"]) for group in groups] != [
            (group.keys(), group["params"]) for group in own
        ]:
            return False
        settings = [
            (value, mine[key])
            for group, mine in zip(groups, own, strict=True)
            for key, value in group.items()
        ]
        parameters = [value for group in optimizer.param_groups for value in group["params"]]
        return all(_of_one_kind(value, mine) for value, mine in settings) and all(
            entry.keys() == _MOMENTS[type(optimizer)]
            and all(
                isinstance(value, Tensor) and value.shape in (parameters[index].shape, ())
                for value in entry.values()
            )
            for index, entry in moments.items()
        )
    except (AttributeError, KeyError, IndexError, TypeError):
        return False


#: What ``schedule.make_optimizer``'s optimisers keep of each parameter.
_MOMENTS: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}


def _of_one_kind(value: Any, mine: Any) -> bool:
    """Whether settings of an optimiser are of one kind; a switch may be None, a number whole."""
    numbers = (int, float)
    if isinstance(value, bool | None) or isinstance(mine, bool | None):
        return isinstance(value, bool | None) and isinstance(mine, bool | None)
    return type(value) is type(mine) or (isinstance(value, numbers) and isinstance(mine, numbers))


def identity_before_places_were_left_out(
    recipe: Recipe,
    stage: Literal["teach", "train"],
    split_hash: str,
    unlabelled_hash: str | None,
    *parts: Document,
    also: Sequence[str] = (),
) -> str:
    """The identity that checkpoints and teachers carried before 2026-11-27, when where the data lay
    was a part of it.
    """
    tables = [
        recipe.data,
        recipe.split,
        recipe.preprocess,
        recipe.augment,
        getattr(recipe, stage),
        *parts,
    ]
    return sha256_json(
        [
            recipe.seed,
            split_hash,
            stage,
            unlabelled_hash,
            *(table.model_dump(mode="json") for table in tables),
            *also,
        ]
    )
