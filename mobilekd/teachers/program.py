"""Teachers that are programs and no networks: ONNX files, in ONNX Runtime, and ``.pt2`` files of
``torch.export``.

They answer and have no layers to look at. A file is taken as it is: its batch may be fixed, its
pixels may come last (TensorFlow's order), its answers may be probabilities, and what is none of
these is refused. Both kinds run on the processor.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.training_tables import TeacherTable
from mobilekd.students.answers import NOISE, are_probabilities
from mobilekd.students.checkpoint import what_it_is
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say

#: What ``teachers.N.options`` may say of a program.
OPTIONS = ("output", "probabilities")

#: How far a photograph's answer alone and among others may lie apart, as a share of the largest
#: logit: what rounding does, in half precision, too.
ALONE = 0.02

#: Probabilities below count as this, so that their logarithm is finite.
SMALLEST = 1e-12


@dataclass(frozen=True)
class Opened:
    """A program ready to answer: what it takes, and a function from one batch to its outputs."""

    shape: tuple[int | None, ...]  # of its input; None where any length fits
    dtype: torch.dtype
    outputs: tuple[str, ...]
    run: Callable[[Tensor], Sequence[Tensor]]


class Program(nn.Module):
    """A program as a network without weights: normalised float ``[B, 3, H, W]`` -> logits
    ``[B, C]``.
    """

    def __init__(self, path: Path, kind: str, options: dict[str, Any]) -> None:
        """``kind`` is ``onnx`` or ``pt2``; a file that is none, or takes no photograph, is a
        ``UserError``.
        """
        super().__init__()
        unknown = [key for key in options if key not in OPTIONS]
        if unknown:
            raise UserError(
                f"teacher {kind}: options.{unknown[0]}: a program takes {' and '.join(OPTIONS)}"
            )
        # a tuple keeps torch from making the program a part of this module: it cannot be trained,
        # and refuses to be told so
        self.opened = (OPENERS[kind](path),)
        program = self.opened[0]
        if len(program.shape) != 4 or not program.dtype.is_floating_point:
            raise UserError(
                f"{path}: takes {list(program.shape)} {program.dtype}, and a teacher takes"
                " photographs as float [B, 3, H, W]; export it from there"
            )
        self.output = _chosen(path, program.outputs, options.get("output"))
        self.probabilities = options.get("probabilities", False)
        if not isinstance(self.probabilities, bool):
            raise UserError(
                f"teacher {kind}: options.probabilities is {self.probabilities!r}; write true or"
                " false"
            )
        self.channels_last = program.shape[3] == 3 and program.shape[1] != 3

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Program":
        """A program has nothing that could change, so a copy is the same."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """As many runs as a fixed batch asks for; the last one is filled up with its first
        photograph.
        """
        program = self.opened[0]
        given = x.detach().to("cpu", program.dtype).contiguous()
        if self.channels_last:
            given = given.permute(0, 2, 3, 1).contiguous()
        size = program.shape[0] or max(len(given), 1)
        answers = []
        for part in given.split(size):
            missing = size - len(part)
            full = torch.cat([part, part[:1].expand(missing, -1, -1, -1)]) if missing else part
            answers.append(program.run(full)[self.output][: len(part)])
        logits = torch.cat(answers).float().to(x.device)
        return logits.clamp_min(SMALLEST).log() if self.probabilities else logits


def check_program(model: nn.Module, index: int, preprocess: Preprocess) -> None:
    """A ``UserError`` where a program's answers are probabilities and ``options`` do not say so,
    or the other way round. ``model`` may have a program inside.
    """
    program = next((each for each in model.modules() if isinstance(each, Program)), None)
    if program is None:
        return
    noise = torch.randn(
        NOISE,
        3,
        preprocess.height,
        preprocess.width,
        generator=torch.Generator().manual_seed(0),
    )
    answers = program(noise)
    if program.probabilities:
        answers = answers.exp()
    are = are_probabilities(answers)
    if are and not program.probabilities:
        raise UserError(
            f"teachers.{index}: its answers are probabilities (they sum to 1), and losses take"
            f" logits; set teachers.{index}.options.probabilities=true"
        )
    if program.probabilities and not are:
        raise UserError(
            f"teachers.{index}: options.probabilities is set, and its answers sum to other than 1;"
            " leave it out"
        )
    if not are and answers.min().item() >= 0 and answers.max().item() <= 1:
        say(
            f"teachers.{index}: all its answers to noise lie between 0 and 1, and losses take"
            " logits; where a sigmoid makes them, export it without"
        )


def check_alone(model: nn.Module, name: str, preprocess: Preprocess) -> None:
    """A ``UserError`` where a finished teacher's answer to a photograph depends on its neighbours
    in the batch, or on chance: a program that was saved in training mode.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(NOISE, 3, preprocess.height, preprocess.width, generator=generator)
    noise[1:] = noise[1:] * 3 + 2  # brighter, so that a batch's own statistics are others
    device = next((each.device for each in model.parameters()), noise.device)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        among = model(noise.to(device))[:1].float()
        alone, again = (model(noise[:1].to(device)).float() for _ in range(2))
    allowed = ALONE * max(among.abs().max().item(), alone.abs().max().item())
    # what is not finite is another fault's to name
    if max((alone - among).abs().max().item(), (alone - again).abs().max().item()) > allowed:
        raise UserError(
            f"teacher {name}: its answer to a photograph changes with the other photographs of the"
            " batch, or from call to call; it was saved in training mode, so call model.eval()"
            " before it is exported"
        )


