"""From a student in floating point to the graph that is lowered: which layers round, with what
ranges, learnt from what.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mobilekd.backends import Backend
from mobilekd.formats.recipe import Recipe
from mobilekd.graphs import torch_graph, torch_nodes
from mobilekd.inference.evaluation_set import EvaluationSet
from mobilekd.lowering import quantize
from mobilekd.lowering.float_layers import chosen_layers, named_layers
from mobilekd.lowering.quantize.qat import Teacher
from mobilekd.students import Deployable
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say
from mobilekd.support.provenance import versions
from mobilekd.training.ensemble import TeacherEnsemble
from mobilekd.training.experiment import Experiment
from mobilekd.training.parallel import World

#: Training photographs kept out of calibration, to choose the epoch of quantisation-aware training
#: by; fewer where there are few.
HELD_OUT = 64

#: Photographs in each step of training with rounding.
BATCH = 32

#: Steps of it, at most, that export spends by itself on an int8 file whose decisions were refused.
RETRY_STEPS = 300


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
    named = named_layers(graph, precision, recipe, frozen)
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
    rounding = _Rounding(graph, backend, precision, recipe, evaluation_set)
    return rounding.backend_input(example, named, folder, retrained=retrained)


class _Rounding:
    """A graph whose layers round, in ranges learnt from training photographs."""

    def __init__(
        self,
        graph: torch.fx.GraphModule,
        backend: Backend,
        precision: str,
        recipe: Recipe,
        evaluation_set: EvaluationSet,
    ) -> None:
        self.graph, self.backend, self.precision = graph, backend, precision
        self.recipe, self.options, self.evaluation_set = recipe, recipe.quantize, evaluation_set
        photographs = evaluation_set.calibration(self.options.calibration + HELD_OUT)
        cut = max(1, min(self.options.calibration, len(photographs) * 3 // 4))
        self.photographs, self.held = photographs[:cut], photographs[cut:]

    def backend_input(
        self, example: Tensor, named: frozenset[str], folder: Path, *, retrained: bool
    ) -> BackendInput:
        """Calibrate, correct, choose layers and train, as far as the precision asks for it; then
        convert.
        """
        notes = [
            f"calibrated on {len(self.photographs)} training photographs, classes in turn,"
            f" {self.options.observer} observers"
        ]
        float_layers, table = named, list[quantize.Sensitivity]()
        calibrated = self._calibrated(named)
        if self.precision == "mixed":
            if not named:
                float_layers, table = chosen_layers(
                    self.graph,
                    calibrated.plain,
                    calibrated.corrected,
                    self.evaluation_set,
                    self.recipe,
                )
                if float_layers:
                    calibrated = self._calibrated(float_layers)
            notes.append(self._mixed_note(float_layers, table))
        if calibrated.note:
            notes.append(calibrated.note)
        prepared = calibrated.corrected
        if self.precision == "int8-qat":
            teacher = _teachers(folder, self.evaluation_set, self.recipe, self.graph)
            photographs = np.asarray(self.evaluation_set.training())
            notes.append(self._train(prepared, photographs, teacher))
        elif retrained:
            count = max(BATCH, RETRY_STEPS * BATCH // self.options.qat_epochs)
            notes.append(self._train(prepared, self.evaluation_set.calibration(count), None))
        converted = quantize.convert(prepared)
        names = _range_names(self.graph, self.backend, self.precision, example, float_layers)
        return BackendInput(
            converted,
            self.graph,
            float_layers=float_layers,
            sensitivity=tuple(
                {**item.to_dict(), "left_in_float": item.layer in float_layers} for item in table
            ),
            frozen=quantize.freeze(converted, float_layers, tuple(notes), names),
            notes=tuple(notes),
        )

    def _calibrated(self, float_layers: frozenset[str]) -> "_Calibrated":
        """Observers have seen the photographs; ``float_layers`` have none."""
        quantizer = self.backend.quantizer(self.precision, float_layers)
        plain = quantize.prepare(self.graph, quantizer, self.options.observer)
        quantize.calibrate(plain, self.photographs)
        if not self.options.correction:
            return _Calibrated(plain, plain, "")
        return _Calibrated(plain, *quantize.correct(self.graph, plain, self.photographs))

    def _mixed_note(
        self, float_layers: frozenset[str], table: Sequence[quantize.Sensitivity]
    ) -> str:
        """Which layers stay in floating point, and who chose them: validation, if it left a
        ``table``.
        """
        if table:
            chosen, count = "chosen on validation", len(table)
        else:
            chosen = "named by quantize.float_layers"
            count = len(list(torch_nodes.heavy_nodes(self.graph)))
        left = ", ".join(sorted(float_layers)) or "none is needed, int8 passes there"
        return f"{len(float_layers)} of {count} layers in floating point, {chosen}: {left}"

    def _train(
        self, prepared: torch.fx.GraphModule, photographs: np.ndarray, teacher: Teacher | None
    ) -> str:
        """Train ``prepared`` in place with its rounding; what came out, in words."""
        return quantize.train(
            self.graph,
            prepared,
            photographs,
            self.held,
            teacher=teacher,
            epochs=self.options.qat_epochs,
            lr=self.options.qat_lr,
            batch_size=BATCH,
            seed=self.recipe.seed,
        )


class _Calibrated(NamedTuple):
    """A graph whose observers know their ranges."""

    plain: torch.fx.GraphModule
    corrected: torch.fx.GraphModule  # the same as ``plain`` without correction
    note: str  # what correction did; empty without


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
) -> Teacher | None:
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
