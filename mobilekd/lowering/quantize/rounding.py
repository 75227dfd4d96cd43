"""Weights rounded by what they do to their layer's output instead of one by one (GPTQ, arXiv
2210.17323).

Rounding to nearest makes each weight's own error small. What counts is the error of the layer's
output, and a photograph's neighbouring pixels and channels are alike: errors of nine taps that
point the same way add up. So the weights of a row are rounded one after the other, and those still
to come make up for what the last one lost, as far as the inputs' covariance says that they can. The
mean error is left to bias correction.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn.functional import unfold

from mobilekd.graphs import torch_nodes
from mobilekd.lowering.quantize.simulate import batches, rounded_weight

#: int8 weights are symmetric: -127 to 127 steps.
LARGEST = 127
#: Share of the mean variance that is added to each variance, as in the paper; keeps the inverse
#: sound where inputs are dead.
DAMPING = 0.01


def gptq_weights(
    graph: fx.GraphModule, prepared: fx.GraphModule, photographs: Any
) -> tuple[fx.GraphModule, int]:
    """A copy of ``prepared`` (observed) with the weights of its rounded layers on their int8 grid,
    and how many layers those are.

    ``graph`` is the captured original, on which uint8 ``photographs`` ``[N, 3, H, W]`` show what
    each layer's inputs are like.
    """
    rounded = copy.deepcopy(prepared)
    known = statistics(graph, photographs)
    layers = 0
    for node in torch_nodes.heavy_nodes(rounded):
        weight, statistic = rounded_weight(node), known.get(torch_nodes.layer_name(node))
        if weight is not None and statistic is not None:
            value, covariance = torch_nodes.tensor_of(rounded, weight), statistic[1]
            rows = value.reshape(len(covariance), -1, covariance.shape[-1])
            torch_nodes.set_tensor(
                rounded, str(weight.target), gptq(rows, covariance).view_as(value)
            )
            layers += 1
    return rounded, layers


def gptq(weight: Tensor, covariance: Tensor) -> Tensor:
    """``weight`` ``[G, R, D]``: R rows that read the same D inputs, whose ``covariance`` is ``[G,
    D, D]``. The same, on the int8 grid.

    A row's step is its largest weight over 127; that one weight stays where it is, so the grid can
    be found again. A row whose output's error is smaller after rounding to nearest is rounded to
    nearest: what columns to come can make up for is not what they do make up for, since each of
    them is rounded as well.
    """
    step = weight.abs().amax(2).clamp_min(1e-9) / LARGEST  # [G, R]
    # the loudest first, while there is much to make up with
    order = covariance.diagonal(dim1=1, dim2=2).argsort(1, descending=True)
    rounded = round_columns(weight, covariance, order, lambda values, _: int8(values, step))
    largest = weight.abs().argmax(2, keepdim=True)
    rounded = rounded.scatter(2, largest, weight.gather(2, largest))
    return better_rows(weight, rounded, int8(weight, step[..., None]), covariance)


def better_rows(weight: Tensor, rounded: Tensor, nearest: Tensor, moments: Tensor) -> Tensor:
    """Each row of ``weight`` ``[G, R, D]`` as ``rounded`` or as ``nearest`` has it, whichever errs
    less in the layer's output, ``(q - w)^T M (q - w)`` with the inputs' ``moments`` ``[G, D, D]``.
    """

    def error(candidate: Tensor) -> Tensor:  # [G, R, 1]
        lost = candidate.double() - weight.double()
        return ((lost @ moments.double()) * lost).sum(2, keepdim=True)

    return torch.where(error(rounded) <= error(nearest), rounded, nearest)


def int8(values: Tensor, step: Tensor) -> Tensor:
    """The nearest of -127 to 127 steps; any shapes that broadcast."""
    return (values / step).round().clamp(-LARGEST, LARGEST) * step


def round_columns(
    weight: Tensor, moments: Tensor, order: Tensor, nearest: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Round ``weight`` ``[G, R, D]`` column by column as ``order`` ``[G, D]`` says; columns to come
    make up for what each one lost.

    ``moments`` ``[G, D, D]`` say how far they can: the inputs' covariance, or their products' mean
    where the mean error counts as well. ``nearest`` rounds values ``[G, R]``, told which column
    ``[G]`` they are.
    """
    variance = moments.diagonal(dim1=1, dim2=2)
    damped = moments + torch.diag_embed(
        (DAMPING * variance.mean(1, keepdim=True)).clamp_min(1e-12).expand_as(variance)
    )
    weights = weight.double().gather(2, order[:, None].expand_as(weight))
    damped = (
        damped.double()
        .gather(1, order[:, :, None].expand_as(damped))
        .gather(2, order[:, None].expand_as(damped))
    )
    factor = torch.linalg.cholesky(
        torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True
    )
    rounded = torch.empty_like(weights)
    for i in range(weight.shape[2]):
        rounded[:, :, i] = nearest(weights[:, :, i], order[:, i])
        lost = (weights[:, :, i] - rounded[:, :, i]) / factor[:, i, i, None]
        weights[:, :, i:] -= lost[..., None] * factor[:, i, None, i:]
    return (
        torch.empty_like(rounded)
        .scatter_(2, order[:, None].expand_as(rounded), rounded)
        .to(weight.dtype)
    )


