"""Mixed precision: the layers that stay in floating point, as the recipe names them or as
validation wants them.
"""

import math
from collections.abc import Callable

import numpy as np
import torch

from mobilekd.formats.recipe import Recipe
from mobilekd.graphs import torch_nodes
from mobilekd.inference.evaluation_set import EvaluationSet
from mobilekd.lowering import quantize
from mobilekd.lowering.decisions import needed_for_agreement, needed_for_drop
from mobilekd.lowering.quantize.simulate import answers
from mobilekd.metrics import paired_difference, weighted
from mobilekd.support.errors import GateError, UserError
from mobilekd.support.words import unknown

#: What just agrees enough on validation fails on the test split every other time; with this many
#: standard errors to spare, one in ten.
SPARE = 1.28


def named_layers(
    graph: torch.fx.GraphModule, precision: str, recipe: Recipe, frozen: quantize.Frozen | None
) -> frozenset[str]:
    """The recipe's ``quantize.float_layers``; a ``UserError`` where they cannot be left in floating
    point.
    """
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


def chosen_layers(
    graph: torch.fx.GraphModule,
    prepared: torch.fx.GraphModule,
    corrected: torch.fx.GraphModule,
    evaluation_set: EvaluationSet,
    recipe: Recipe,
) -> tuple[frozenset[str], list[quantize.Sensitivity]]:
    """The layers that validation wants in floating point, and what each layer costs when it is
    rounded alone.

    ``corrected`` is int8 as it would be shipped: where it passes, no layer is chosen. Else they are
    chosen one at a time on ``prepared``, which was calibrated and not corrected.
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
