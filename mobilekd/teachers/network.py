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

from mobilekd.formats.own_code import is_own, own_function
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.teacher import PROGRAMS, finished_file
from mobilekd.formats.training_tables import EnsembleTable, TeacherTable
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
from mobilekd.teachers.program import open_program


def check_teacher(table: TeacherTable) -> None:
    """A ``UserError`` where neither library knows the model, there is no such function, or its
    file is missing.
    """
    file = finished_file(table)
    if file is not None:
        if table.weights:
            raise UserError(
                f"teacher {table.model}: weights and a file in trained, and only one can be meant;"
                " leave weights out"
            )
        if not file.is_file():
            raise UserError(
                f"{file}: no such file, or none that you may read; check teachers.N.trained"
            )
        kind = file.suffix.lower().removeprefix(".")
        if (kind in PROGRAMS or table.model in PROGRAMS) and kind != table.model:
            raise UserError(
                f"{file}: {table.model} is no {kind}; set teachers.N.model to"
                f" {kind if kind in PROGRAMS else 'the network that the file is of'}"
            )
    if table.model in PROGRAMS:
        if file is None:
            raise UserError(
                f"teacher {table.model}: a program, and none is given; set teachers.N.trained to"
                f" its file (.{table.model})"
            )
    elif Path(table.model).suffix.lower().removeprefix(".") in PROGRAMS:
        kind = Path(table.model).suffix.lower().removeprefix(".")
        raise UserError(
            f"teacher {table.model}: a file, and model is what it holds; set"
            f" teachers.N.model={kind} and teachers.N.trained={table.model}"
        )
    elif is_own(table.model):
        own_function(table.model, table.code)
    else:
        check_name(f"teacher {table.model}", table.model)
    check_weights(table.weights)


class ChosenClasses(nn.Module):
    """A finished teacher whose classes come in another order, or are more than the data's: its
    logits of the data's classes, in their order.
    """

    def __init__(self, network: nn.Module, own: int, classes: int) -> None:
        """``own`` counts the network's classes, ``classes`` the data's."""
        super().__init__()
        self.network, self.own = network, own
        self.order: Tensor
        self.register_buffer("order", torch.arange(classes))

    def choose(self, own: Sequence[str], wanted: Sequence[str]) -> None:
        """``own`` are the network's classes by key, ``wanted`` the data's."""
        missing = [key for key in wanted if key not in own]
        if missing:
            raise UserError(
                f"teachers.classes: lacks {missing[0]}, a class of the data; known:"
                f" {', '.join(own)}"
            )
        self.order = torch.tensor([list(own).index(key) for key in wanted])

    def forward(self, x: Tensor) -> Tensor:
        """Normalised float ``[B, 3, H, W]`` -> logits ``[B, classes]``; a ``ValueError`` where the
        network has not as many classes as were named.
        """
        answers = self.network(x)
        if answers.shape[1:] != (self.own,):
            raise ValueError(
                f"it gives {list(answers.shape[1:])} answers, and teachers.N.classes names"
                f" {self.own}"
            )
        return answers[:, self.order]


def build_teacher(table: TeacherTable, classes: int, *, finished: bool = False) -> nn.Module:
    """A trainable teacher: normalised float ``[B, 3, H, W]`` -> logits ``[B, classes]``, from its
    weights; with ``finished`` a ``UserError`` unless they are whole, the classifier included.

    Not every network takes every size: ``shape_check.check_output_shape`` asks this one.
    """
    if table.classes:
        whole = table.model_copy(update={"classes": ()})
        own = len(table.classes)
        return ChosenClasses(build_teacher(whole, own, finished=finished), own, classes)
    check_teacher(table)
    file = finished_file(table)
    if table.model in PROGRAMS and file:
        return open_program(table, file)
    if file:
        table = table.model_copy(update={"weights": str(file), "trained": None})
    hub = table.weights == "hub"
    if finished and not table.weights and not is_own(table.model):
        raise UserError(
            f"teacher {table.model}: teach.epochs = 0 takes it as it is, and it has no weights; set"
            " teachers.N.trained to its file"
        )
    try:
        model = _constructed(table, classes)
    except UserError:
        raise
    except Exception as error:  # what constructors raise is as varied as their authors
        raise _not_constructed(table, error) from None
    if finished and hub:
        _refuse_other_classes(table, model, classes)
    if is_own(table.model) or (finished and hub):
        pass  # it starts as its author wrote it, or taught it
    elif library_and_name(table.model)[0] == "torchvision":
        replace_head(model, f"teacher {table.model}", classes)
        drop_imagenet_parts(model, table.options)
    else:
        shrink_classifier(model)
    avoid_onednn_overflow(model)
    if table.weights and not hub:
        load_matching(model, Path(table.weights), whole=finished)
    return model


