"""Weights as Core ML stores them, for arithmetic that stays in floating point: float16, int8 with a
step per output channel, or a palette.

float16 holds eleven bits, which sounds like plenty. But a depthwise filter that looks for an edge
takes nearly equal neighbours from each other: its weights are large, their sum is next to nothing,
and so rounding each weight on its own moves the sum by a multiple of it. A layer's bias counts as
one more weight, whose input is always 1, and the weights are rounded together
(:mod:`mobilekd.lowering.quantize.rounding`), so that the mean is kept as well.

A palette holds the at most 64 values that a layer's weights may have, chosen by k-means; which of
them each weight takes is decided in the same way, so that the others make up for it.
"""

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, fx

from mobilekd.graphs import torch_nodes
from mobilekd.lowering.quantize.ptq import SEEN, best, split
from mobilekd.lowering.quantize.rounding import (
    LARGEST,
    better_rows,
    int8,
    round_columns,
    statistics,
)
from mobilekd.support.errors import UserError

#: A row of weights below this is left to rounding one by one: its int8 step would be too small a
#: number for float16.
SMALLEST = 1e-3
#: Values of a layer's palette, six bits, and the least weights for which coremltools makes one; a
#: smaller layer stays float16.
PALETTE, LEAST_PALETTE = 64, 2048


def store_weights(
    graph: fx.GraphModule, stored: str, photographs: np.ndarray | None
) -> tuple[fx.GraphModule, str]:
    """A copy of a captured graph whose layers hold weights as a file does that has them in
    ``stored``, and a word about them.

    ``stored`` is ``float16``, ``int8`` or ``palette``; biases are float16 in all. ``photographs``
    uint8 ``[N, 3, H, W]`` show what each layer's inputs are like; three quarters of them round, one
    quarter decides whether that is better than rounding one by one. Without them each weight is
    rounded to nearest.
    """
    plain = _rounded(graph, stored, {})
    if photographs is None:
        return plain, f"weights rounded to {stored} one by one, without photographs"
    seen, held = split(photographs)
    known = statistics(graph, seen[:SEEN])
    candidates = {
        f"weights rounded to {stored} one by one": plain,
        f"weights of {len(known)} layers, rounded to {stored} by their outputs' error": _rounded(
            graph, stored, known
        ),
    }
    return best(graph, candidates, held)


def pack_weights(rounded: fx.GraphModule) -> dict[str, Tensor]:
    """The layers' weights and biases of what :func:`store_weights` gave, as small as they can be
    kept without changing a bit: float16, int8 with a step per output channel, or a table with an
    index per weight.
    """
    packed: dict[str, Tensor] = {}
    for name in _names(rounded):
        packed |= {f"{name}{part}": value for part, value in _packed(rounded, name).items()}
    return packed


def unpack_weights(graph: fx.GraphModule, packed: Mapping[str, Tensor]) -> fx.GraphModule:
    """A copy of a captured graph with the weights that :func:`pack_weights` took."""
    rounded = copy.deepcopy(graph)
    for name in _names(rounded):
        old = torch_nodes.tensor_of(rounded, _node(rounded, name))
        try:
            if TABLE in (parts := _parts(packed, name)):
                new = parts[TABLE].float()[parts[CODES].long()]
            elif STEP in parts:
                new = parts[CODES].float() * parts[STEP]
            else:
                new = parts[""].float()
            torch_nodes.set_tensor(rounded, name, new.reshape(old.shape))
        except (KeyError, IndexError, RuntimeError):
            raise UserError(
                f"{name}: kept for another graph; export with the data at hand, or use the versions"
                " that quantization.json names"
            ) from None
    return rounded


#: Endings of the parts in which a packed tensor is kept; one that is kept whole has none.
CODES, STEP, TABLE = "#codes", "#step", "#table"


def _names(graph: fx.GraphModule) -> list[str]:
    nodes = [
        node
        for layer in torch_nodes.heavy_nodes(graph)
        for node in (layer.args[1], torch_nodes.argument(layer, 2, None))
    ]
    return sorted({str(node.target) for node in nodes if isinstance(node, fx.Node)})


def _node(graph: fx.GraphModule, name: str) -> fx.Node:
    return next(
        node for node in graph.graph.nodes if node.op == "get_attr" and str(node.target) == name
    )


