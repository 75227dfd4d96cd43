"""From a student in floating point to the graph that is lowered: which layers round, with what
ranges, learnt from what.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mobilekd.backends import Backend
from mobilekd.formats.recipe import Recipe
from mobilekd.graphs import torch_graph, torch_nodes
from mobilekd.inference.evaluation_set import EvaluationSet
from mobilekd.lowering import quantize
from mobilekd.lowering.decisions import needed_for_agreement, needed_for_drop
from mobilekd.lowering.quantize.simulate import answers
from mobilekd.metrics import paired_difference, weighted
from mobilekd.students import Deployable
from mobilekd.support.errors import GateError, UserError
from mobilekd.support.progress import say
from mobilekd.support.provenance import versions
from mobilekd.support.words import unknown
from mobilekd.training.ensemble import TeacherEnsemble
from mobilekd.training.experiment import Experiment
from mobilekd.training.parallel import World

#: Training photographs kept out of calibration, to choose the epoch of quantisation-aware training
#: by; fewer where there are few.
HELD_OUT = 64

#: What just agrees enough on validation fails on the test split every other time; with this many
#: standard errors to spare, one in ten.
SPARE = 1.28

#: Steps of training with rounding, at most, and photographs in each, that export spends by itself
#: on an int8 file whose decisions were refused.
RETRY_STEPS, RETRY_BATCH = 300, 32


@dataclass(frozen=True, eq=False)
class BackendInput:
    """What goes to the backend, and what there is to say about it."""

    model: torch.fx.GraphModule
    plain: torch.fx.GraphModule  # the graph in floating point whose layers mean what the other's do
    float_layers: frozenset[str] = frozenset()
    sensitivity: tuple[dict[str, Any], ...] = ()
    frozen: quantize.Frozen | None = None
    notes: tuple[str, ...] = field(default=())


def prepare(
    model: Deployable,
    example: Tensor,
    backend: Backend,
    precision: str,
    recipe: Recipe,
    evaluation_set: EvaluationSet | None,
    frozen: quantize.Frozen | None,
    folder: Path,
    *,
    retrained: bool = False,
) -> BackendInput:
    """``model`` is the Deployable; ``folder`` the run's, where its teachers may be.

    Frozen parameters win over a new calibration, so a reference is always the same file.
    ``retrained`` is the second try of a refused int8: trained with its rounding for ``RETRY_STEPS``
    steps.
    """
    graph = torch_graph.capture(model, example)
    quantizer = backend.quantizer(precision, frozen.float_layers if frozen else frozenset())
    if quantizer is None:
        stored = backend.weights_in(precision)
        if stored is None:
            return BackendInput(graph, graph)
        if frozen is not None:
            return BackendInput(
                quantize.unpack_weights(graph, frozen.tensors),
                graph,
                frozen=frozen,
                notes=(*frozen.notes, "rounded weights were frozen"),
            )
        return _stored(graph, stored, recipe, evaluation_set)
    torch_graph.fold_calibration(graph)
    named = _named_layers(graph, precision, recipe, frozen)
    if frozen is not None:
        return _thawed(graph, backend, precision, example, frozen)
    if evaluation_set is None:
        unrounded = next(one for one in ("fp32", "fp16") if one in backend.precisions)
        raise UserError(
            f"--precision {precision}{' with --cam' if model.cam else ''} needs training"
            " photographs to calibrate on, and the data is not here; name its folder with"
            f" --set data.root=FOLDER, {'leave --cam out, ' if model.cam else ''}or export"
            f" --precision {unrounded}"
        )
    options = recipe.quantize
    photographs = evaluation_set.calibration(options.calibration + HELD_OUT)
    cut = max(1, min(options.calibration, len(photographs) * 3 // 4))
    photographs, held = photographs[:cut], photographs[cut:]
    notes = [
        f"calibrated on {len(photographs)} training photographs, classes in turn,"
        f" {options.observer} observers"
    ]
    prepared = quantize.prepare(graph, quantizer, options.observer)
    quantize.calibrate(prepared, photographs)
    float_layers: frozenset[str] = frozenset()
    table: list[quantize.Sensitivity] = []
    corrected, said = (
        quantize.correct(graph, prepared, photographs) if options.correction else (prepared, "")
    )
    if precision == "mixed":
        if named:
            float_layers = named
            chosen = "named by quantize.float_layers"
            count = len(list(torch_nodes.heavy_nodes(graph)))
        else:
            float_layers, table = _mixed(graph, prepared, corrected, evaluation_set, recipe)
            chosen, count = "chosen on validation", len(table)
        left = ", ".join(sorted(float_layers)) or "none is needed, int8 passes there"
        notes.append(f"{len(float_layers)} of {count} layers in floating point, {chosen}: {left}")
        if float_layers:
            prepared = quantize.prepare(
                graph, backend.quantizer(precision, float_layers), options.observer
            )
            quantize.calibrate(prepared, photographs)
            corrected, said = (
                quantize.correct(graph, prepared, photographs)
                if options.correction
                else (prepared, "")
            )
    prepared = corrected
    notes += [said] if said else []
    if precision == "int8-qat":
        training = np.asarray(evaluation_set.training())
        notes.append(
            quantize.train(
                graph,
                prepared,
                training,
                held,
                teacher=_teachers(folder, evaluation_set, recipe, graph),
                epochs=options.qat_epochs,
                lr=options.qat_lr,
                seed=recipe.seed,
            )
        )
    elif retrained:
        rows = max(RETRY_BATCH, RETRY_STEPS * RETRY_BATCH // options.qat_epochs)
        notes.append(
            quantize.train(
                graph,
                prepared,
                evaluation_set.calibration(rows),
                held,
                teacher=None,
                epochs=options.qat_epochs,
                lr=options.qat_lr,
                batch_size=RETRY_BATCH,
                seed=recipe.seed,
            )
        )
    converted = quantize.convert(prepared)
    names = _range_names(graph, backend, precision, example, float_layers)
    return BackendInput(
        converted,
        graph,
        float_layers=float_layers,
        sensitivity=tuple(
            {**item.to_dict(), "left_in_float": item.layer in float_layers} for item in table
        ),
        frozen=quantize.freeze(converted, float_layers, tuple(notes), names),
        notes=tuple(notes),
    )


def _named_layers(
    graph: torch.fx.GraphModule, precision: str, recipe: Recipe, frozen: quantize.Frozen | None
) -> frozenset[str]:
    """``quantize.float_layers``; a ``UserError`` where they cannot be left in floating point."""
    named = recipe.quantize.float_layers
    if not named:
        return frozenset()
    key = "quantize.float_layers"
    if precision != "mixed":
        raise UserError(
            f"{key}: --precision {precision} rounds every layer; export --precision mixed, or leave"
            f" {key} out"
        )
    known = {torch_nodes.layer_name(node) for node in torch_nodes.heavy_nodes(graph)}
    for name in named:
        if name not in known:
            raise UserError(unknown(f"{key}: layer {name}", name, sorted(known)))
    if frozen is not None and frozen.float_layers != frozenset(named):
        raise UserError(
            f"{key}: the parameters that were frozen leave other layers in floating point, and"
            " others need the training photographs; name their folder with --set data.root=FOLDER,"
            f" or leave {key} out"
        )
    return frozenset(named)


def _stored(
    graph: torch.fx.GraphModule, stored: str, recipe: Recipe, evaluation_set: EvaluationSet | None
) -> BackendInput:
    """Weights rounded to what the file stores, by what they do on training photographs where there
    are some.
    """
    photographs = (
        evaluation_set.calibration(recipe.quantize.calibration)
        if evaluation_set and recipe.quantize.correction
        else None
    )
    rounded, note = quantize.store_weights(graph, stored, photographs)
    made = {name: versions()[name] for name in ("torch", "executorch")}
    kept = quantize.Frozen(frozenset(), {}, quantize.pack_weights(rounded), (note,), made)
    return BackendInput(rounded, graph, frozen=kept, notes=(note,))


def frozen_key(backend: Backend, precision: str) -> str:
    """Under what name a run keeps the parameters of a precision: backends that store weights alike
    share them.
    """
    stored = backend.weights_in(precision)
    return f"stored-{stored}" if stored else precision


def _thawed(
    graph: torch.fx.GraphModule,
    backend: Backend,
    precision: str,
    example: Tensor,
    frozen: quantize.Frozen,
) -> BackendInput:
    layers = frozen.float_layers
    converted = quantize.thaw(
        _converted(graph, backend, precision, example, layers),
        frozen,
        _range_names(graph, backend, precision, example, layers),
    )
    return BackendInput(
        converted,
        graph,
        float_layers=frozen.float_layers,
        frozen=frozen,
        notes=(*frozen.notes, "quantisation parameters were frozen"),
    )


def _converted(
    graph: torch.fx.GraphModule,
    backend: Backend,
    precision: str,
    example: Tensor,
    float_layers: frozenset[str],
) -> torch.fx.GraphModule:
    """The graph rounded by one example, whose ranges nobody uses."""
    prepared = quantize.prepare(graph, backend.quantizer(precision, float_layers), "minmax")
    quantize.calibrate(prepared, example.numpy().astype(np.uint8))
    return quantize.convert(prepared)


def _range_names(
    graph: torch.fx.GraphModule,
    backend: Backend,
    precision: str,
    example: Tensor,
    float_layers: frozenset[str],
) -> list[str] | None:
    """Under what names the graph's parameters are kept; None where it has no guard."""
    plain = torch_nodes.without_guard(graph)
    if plain is graph:
        return None
    return quantize.range_names(_converted(plain, backend, precision, example, float_layers))


