"""An export tried on random weights, before an epoch is spent on a network that no phone would run.

What depends on weights (agreement, noise of rounding) is not judged here; what depends on the
network alone is: whether it lowers, which layers stay outside the delegate or cannot be rounded,
and whether the form that is deployed answers as the one that is trained.
"""

import tempfile
import traceback
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mobilekd.backends import Backend, get, names
from mobilekd.formats import golden
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.constants import constants
from mobilekd.formats.labels import Label
from mobilekd.formats.own_code import is_own
from mobilekd.formats.parity_names import GateId
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import GatesTable
from mobilekd.formats.training_tables import StudentTable
from mobilekd.graphs import torch_graph, torch_nodes
from mobilekd.lowering.checks import check
from mobilekd.lowering.exported import Export
from mobilekd.lowering.locate import first_failure
from mobilekd.lowering.parity import Failure
from mobilekd.students import Deployable, build, deployed
from mobilekd.students.answers import answer_fault, learns_nothing
from mobilekd.students.any_network import fitting_adaptations
from mobilekd.support import provenance
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say
from mobilekd.support.words import in_one_line, unknown
from mobilekd.teachers.shape_check import USUAL_SIDES, shape_error

#: Gates whose value depends on the network alone, whatever its weights.
STRUCTURAL = (
    GateId.PREPROCESSING,
    GateId.DELEGATED_LAYERS,
    GateId.INT8_LAYERS,
    GateId.TRAINING_REMAINS,
    GateId.CONSTANTS,
)
#: Photographs that fill batch norms and calibrate.
DRAWN = 24
#: How far fusing may move a probability: what rounding in float32 does.
MOST_MOVED = 1e-3


#: What the adaptations take away that int8 kernels lack.
FLOAT = {
    "no_se": "squeeze-and-excitation",
    "relu6": "an activation without an int8 kernel",
}


@dataclass(frozen=True)
class Trial:
    """What an export on random weights showed."""

    kind: str  # backend-precision
    bytes: int = 0
    refused: str = ""  # empty where an export has a chance
    outside: tuple[str, ...] = ()  # operators outside the delegate, with their layers
    notes: tuple[str, ...] = ()
    path: Path | None = None  # of the file, where it was asked to stay


def check_exports(table: StudentTable) -> None:
    """A ``UserError`` where ``student.exports`` names a backend or precision that is none."""
    for kind in table.exports:
        _parsed(kind)


def refuse_unlowerable(table: StudentTable, classes: int, preprocess: Preprocess) -> None:
    """Try every export of ``student.exports``; a ``UserError`` where one has no chance. What stays
    outside the delegate is said.
    """
    student = random_student(table, classes, preprocess)
    trials = [try_export(student, kind, classes, preprocess) for kind in table.exports]
    fitting = [name for name in fitting_adaptations(student) if name not in table.adapt]
    for trial in trials:
        words = f"student {table.model}: {trial.kind} on random weights: "
        if not trial.refused:
            outside = f", outside the delegate: {', '.join(trial.outside)}" if trial.outside else ""
            say(f"{words}{trial.bytes:,} bytes{outside}")
        if not trial.refused and "int8" in trial.kind and fitting:
            say(
                f"student {table.model}: {FLOAT[fitting[0]]} costs passes in floating point in"
                f" {trial.kind}; student.adapt={[*table.adapt, *fitting]} spares them"
            )
    refused = [trial for trial in trials if trial.refused]
    if not refused:
        return
    said = "; ".join(f"{trial.kind}: {trial.refused}" for trial in refused)
    rest = [trial.kind for trial in trials if not trial.refused]
    raise UserError(
        f"student {table.model}: would not be exported ({said});"
        f" {_remedy(table, student, refused, classes, preprocess)}set student.exports="
        f"{rest} to train it all the same, or choose another student.model"
    )


def random_student(table: StudentTable, classes: int, preprocess: Preprocess) -> nn.Module:
    """The untrained network in eval mode, its batch norms filled by drawn photographs; a
    ``UserError`` where it does not answer the recipe's size, or nothing could come of it.
    """
    table = table.model_copy(update={"weights": None})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = build(table, classes)
        _refuse_unfit(table, student, classes, preprocess)
        mean, std = (
            torch.tensor(value).view(1, 3, 1, 1) for value in (preprocess.mean, preprocess.std)
        )
        x = (torch.from_numpy(_photographs(preprocess)).float() / 255 - mean) / std
        with torch.no_grad():
            for _ in range(4):
                student.train()(x)
        _refuse_other_form(table, student.eval(), x[:1])
    return student