def _constructed(table: TeacherTable, classes: int) -> nn.Module:
    """The network as its author or its library makes it, with a hub's weights where they are asked
    for.
    """
    hub = table.weights == "hub"
    if is_own(table.model):
        if hub:
            raise UserError(f"teacher {table.model}: has no hub; give a file, or no weights")
        own: nn.Module = own_function(table.model, table.code)(classes, **table.options)
        if not isinstance(own, nn.Module):
            raise TypeError(f"it returns a {type(own).__name__}, not a torch.nn.Module")
        return own
    library, name = library_and_name(table.model)
    if library == "torchvision":
        weights = "DEFAULT" if hub else None
        return torchvision.models.get_model(name, weights=weights, **table.options)
    with hub_or_cache() if hub else nullcontext():
        return timm.create_model(name, pretrained=hub, num_classes=classes, **table.options)


def _not_constructed(table: TeacherTable, error: Exception) -> UserError:
    """What a constructor raised, with what mends it."""
    reason = str(error).partition("\n")[0] or type(error).__name__
    if is_own(table.model):
        remedy = "a teacher is a function (classes, **options) that returns a torch.nn.Module"
    elif library_and_name(table.model)[1].startswith(ELSEWHERE):
        remedy = "check that its folder or repository is there and holds a config.json"
    elif table.weights == "hub":
        reason = fetch_failure(error) or reason
        remedy = (
            "connect this machine to the network once, or give a file: --set"
            " teachers.0.weights=FILE (0 for the first teacher)"
        )
    else:
        remedy = "change its teachers.options"
    return UserError(f"teacher {table.model}: cannot be made ({reason}); {remedy}")


def _refuse_other_classes(table: TeacherTable, model: nn.Module, classes: int) -> None:
    """A finished teacher from a hub must have been made with as many classes."""
    made = getattr(model, "pretrained_cfg", {}).get("num_classes", 1000)  # torchvision: ImageNet
    if made != classes or library_and_name(table.model)[0] == "torchvision":
        raise UserError(
            f"teacher {table.model}: its weights on the hub have {made} classes, and {classes} are"
            " asked for; raise teach.epochs, or give their order in teachers.N.classes"
        )


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


def load_matching(model: nn.Module, path: Path, *, whole: bool = False) -> None:
    """Load a weights file, whatever trainer wrote it, where names and shapes fit; say what did
    not. With ``whole`` all of the network must be in it.
    """
    state = fitted(path, read_state(path), model)
    own = model.state_dict()
    fits = {
        key: value for key, value in state.items() if key in own and own[key].shape == value.shape
    }
    if len(fits) < len(own) // 2:
        what = f"{path}: {len(fits)} of {len(own)} tensors fit this network"
        if fits and len(fits) == len(state):
            raise UserError(
                f"{what}, all that are in it; it is a part of a checkpoint, so join its parts into"
                " one file"
            )
        raise UserError(
            f"{what}; it is another network's weights file (it has {', '.join(list(state)[:2])},"
            f" this one {', '.join(list(own)[:2])})"
        )
    fresh = [name for name in own if name not in fits]
    other = misfits(state, model)
    if whole and fresh:
        lacks = other[0] if other else fresh[0]
        raise UserError(
            f"{path}: lacks {len(fresh)} tensors of this network ({lacks}), and a teacher that"
            " teaches as it is needs all, the classifier included; give the order of its own"
            " classes in teachers.N.classes, or raise teach.epochs"
        )
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