def _teachers(
    folder: Path, evaluation_set: EvaluationSet, recipe: Recipe, graph: torch.fx.GraphModule
) -> Callable[[Tensor, np.ndarray], Tensor] | None:
    """Half the run's teachers, half the student in floating point, which is what the rounded one
    must agree with.

    The teachers judge each photograph once, as it is; training flips it, which changes no
    diagnosis. None where the teachers' weights are not with the run.
    """
    if not recipe.teachers:
        return None
    try:
        experiment = Experiment(
            evaluation_set.dataset,
            evaluation_set.split,
            evaluation_set.preprocess,
            recipe.augment,
            recipe.seed,
            recipe.data,
            recipe.unlabelled_photographs,
        )
        ensemble = TeacherEnsemble.open(
            recipe.teachers,
            recipe.ensemble,
            recipe.train,
            experiment,
            folder,
            folder / "teachers",
            World.from_environment(),
        )
        known = torch.softmax(torch.from_numpy(ensemble.logits(evaluation_set.split.train)), 1)
    except UserError as reason:
        say(f"export: {reason}; the student in floating point teaches alone")
        return None

    def teacher(batch: Tensor, rows: np.ndarray) -> Tensor:
        own = graph(batch)
        return ((own[0] if isinstance(own, tuple) else own) + known[rows]) / 2

    return teacher