def _refuse_unfit(
    table: StudentTable, student: nn.Module, classes: int, preprocess: Preprocess
) -> None:
    """A ``UserError`` unless a random ``student`` maps photographs to logits that can be learnt."""
    height, width = preprocess.height, preprocess.width
    wrong = shape_error(student, classes, height, width)
    if wrong is not None:
        raise UserError(
            f"student {table.model}: cannot learn from photographs of {width}x{height} ({wrong});"
            f" {_remedy_of_shape(table, student, classes, height, width)}"
        )
    fault = learns_nothing(student) or answer_fault(
        student, lambda: build(table, classes), height, width
    )
    if fault:
        raise UserError(f"student {table.model}: {fault}")


def _refuse_other_form(table: StudentTable, student: nn.Module, x: Tensor) -> None:
    """A ``UserError`` where an own ``student``'s method fuses it into another network."""
    if not is_own(table.model):
        return  # a library's is measured by the gates
    with torch.no_grad():
        try:
            fused = deployed(student)(x).softmax(1)
        except Exception:  # what the user's own lines raise, every export tells
            return
        moved = (fused - student(x).softmax(1)).abs().max().item()
    if not moved <= MOST_MOVED:
        raise UserError(
            f"student {table.model}: fused for the phone it answers otherwise, by {moved:.2g}; mend"
            " its method reparameterize, fuse or switch_to_deploy, or leave it out"
        )


def _remedy_of_shape(
    table: StudentTable, student: nn.Module, classes: int, height: int, width: int
) -> str:
    """The first change under which a student answers; it was tried."""
    if not is_own(table.model):
        key = "image_size" if table.model.startswith("torchvision:") else "img_size"
        size = height if height == width else [height, width]
        other = table.model_copy(update={"options": {**table.options, key: size}})
        try:
            if shape_error(build(other, classes), classes, height, width) is None:
                return f"set student.options.{key}={size}"
        except UserError:
            pass  # it takes no such option
    for side in USUAL_SIDES:
        if shape_error(student, classes, side, side) is None:
            return f"set preprocess.width={side} and preprocess.height={side}"
    if is_own(table.model):
        return f"mend it: it maps float32 [B, 3, H, W] to logits [B, classes], here [B, {classes}]"
    return "choose another"


def try_export(
    student: nn.Module,
    kind: str,
    classes: int,
    preprocess: Preprocess,
    *,
    photographs: np.ndarray | None = None,
    folder: Path | None = None,
) -> Trial:
    """Lower a ``student`` (eval mode) as ``kind`` and judge what does not depend on its weights.

    ``photographs``, uint8 ``[N, 3, H, W]``, calibrate it, drawn ones by default; the file stays in
    ``folder``, where one is given.
    """
    backend, precision = _parsed(kind)
    if photographs is None:
        photographs = _photographs(preprocess)
    try:
        with nullcontext(folder) if folder else tempfile.TemporaryDirectory() as place:
            trial = _tried(
                student, backend, precision, classes, preprocess, photographs, Path(place)
            )
            return trial if folder else replace(trial, path=None)
    except UserError as error:
        return Trial(kind, refused=str(error))
    except Exception as error:  # compilers raise whatever their authors chose
        return Trial(kind, refused=f"does not lower ({_reason(error)})")


def _reason(error: Exception) -> str:
    """An exception in one line; one without words by where it arose."""
    if words := in_one_line(error)[:300]:
        return f"{type(error).__name__}: {words}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name} of {Path(last.filename).name}"


def _parsed(kind: str) -> tuple[str, str]:
    backend, dash, precision = kind.partition("-")
    for name in sorted(names(), key=len, reverse=True):  # coreml-pte before coreml
        if kind.startswith(f"{name}-"):
            backend, precision = name, kind.removeprefix(f"{name}-")
            break
    if not dash:
        raise UserError(
            f"student.exports {kind}: no precision; write backend-precision, for example"
            " xnnpack-int8"
        )
    if backend not in names():
        raise UserError(unknown(f"student.exports {kind}: backend", backend, names()))
    known = get(backend).precisions
    if precision not in known:
        raise UserError(unknown(f"student.exports {kind}: precision", precision, known))
    return backend, precision


def _photographs(preprocess: Preprocess) -> np.ndarray:
    drawn = [
        np.asarray(golden.photograph(seed, preprocess.width, preprocess.height))
        for seed in range(DRAWN)
    ]
    return np.ascontiguousarray(np.stack(drawn).transpose(0, 3, 1, 2))


