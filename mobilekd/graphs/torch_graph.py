"""The student's graph made ready for lowering: captured once, batch norms folded, hard sigmoid
spelt in kernels that exist.

Folding before lowering removes two of five nodes, so every later pass of ExecuTorch has less to
walk; the portable kernels, which have no batch norm fusion of their own, are spared 52 operators in
a MobileNetV2.
"""

import copy
import math
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from mobilekd.graphs.saturation import saturates
from mobilekd.graphs.torch_nodes import (
    CONVOLUTIONS,
    argument,
    range_of,
    set_tensor,
    tensor_of,
)

aten = torch.ops.aten

#: Layers' own outputs are looked at and trained through, so nothing may overwrite them.
_OUT_OF_PLACE = {
    aten.relu_.default: aten.relu.default,
    aten.hardtanh_.default: aten.hardtanh.default,
    aten.hardswish_.default: aten.hardswish.default,
    aten.hardsigmoid_.default: aten.hardsigmoid.default,
    aten.relu6_.default: aten.relu6.default,
}


def capture(model: nn.Module, example: Tensor) -> fx.GraphModule:
    """``model`` (eval mode) as an ATen graph for any batch size; ``example`` float32 ``[1, 3, H,
    W]``.
    """
    batch = torch.export.Dim("batch", min=1, max=4096)
    pair = example.expand(2, *example.shape[1:]).contiguous()
    with torch.no_grad():
        graph = torch.export.export(
            model, (pair,), dynamic_shapes=({0: batch},), strict=False
        ).module()
    assert isinstance(graph, fx.GraphModule)
    for node in graph.graph.nodes:
        node.target = _OUT_OF_PLACE.get(node.target, node.target)
    inline_plain_regions(graph)
    fold_batch_norms(graph)
    decompose_hard_sigmoid(graph)
    decompose_clamps(graph)
    erase_counters(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def inline_plain_regions(graph: fx.GraphModule) -> None:
    """What a network computes inside ``torch.autocast(..., enabled=False)``, as the attention of an
    EfficientViT does, is captured as a graph of its own; here it becomes part of the whole.
    """
    for node in list(graph.graph.nodes):
        if node.target is not torch.ops.higher_order.wrap_with_autocast or node.args[2]:
            continue
        inner = operator.attrgetter(str(node.args[4].target))(graph)
        places = [one for one in inner.graph.nodes if one.op == "placeholder"]
        with graph.graph.inserting_before(node):
            found: Any = graph.graph.graph_copy(
                inner.graph, dict(zip(places, node.args[5:], strict=True))
            )
        for user in list(node.users):  # it gives a tuple
            user.replace_all_uses_with(found[user.args[1]])
            graph.graph.erase_node(user)
        graph.graph.erase_node(node)


def fold_batch_norms(graph: fx.GraphModule) -> None:
    """Every batch norm behind a convolution that nothing else reads becomes part of its weights and
    bias.
    """
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or node.target not in (
            aten.batch_norm.default,
            aten._native_batch_norm_legit_no_training.default,
        ):
            continue
        conv = node.args[0]
        if conv.target not in CONVOLUTIONS or len(conv.users) != 1 or len(conv.args[1].users) != 1:
            continue
        weight_node, bias_node = conv.args[1], conv.args[2] if len(conv.args) > 2 else None
        scale, shift, mean, variance = (tensor_of(graph, argument) for argument in node.args[1:5])
        eps = node.args[7] if node.target is aten.batch_norm.default else node.args[6]
        weight, bias = fuse_conv_bn_weights(
            tensor_of(graph, weight_node),
            tensor_of(graph, bias_node) if bias_node else None,
            mean,
            variance,
            eps,
            scale,
            shift,
        )
        set_tensor(graph, weight_node.target, weight)
        name = (
            f"{weight_node.target.removesuffix('.weight')}.bias"
            if bias_node is None
            else bias_node.target
        )
        set_tensor(graph, name, bias)
        if bias_node is None:
            with graph.graph.inserting_before(conv):
                bias_node = graph.graph.get_attr(name)
                bias_node.meta["val"] = node.args[1].meta.get("val")
            conv.args = (*conv.args[:2], bias_node, *conv.args[3:])
        results = [user for user in node.users if user.target is operator.getitem] or [node]
        for result in results:
            result.replace_all_uses_with(conv)
            graph.graph.erase_node(result)
        if node not in results:
            graph.graph.erase_node(node)


def fold_calibration(graph: fx.GraphModule) -> None:
    """A number that a linear layer's output is multiplied by, and a constant added to it, become
    part of its weights and bias.

    So in int8 logits are rounded once, and not once more for temperature and bias each. In place.
    """
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or node.target is not aten.linear.default:
            continue
        scale, shift, end = 1.0, None, node
        while len(end.users) == 1:
            user = next(iter(end.users))
            other = user.args[1] if len(user.args) == 2 and user.args[0] is end else None
            if user.target is aten.mul.Tensor and isinstance(other, (int, float)):
                scale, shift = scale * other, None if shift is None else shift * other
            elif (
                user.target is aten.add.Tensor
                and isinstance(other, fx.Node)
                and other.op == "get_attr"
            ):
                moved = tensor_of(graph, other).reshape(-1)
                shift = moved if shift is None else shift + moved
            else:
                break
            end = user
        if end is not node:
            _rescale(graph, node, scale, shift)
            end.replace_all_uses_with(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _rescale(graph: fx.GraphModule, linear: fx.Node, scale: float, shift: Tensor | None) -> None:
    """New weights and bias for ``linear``; the old ones stay, as something else may read them."""
    weight_node, bias_node = linear.args[1], argument(linear, 2, None)
    assert isinstance(weight_node, fx.Node)
    weight = tensor_of(graph, weight_node)
    bias = (torch.zeros(len(weight)) if bias_node is None else tensor_of(graph, bias_node)) * scale
    name = str(weight_node.target).removesuffix("weight")
    arguments = []
    for suffix, value in (
        ("calibrated_weight", weight * scale),
        ("calibrated_bias", bias if shift is None else bias + shift),
    ):
        set_tensor(graph, name + suffix, value)
        with graph.graph.inserting_before(linear):
            arguments.append(graph.graph.get_attr(name + suffix))
        arguments[-1].meta["val"] = weight_node.meta.get("val")
    linear.args = (linear.args[0], *arguments)


def decompose_hard_sigmoid(graph: fx.GraphModule) -> None:
    """``hardsigmoid(x)`` becomes ``relu6(x + 3) / 6``.

    Decomposed by ExecuTorch it leaves two scalar copies per layer outside the delegate; spelt so,
    it is three nodes inside that XNNPACK also quantises.
    """
    for node in list(graph.graph.nodes):
        if node.op == "call_function" and node.target is aten.hardsigmoid.default:
            with graph.graph.inserting_before(node):
                moved = graph.graph.call_function(aten.add.Tensor, (node.args[0], 3.0))
                clamped = graph.graph.call_function(aten.hardtanh.default, (moved, 0.0, 6.0))
                scaled = graph.graph.call_function(aten.mul.Tensor, (clamped, 1 / 6))
            for new in (moved, clamped, scaled):
                new.meta.update(node.meta)
            node.replace_all_uses_with(scaled)
            graph.graph.erase_node(node)


def decompose_clamps(graph: fx.GraphModule) -> None:
    """ReLU6, and a clamp between two numbers, become ``hardtanh``: the one spelling that is fused
    into the layer before it.
    """
    for node in graph.graph.nodes:
        if node.target is aten.relu6.default:
            node.target, node.args = aten.hardtanh.default, (node.args[0], 0.0, 6.0)
        elif (
            node.target is aten.clamp.default
            and len(node.args) == 3
            and all(isinstance(bound, (int, float)) for bound in node.args[1:])
        ):
            node.target, node.args = (
                aten.hardtanh.default,
                (node.args[0], float(node.args[1]), float(node.args[2])),
            )


def erase_counters(graph: fx.GraphModule) -> None:
    """Training's ``num_batches_tracked += 1`` has a side effect on a buffer, so it survives as an
    undelegated addition.
    """
    for node in reversed(list(graph.graph.nodes)):
        counts = node.op == "get_attr" and node.target.endswith("num_batches_tracked")
        if not counts:
            continue
        for user in reversed(list(node.users)):
            if user.target in (aten.add_.Tensor, aten.copy_.default, aten.add.Tensor):
                for later in list(user.users):
                    if not later.users:
                        graph.graph.erase_node(later)
                if not user.users:
                    graph.graph.erase_node(user)
        if not node.users:
            graph.graph.erase_node(node)


def drop_saturated_clamps(graph: fx.GraphModule) -> None:
    """In a converted graph, a clamp of what int8 saturates at the same bounds does nothing: the
    step before it serves its readers.
    """
    dequantize = torch.ops.quantized_decomposed.dequantize_per_tensor.default
    for clamp in list(graph.graph.nodes):
        before = clamp.args[0] if clamp.target is aten.hardtanh.default else None
        if (
            not isinstance(before, fx.Node)
            or before.target is not dequantize
            or before.args[5] is not torch.int8  # others' ranges need not be those of the clamp
            or len(clamp.users) != 1
        ):
            continue
        (quantised,) = clamp.users
        scale, zero_point = range_of(before)
        lowest, highest = (argument(before, place, 0) for place in (3, 4))
        low, high = (float(argument) for argument in clamp.args[1:3])
        within = (
            low - scale <= (lowest - zero_point) * scale
            and (highest - zero_point) * scale <= high + scale
        )
        if within and quantised.args[1:5] == before.args[1:5]:
            # every reader keeps a dequantise node of its own: a partitioner may put them into
            # different parts of the graph
            quantised.replace_all_uses_with(before.args[0])
            for node in (quantised, clamp, *([before] if list(before.users) == [clamp] else [])):
                graph.graph.erase_node(node)
    graph.recompile()


def without_idle_clamps(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy of a converted graph without the clamps whose bounds int8 saturates at right behind
    them: it computes the same, and a layer's sum and its rounding are neighbours.
    """
    plain = copy.deepcopy(graph)
    quantize = torch.ops.quantized_decomposed.quantize_per_tensor.default
    for clamp in list(plain.graph.nodes):
        if clamp.target is aten.hardtanh.default:
            low, high = float(argument(clamp, 1, -1)), float(argument(clamp, 2, 1))
        elif clamp.target is aten.relu.default:
            low, high = 0.0, math.inf
        else:
            continue
        steps = [user.args[1:5] for user in clamp.users if user.target is quantize]
        if len(steps) == len(clamp.users) and all(saturates(low, high, *one) for one in steps):
            clamp.replace_all_uses_with(clamp.args[0])
            plain.graph.erase_node(clamp)
    plain.recompile()
    return plain


def training_remains(graph: fx.GraphModule) -> list[str]:
    """Names of nodes that only training or calibration needs: counters, active dropout, observers,
    fake quantisation.
    """
    names = []
    for node in graph.graph.nodes:
        target = str(node.target)
        if node.op == "get_attr":
            left = target.endswith("num_batches_tracked")
        elif node.op == "call_module":
            kind = type(graph.get_submodule(target)).__name__
            left = "Observer" in kind or "FakeQuant" in kind or kind == "Rounding"
        else:
            dropout = "dropout" in target and any(argument is True for argument in node.args)
            left = node.op == "call_function" and ("fake_quant" in target or dropout)
        if left:
            names.append(str(node.name))
    return names