def _parts(packed: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {part: packed[name + part] for part in ("", CODES, STEP, TABLE) if name + part in packed}


def _packed(graph: fx.GraphModule, name: str) -> dict[str, Tensor]:
    value = torch_nodes.tensor_of(graph, _node(graph, name)).detach().contiguous()
    table, codes = value.flatten().unique(return_inverse=True)
    if len(table) <= 256 and value.numel() >= LEAST_PALETTE:
        return {TABLE: table, CODES: codes.to(torch.uint8)}
    if torch.equal(_float16(value), value):
        return {"": value.to(torch.float16)}
    rows = value.flatten(1)
    step = rows.abs().amax(1, keepdim=True) / LARGEST
    whole = (rows / step.clamp(min=torch.finfo(torch.float32).tiny)).round()
    if torch.equal(whole * step, rows):
        return {CODES: whole.to(torch.int8), STEP: step}
    return {"": value}


def _rounded(
    graph: fx.GraphModule, stored: str, known: dict[str, tuple[Tensor, Tensor]]
) -> fx.GraphModule:
    rounded = copy.deepcopy(graph)
    for node in torch_nodes.heavy_nodes(rounded):
        weight_node, bias_node = node.args[1], torch_nodes.argument(node, 2, None)
        assert isinstance(weight_node, fx.Node)
        weight = torch_nodes.tensor_of(rounded, weight_node)
        bias = None if bias_node is None else torch_nodes.tensor_of(rounded, bias_node)
        statistic = known.get(torch_nodes.layer_name(node))
        if statistic is None:
            rows = weight.flatten(1)
            new, shift = _nearest(rows, stored)(rows), None if bias is None else _float16(bias)
        else:
            new, shift = _together(weight, bias, stored, *statistic)
        torch_nodes.set_tensor(rounded, str(weight_node.target), new.reshape(weight.shape))
        if shift is not None:
            torch_nodes.set_tensor(rounded, str(bias_node.target), shift)
    return rounded


def _together(
    weight: Tensor, bias: Tensor | None, stored: str, mean: Tensor, covariance: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Weights and bias by the error of the layer's output; ``mean`` ``[G, D]`` and ``covariance``
    ``[G, D, D]`` of its inputs.
    """
    rows = weight.reshape(*mean.shape[:1], -1, mean.shape[1])  # [G, R, D]
    inputs, whole, last = mean, rows, mean.shape[1]
    if bias is not None:
        inputs = torch.cat([mean, torch.ones_like(mean[:, :1])], 1)
        whole = torch.cat([rows, bias.reshape(*rows.shape[:2], 1)], 2)
    moments = inputs[:, :, None] * inputs[:, None]
    moments[:, :last, :last] += covariance
    loudness = moments.diagonal(dim1=1, dim2=2).clone()
    halves = stored == "float16" or (stored == "palette" and weight.numel() < LEAST_PALETTE)
    # the coarsest number comes first, so that finer ones make up for it: a bias is coarser than
    # float16 weights, finer than all others
    loudness[:, last:] = torch.inf if halves else -torch.inf
    known = _nearest(rows, stored)

    def nearest(values: Tensor, column: Tensor) -> Tensor:
        return torch.where(
            (column == last)[:, None], _float16(values), known(values[..., None])[..., 0]
        )

    rounded = round_columns(whole, moments, loudness.argsort(1, descending=True), nearest)
    one_by_one = torch.cat([known(rows), _float16(whole[:, :, last:])], 2)
    if stored == "int8":  # the largest weight of a row stays, so that the step can be found again
        largest = rows.abs().argmax(2, keepdim=True)
        rounded = rounded.scatter(2, largest, one_by_one.gather(2, largest))
    rounded = better_rows(whole, rounded, one_by_one, moments)
    new = rounded[:, :, :last]
    return new, None if bias is None else rounded[:, :, last].reshape(bias.shape)


def _nearest(rows: Tensor, stored: str) -> Callable[[Tensor], Tensor]:
    """A function that rounds values ``[..., N]`` to the nearest that the file can store. ``rows``
    ``[..., D]`` are the layer's weights, from which steps or palette come.
    """
    if stored == "int8":
        step = _step(rows)
        return lambda values: torch.where(step == 0, _float16(values), int8(values, step))
    if stored == "palette" and rows.numel() >= LEAST_PALETTE:
        table = _palette(rows)
        middles = (table[1:] + table[:-1]) / 2
        return lambda values: table[torch.bucketize(values.to(table.dtype), middles)].to(
            values.dtype
        )
    return _float16


def _palette(rows: Tensor) -> Tensor:
    """At most ``PALETTE`` float16 values, ascending, around which a layer's weights lie."""
    from sklearn.cluster import KMeans  # takes a second to load, which no other format needs
    from threadpoolctl import threadpool_limits

    values = rows.double().reshape(-1, 1).numpy()
    # more threads add up in no fixed order, and an export twice is the same file
    with threadpool_limits(1):
        centres = (
            KMeans(min(PALETTE, len(np.unique(values))), n_init=1, random_state=0)
            .fit(values)
            .cluster_centers_
        )
    return _float16(torch.from_numpy(centres).to(rows.dtype)).unique()


def _step(rows: Tensor) -> Tensor:
    """``[..., D]`` -> ``[..., 1]``: int8's step as float16 holds it, 0 where a row is too small to
    have one.
    """
    largest = rows.abs().amax(-1, keepdim=True)
    return torch.where(largest < SMALLEST, 0.0, _float16(largest / LARGEST))


def _float16(values: Tensor) -> Tensor:
    return values.to(torch.float16).to(values.dtype)