def is_program(model: nn.Module) -> bool:
    """Whether a teacher is a program, or has one inside."""
    return any(isinstance(each, Program) for each in model.modules())


def _chosen(path: Path, names: Sequence[str], output: Any) -> int:
    """Which output holds the answers, by its name or number; the only one where none is given."""
    if output is None and len(names) == 1:
        return 0
    if output in names:
        return names.index(output)
    if isinstance(output, int) and not isinstance(output, bool) and 0 <= output < len(names):
        return output
    asked = "" if output is None else f", and none is called {output}"
    raise UserError(
        f"{path}: has {len(names)} outputs{asked}: {', '.join(names)}; set"
        " teachers.N.options.output to the one with the answers"
    )


def _onnx(path: Path) -> Opened:
    try:
        import onnxruntime
    except ImportError:
        raise UserError(
            f"teacher onnx: {path} needs ONNX Runtime, which is not installed; run"
            " pip install 'mobilekd[onnx]'"
        ) from None
    _refuse_another(path, "ONNX network")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 4  # its errors are raised as well
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime raises a dozen types
        reason = str(error).partition("\n")[0]
        if "external" in reason.lower() or "model_path" in reason:
            raise UserError(
                f"{path}: keeps its weights in another file; write it as one file"
                " (torch.onnx.export(..., external_data=False))"
            ) from None
        raise UserError(
            f"{path}: not an ONNX file that ONNX Runtime opens ({reason}); export it again"
        ) from None
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise _inputs(path, [each.name for each in inputs])
    numpy = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
    kind = numpy.get(inputs[0].type)
    if kind is None:
        raise UserError(
            f"{path}: takes {inputs[0].type}, and a teacher takes photographs as float"
            " [B, 3, H, W]; export it from there"
        )
    name = inputs[0].name
    return Opened(
        tuple(each if isinstance(each, int) else None for each in inputs[0].shape),
        getattr(torch, kind),
        tuple(each.name for each in session.get_outputs()),
        lambda x: [
            torch.from_numpy(np.ascontiguousarray(each))
            for each in session.run(None, {name: x.numpy()})
        ],
    )


def _pt2(path: Path) -> Opened:
    from torch.export.graph_signature import InputKind, OutputKind, TensorArgument

    _refuse_another(path, ".pt2")
    try:
        with _shut_pickles(), _silent("torch.export"):
            exported = torch.export.load(path)
        program = exported.module()
    except Exception as error:  # torch raises a dozen types
        reason = str(error).partition("\n")[0] or type(error).__name__
        if "warnings above" in reason:  # they are kept silent
            reason = "it holds no program"
        raise UserError(
            f"{path}: not a .pt2 file that this torch opens ({reason}); save it again with"
            " torch.export.save, or, where it holds weights, set teachers.N.model to their network"
        ) from None
    asked = [
        spec.arg.name
        for spec in exported.graph_signature.input_specs
        if spec.kind == InputKind.USER_INPUT
    ]
    if len(asked) != 1:
        raise _inputs(path, asked)
    value = next(node.meta.get("val") for node in exported.graph.nodes if node.name == asked[0])
    if not isinstance(value, Tensor):
        raise _inputs(path, asked)

    given = [
        spec.arg
        for spec in exported.graph_signature.output_specs
        if spec.kind == OutputKind.USER_OUTPUT
    ]
    tensors = [i for i, each in enumerate(given) if isinstance(each, TensorArgument)]

    def run(x: Tensor) -> list[Tensor]:
        with torch.no_grad():
            leaves = tree_leaves(program(x))  # None and numbers among them
        return [leaves[i] for i in tensors]

    return Opened(
        tuple(each if isinstance(each, int) else None for each in value.shape),
        value.dtype,
        tuple(given[i].name for i in tensors),
        run,
    )


def _refuse_another(path: Path, wanted: str) -> None:
    """A ``UserError`` that names what a file is, where it begins as another kind of file."""
    other = what_it_is(path)
    if other and wanted not in other:
        raise UserError(f"{path}: {other}; give the program itself")


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """torch logs a traceback of what it raises as well."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def _shut_pickles() -> Iterator[None]:
    """torch reads tensors only, whatever a file asks for: a pickle in it runs nothing."""
    key = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(key)
    os.environ[key] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[key]
        else:
            os.environ[key] = before


def _inputs(path: Path, names: Sequence[str]) -> UserError:
    return UserError(
        f"{path}: takes {len(names)} inputs ({', '.join(names)}), and a teacher takes photographs"
        " alone; export it with one"
    )


OPENERS: dict[str, Callable[[Path], Opened]] = {"onnx": _onnx, "pt2": _pt2}


def open_program(table: TeacherTable, path: Path) -> Program:
    """The program at ``path`` of a teacher's table, whose model is its kind."""
    return Program(path, table.model, table.options)
