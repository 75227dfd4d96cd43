"""Teachers: any timm or torchvision network by name, trained by ``teach``, then frozen by structure.

Several teachers are one: the (weighted) mean of their probabilities (arXiv 2009.08453), handed on as its logarithm,
so that whatever takes one teacher's logits takes an ensemble's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from mobilekd.errors import UserError
from mobilekd.progress import say
from mobilekd.recipe import EnsembleTable, TeacherTable


def build_teacher(table: TeacherTable, classes: int) -> nn.Module:
    """A trainable teacher: normalised float ``[B, 3, H, W]`` -> logits ``[B, classes]``, from its weights."""
    library, _, name = table.model.rpartition(":")
    hub = table.weights == "hub"
    try:
        if library == "torchvision":
            model: nn.Module = torchvision.models.get_model(name, weights="DEFAULT" if hub else None, **table.options)
            model = _new_head(model, classes)
        else:
            model = timm.create_model(name, pretrained=hub, num_classes=classes, **table.options)
            _calm(model)
    except (RuntimeError, ValueError) as error:
        near = ", ".join(timm.list_models(f"*{name[:12]}*")[:3])
        raise UserError(f"teacher {table.model}: not a {library or 'timm'} model ({error}); near are: {near or 'none'}") from None
    except (OSError, TypeError) as error:
        raise UserError(f"teacher {table.model}: cannot be made ({error}); give a local file in teachers.weights") from None
    if table.weights and not hub:
        load_matching(model, Path(table.weights))
    return model


def _calm(model: nn.Module) -> None:
    """Start timm's classifier near zero: for mobile networks its logits begin with a deviation of 3, to be unlearnt first."""
    head = model.get_classifier() if callable(getattr(model, "get_classifier", None)) else None  # type: ignore[operator]
    if isinstance(head, nn.Linear):
        nn.init.normal_(head.weight, std=0.01)


def _new_head(model: nn.Module, classes: int) -> nn.Module:
    """Replace a torchvision network's last linear layer."""
    name, last = next((item for item in reversed(list(model.named_modules())) if isinstance(item[1], nn.Linear)), ("", None))
    if last is None:
        raise UserError("this torchvision model ends in no linear layer, so it cannot be given other classes; choose another")
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, nn.Linear(last.in_features, classes))
    return model


def load_matching(model: nn.Module, path: Path) -> None:
    """Load a weights file (``.pth`` or ``.safetensors``) where names and shapes fit; say what did not."""
    state = read_weights(path)
    own = model.state_dict()
    fits = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    if len(fits) < len(own) // 2:
        raise UserError(f"{path}: {len(fits)} of {len(own)} tensors fit this network; it is another network's weights file")
    model.load_state_dict(fits, strict=False)
    fresh = sorted(set(own) - set(fits))
    say(f"{path.name}: {len(fits)} of {len(own)} tensors loaded" + (f"; fresh: {', '.join(fresh[:4])}" if fresh else ""))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a weights file; nothing in it is executed."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such weights file; check the recipe's weights key") from None
    except Exception as error:  # torch and safetensors raise a dozen kinds for a broken file
        raise UserError(f"{path}: not a readable weights file ({type(error).__name__}); fetch it again") from None
    return loaded.get("state_dict", loaded)


class Teacher(nn.Module):
    """A network that can no longer change: in eval mode whatever is called on it, without gradients."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode."""
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Normalised float ``[B, 3, H, W]`` -> logits ``[B, C]``."""
        return self.network(x)


def combine(logits: Sequence[Tensor], rule: EnsembleTable, weights: Sequence[float], recalls: Sequence[Sequence[float]]) -> Tensor:
    """Several teachers' logits, each ``[B, C]`` -> one teacher's, ``[B, C]``.

    ``mean`` weighs them alike, ``weighted`` by ``weights``, ``per_class`` each class by its teachers' recall on
    validation. One teacher's logits pass unchanged, so a temperature means what it does in the papers.
    """
    if len(logits) == 1:
        return logits[0]
    probabilities = torch.stack([F.softmax(each.float(), 1) for each in logits])
    if rule.rule == "per_class":
        share = torch.tensor(recalls, device=probabilities.device).clamp_min(1e-3)[:, None, :]
    else:
        given = weights if rule.rule == "weighted" else [1.0] * len(logits)
        share = torch.tensor(given, device=probabilities.device)[:, None, None]
    mean = (probabilities * share / share.sum(0)).sum(0)
    return torch.log((mean / mean.sum(1, keepdim=True)).clamp_min(1e-12))