def _mixed(
    graph: torch.fx.GraphModule,
    prepared: torch.fx.GraphModule,
    corrected: torch.fx.GraphModule,
    evaluation_set: EvaluationSet,
    recipe: Recipe,
) -> tuple[frozenset[str], list[quantize.Sensitivity]]:
    """None in floating point where int8 as it would be shipped passes; else chosen on the
    uncorrected graph, one layer at a time.
    """
    pictures = evaluation_set.validation()
    reference = answers(graph, pictures.inputs)
    ones = np.ones((1, len(pictures.truth)))

    def balanced_accuracy(given: np.ndarray) -> float:
        return float(weighted.balanced_accuracy(pictures.truth, given.astype(float), ones)[0])

    with quantize.Simulation(prepared) as simulation:
        table = quantize.sensitivities(simulation, pictures.inputs, reference, balanced_accuracy)
        accept = acceptance(reference, pictures.truth, pictures.lesions, recipe, evaluation_set)
    with quantize.Simulation(corrected) as shipped:
        if accept(shipped.answers(pictures.inputs)):
            return frozenset(), table
    with simulation:
        chosen = quantize.choose(simulation, table, pictures.inputs, accept)
    if len(chosen) == len(table):
        raise GateError(
            f"{recipe.name}: mixed precision saves nothing, since on validation no layer of"
            f" {len(table)} may be rounded; nothing was written; export --precision fp32, or"
            " train a student that int8 suits (student.adapt: no_se, relu6, bounded)"
        )
    return chosen, table


def acceptance(
    reference: np.ndarray,
    truth: np.ndarray,
    lesions: tuple[str, ...],
    recipe: Recipe,
    evaluation_set: EvaluationSet,
) -> Callable[[np.ndarray], bool]:
    """The gates on validation, agreement with room for what a choice on other photographs can miss.

    It must lie above its gate by ``SPARE`` standard errors of a difference between validation's and
    the test split's; of the accuracy drop counts the bound that as many photographs as are in the
    test split would give, were they like validation's. Where the test split is too small to decide
    a gate, its room is not asked for: agreement itself must reach the limit, and the drop must not
    be ruled out.
    """
    here, there = len(truth), max(1, len(evaluation_set.split.test))
    narrower = math.sqrt(here / there)
    gates = recipe.gates
    wanted = gates.agreement
    if there >= needed_for_agreement(wanted):
        spare = SPARE * math.sqrt(wanted * (1 - wanted) * (1 / here + 1 / there))
        wanted = min(1.0, wanted + spare)
    few = there < needed_for_drop(gates.accuracy_drop, gates.agreement)

    def accept(given: np.ndarray) -> bool:
        agreement = float(np.mean(given.argmax(1) == reference.argmax(1)))
        drop = paired_difference(
            "balanced_accuracy", truth, reference, given, lesions, evaluation_set.dataset.classes
        )
        if drop.value is None or drop.high is None:
            return False
        if few:
            close = drop.low is not None and drop.low <= gates.accuracy_drop
        else:
            close = drop.value + (drop.high - drop.value) * narrower < gates.accuracy_drop
        return agreement >= wanted and close

    return accept
