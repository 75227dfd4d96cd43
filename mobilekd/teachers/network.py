"""Teachers: any timm or torchvision network by name, trained by ``teach``, then frozen by
structure.

Several teachers are one: the (weighted) mean of their probabilities (arXiv 2009.08453), handed on
as its logarithm, so that whatever takes one teacher's logits takes an ensemble's.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import EnsembleTable, TeacherTable
from mobilekd.students.checkpoint import fitted, misfits, read_state
from mobilekd.students.hub import fetch_failure, hub_or_cache
from mobilekd.students.libraries import ELSEWHERE, check_name, library_and_name
from mobilekd.students.surgery import (
    avoid_onednn_overflow,
    drop_imagenet_parts,
    replace_head,
    shrink_classifier,
)
from mobilekd.students.weights import check_weights
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_bytes
from mobilekd.support.progress import say


def check_teacher(table: TeacherTable) -> None:
    """A ``UserError`` where neither library knows the model, or its weights file is missing."""
    check_name(f"teacher {table.model}", table.model)
    check_weights(table.weights)


def build_teacher(table: TeacherTable, classes: int) -> nn.Module:
    """A trainable teacher: normalised float ``[B, 3, H, W]`` -> logits ``[B, classes]``, from its
    weights.

    Not every network takes every size: ``shape_check.check_output_shape`` asks this one.
    """
    check_teacher(table)
    library, name = library_and_name(table.model)
    hub = table.weights == "hub"
    try:
        if library == "torchvision":
            model: nn.Module = torchvision.models.get_model(
                name, weights="DEFAULT" if hub else None, **table.options
            )
        else:
            with hub_or_cache() if hub else nullcontext():
                model = timm.create_model(
                    name, pretrained=hub, num_classes=classes, **table.options
                )
    except Exception as error:  # what constructors raise is as varied as their authors
        reason = str(error).partition("\n")[0] or type(error).__name__
        if name.startswith(ELSEWHERE):
            remedy = "check that its folder or repository is there and holds a config.json"
        elif hub:
            reason = fetch_failure(error) or reason
            remedy = (
                "connect this machine to the network once, or give a file: --set"
                " teachers.0.weights=FILE (0 for the first teacher)"
            )
        else:
            remedy = "change its teachers.options"
        raise UserError(f"teacher {table.model}: cannot be made ({reason}); {remedy}") from None
    if library == "torchvision":
        replace_head(model, f"teacher {table.model}", classes)
        drop_imagenet_parts(model, table.options)
    else:
        shrink_classifier(model)
    avoid_onednn_overflow(model)
    if table.weights and not hub:
        load_matching(model, Path(table.weights))
    return model


def teacher_preprocess(table: TeacherTable, student: Preprocess) -> Preprocess:
    """How the teacher takes a photograph: as its table says, else as the student does.

    Its mean and standard deviation, where the table does not give them, are those of its weights
    from the hub, which timm knows; of a local file nobody knows them.
    """
    mean: tuple[float, ...] = student.mean
    std: tuple[float, ...] = student.std
    library, name = library_and_name(table.model)
    if table.weights == "hub" and library == "timm":
        known = timm.get_pretrained_cfg(name, allow_unregistered=True)
        if known is not None and known.mean and known.std:
            mean, std = known.mean, known.std
    return Preprocess(
        width=table.width or student.width,
        height=table.height or student.height,
        mean=table.mean or (mean[0], mean[1], mean[2]),
        std=table.std or (std[0], std[1], std[2]),
    )


def load_matching(model: nn.Module, path: Path) -> None:
    """Load a weights file, whatever trainer wrote it, where names and shapes fit; say what did
    not.
    """
    state = fitted(path, read_state(path), model)
    own = model.state_dict()
    fits = {
        key: value for key, value in state.items() if key in own and own[key].shape == value.shape
    }
    if len(fits) < len(own) // 2:
        raise UserError(
            f"{path}: {len(fits)} of {len(own)} tensors fit this network; it is another network's"
            " weights file"
        )
    fresh = [name for name in own if name not in fits]
    other = misfits(state, model)
    unused = sum(name not in fits for name in state)
    own.update(fits)  # a plain dictionary has no versions of modules, which MNASNet asks for
    model.load_state_dict(own)
    say(
        f"{path.name}: {len(fits)} of {len(own)} tensors loaded"
        + (f"; fresh: {', '.join(fresh[:4])}" if fresh else "")
        + (f"; of another shape: {', '.join(other[:3])}" if other else "")
        + (f"; {unused} of the file unused" if unused else "")
    )


def save_teacher(model: nn.Module, path: Path) -> None:
    """Write a taught network whole; weights that two layers share (CoaT's) are written twice,
    safetensors knows no sharing.
    """
    from safetensors.torch import save

    write_bytes(
        path,
        save(
            {
                key: value.detach().cpu().contiguous().clone()
                for key, value in model.state_dict().items()
            }
        ),
    )


def load_teacher(model: nn.Module, path: Path) -> None:
    """Load what :func:`save_teacher` wrote of the same network."""
    taught, own = read_state(path), model.state_dict()
    if {key: value.shape for key, value in taught.items()} != {
        key: value.shape for key, value in own.items()
    }:
        raise UserError(
            f"{path}: holds another network than its teacher.json says; remove that folder and"
            " teach it again"
        )
    own.update(taught)  # safetensors has no place for versions of modules, which MNASNet asks for
    model.load_state_dict(own)


class Teacher(nn.Module):
    """A network that can no longer change: in eval mode whatever is called on it, without
    gradients.
    """

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


def combine(
    logits: Sequence[Tensor],
    rule: EnsembleTable,
    weights: Sequence[float],
    recalls: Sequence[Sequence[float]],
) -> Tensor:
    """Several teachers' logits, each ``[B, C]`` -> one teacher's, ``[B, C]``.

    ``mean`` weighs them alike, ``weighted`` by ``weights``, ``per_class`` each class by its
    teachers' recall on validation. One teacher's logits pass unchanged, so a temperature means what
    it does in the papers.
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