def statistics(graph: fx.GraphModule, photographs: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """For each layer mean ``[G, D]`` and covariance ``[G, D, D]`` of the inputs that one output is
    made of.

    A depthwise layer has G channels, others have 1; ``photographs`` are uint8 ``[N, 3, H, W]``.
    """
    sums: dict[str, list[Tensor]] = {}
    # about the mean: what is summed about it loses no digits of a small variance to a large mean
    centres: dict[str, Tensor] = {}

    class Listener(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            if node.op == "call_function" and node.target in torch_nodes.HEAVY:
                inputs = _inputs(graph, node, self.fetch_args_kwargs_from_env(node)[0][0])
                if inputs is not None:
                    inputs = inputs.double()
                    inputs = inputs - centres.setdefault(
                        torch_nodes.layer_name(node), inputs.mean(2, keepdim=True)
                    )
                    ones = torch.tensor(float(inputs.shape[2]))
                    new = [ones, inputs.sum(2), inputs @ inputs.transpose(1, 2)]
                    old = sums.get(torch_nodes.layer_name(node), new)
                    sums[torch_nodes.layer_name(node)] = (
                        new if old is new else [a + b for a, b in zip(old, new, strict=True)]
                    )
            return super().run_node(node)

    with torch.no_grad():
        for batch in batches(photographs, 8):
            Listener(graph).run(batch)
    moments = {}
    for name, (count, total, products) in sums.items():
        mean = total / count
        moments[name] = (
            mean + centres[name][..., 0],
            products / count - mean[:, :, None] * mean[:, None],
        )
    return moments


def _inputs(graph: fx.GraphModule, node: fx.Node, x: Tensor) -> Tensor | None:
    """What each output of a layer reads, ``[G, D, number of outputs]``; None for grouped
    convolutions that are not depthwise.
    """
    if node.target not in torch_nodes.CONVOLUTIONS:
        return x.reshape(-1, x.shape[-1]).T[None]
    weight, groups = torch_nodes.weights_of(graph, node), torch_nodes.groups(node)
    stride, padding, dilation = (
        torch_nodes.argument(node, place, default) for place, default in ((3, 1), (4, 0), (5, 1))
    )
    if (
        x.dim() != 4
        or isinstance(padding, str)
        or groups not in (1, len(weight))
        or (groups > 1 and weight.shape[1] > 1)
    ):
        return None
    if groups == 1:
        patches = unfold(x, weight.shape[2:], dilation, padding, stride)  # [N, D, L]
        return patches.transpose(0, 1).reshape(1, patches.shape[1], -1)
    # [N C, k k, L]
    patches = unfold(x.reshape(-1, 1, *x.shape[2:]), weight.shape[2:], dilation, padding, stride)
    patches = patches.view(len(x), groups, patches.shape[1], -1)
    return patches.permute(1, 2, 0, 3).reshape(groups, patches.shape[2], -1)