def _tried(
    student: nn.Module,
    backend_name: str,
    precision: str,
    classes: int,
    preprocess: Preprocess,
    photographs: np.ndarray,
    folder: Path,
) -> Trial:
    backend, calibration = get(backend_name), Calibration()
    example = torch.zeros(1, 3, preprocess.height, preprocess.width)
    model = Deployable(deployed(student), preprocess, calibration).eval()
    graph = torch_graph.capture(model, example)
    rounded = _rounded(graph, backend, precision, photographs)
    labels = tuple(Label(key=f"class{i}", text=f"class {i}") for i in range(classes))
    inside = constants(
        name="trial",
        backend=backend.name,
        precision=precision,
        labels=labels,
        preprocess=preprocess,
        calibration=calibration,
        outputs=("probabilities",),
        card="random weights",
        student="random",
        versions=provenance.versions(),
    )
    lowered = backend.lower(rounded, example, precision, inside, folder)
    export = Export(
        student=student,
        calibration=calibration,
        preprocess=preprocess,
        backend=backend,
        precision=precision,
        lowered=lowered,
        plain=graph,
        constants=inside,
        golden=_photographs(preprocess)[:4],
        gates=GatesTable(),
        evaluation_set=None,
        float_layers=frozenset(),
        target="RUN",
    )
    report = check(export)
    exact = (GateId.LOWERED_GRAPH, GateId.MAX_ERROR) if precision == "fp32" else ()
    report.gates = [gate for gate in report.gates if gate.name.id in (*STRUCTURAL, *exact)]
    failure = first_failure(export, report)
    delegation = lowered.delegation
    return Trial(
        f"{backend_name}-{precision}",
        lowered.model_path.stat().st_size if lowered.model_path.is_file() else 0,
        _said(failure) if failure else "",
        tuple(_outside(graph, delegation.portable)) if delegation else (),
        lowered.notes,
        lowered.model_path,
    )


def _rounded(
    graph: torch.fx.GraphModule, backend: Backend, precision: str, photographs: np.ndarray
) -> torch.fx.GraphModule:
    """``graph`` as the precision has it: rounded in ranges of ``photographs``, with weights as the
    file stores them, or itself.
    """
    from mobilekd.lowering import quantize  # a second to load, and few students are tried

    quantizer = backend.quantizer(precision, frozenset())
    if quantizer is not None:
        torch_graph.fold_calibration(graph)
        prepared = quantize.prepare(graph, quantizer, "minmax")
        quantize.calibrate(prepared, photographs)
        return quantize.convert(prepared)
    if stored := backend.weights_in(precision):
        return quantize.store_weights(graph, stored, None)[0]
    return graph


def _said(failure: Failure) -> str:
    gate, mismatch = failure.gate, failure.mismatch
    layer = f" at layer {mismatch.layer}" if mismatch else ""
    detail = f"; {failure.detail}" if failure.detail else ""
    limit = f"{gate.value:.4g}, must be {gate.relation} {gate.limit:g}"
    return f"{gate.name.title}: {limit}{layer}{detail}"


def _outside(graph: torch.fx.GraphModule, portable: dict[str, int]) -> list[str]:
    """Operators outside the delegate with the first layers that they come from."""
    layers: dict[str, list[str]] = {}
    for node in graph.graph.nodes:
        if node.op == "call_function" and hasattr(node.target, "_schema"):
            kind = node.target._schema.name.partition("::")[2]
            layers.setdefault(kind, []).append(torch_nodes.layer_name(node))
    found = []
    for name, count in portable.items():
        kind = name.partition("::")[2].partition(".")[0] or name
        places = list(dict.fromkeys(layers.get(kind, ())))
        where = f" ({', '.join(places[:2])}{', ...' if len(places) > 2 else ''})" if places else ""
        found.append(f"{count} {kind}{where}")
    return found


def _remedy(
    table: StudentTable,
    student: nn.Module,
    refused: list[Trial],
    classes: int,
    preprocess: Preprocess,
) -> str:
    """The adaptations that mend all that was refused, tried; empty where none does."""
    fitting = [name for name in fitting_adaptations(student) if name not in table.adapt]
    if not fitting:
        return ""
    wanted = table.model_copy(update={"adapt": (*table.adapt, *fitting)})
    try:
        other = random_student(wanted, classes, preprocess)
    except UserError:
        return ""
    again = [try_export(other, trial.kind, classes, preprocess) for trial in refused]
    if any(trial.refused for trial in again):
        return ""
    return f"set student.adapt={list(wanted.adapt)}, with which it would; or "
