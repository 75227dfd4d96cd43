"""What hard-swish, hard-sigmoid and squeeze-and-excitation cost one network: counted in its graph,
in words for the manifest.

They are cheap in multiply-adds and dear in passes over memory. XNNPACK has no int8 hard-swish, so
in an int8 network each stands between two conversions; a hard sigmoid spelt as ``relu6(x + 3) / 6``
does not. ``mobilekd inspect --profile`` adds the time.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import fx


@dataclass(frozen=True)
class Cost:
    """One kind of operator in one network, per photograph."""

    count: int
    moved: int  # activations that it reads and writes
    conversions: int = 0  # to and from int8, right before and after it
    macs: int = 0
    parameters: int = 0

    def words(self, name: str, whole: "Cost") -> str:
        """For the manifest's notes; ``whole`` is the network's."""
        if not self.count:
            return f"{name}: none in this network"
        said = (
            f"{name}: {self.count}, {self.moved / 1000:,.0f} thousand activations read and written"
            " per photograph"
        )
        said += f" ({100 * self.moved / max(1, whole.moved):.0f}% of the network's)"
        if self.parameters:
            said += (
                f", {100 * self.parameters / whole.parameters:.1f}% of the parameters,"
                f" {100 * self.macs / whole.macs:.2f}% of multiply-adds"
            )
        if self.conversions:
            said += f", {self.conversions} conversions between int8 and floating point beside it"
        return said


def notes(graph: "fx.GraphModule") -> tuple[str, ...]:
    """One note per kind. ``graph`` is what was lowered, hard sigmoids spelt as ``relu6(x + 3) /
    6``.
    """
    swishes = [node for node in graph.graph.nodes if _is(node, "hardswish")]
    sigmoids = [chain for node in graph.graph.nodes if (chain := hard_sigmoid(node))]
    excitations = [operators for node in graph.graph.nodes if (operators := excitation(node))]
    whole = total(
        graph,
        [node for node in graph.graph.nodes if node.op == "call_function" and not _rounds(node)],
    )
    named = {
        "hard-swish": replace(
            total(graph, swishes, len(swishes)), conversions=conversions(swishes)
        ),
        "hard-sigmoid": total(graph, [node for chain in sigmoids for node in chain], len(sigmoids)),
        "squeeze-and-excitation": total(
            graph, [node for operators in excitations for node in operators], len(excitations)
        ),
    }
    return tuple(cost.words(name, whole) for name, cost in named.items())


def total(graph: "fx.GraphModule", nodes: "Sequence[fx.Node]", count: int = 0) -> Cost:
    """Of ``nodes`` together, each counted once."""
    from mobilekd.graphs import torch_nodes

    nodes = list(dict.fromkeys(nodes))
    heavy = dict(zip(torch_nodes.heavy_nodes(graph), torch_nodes.layer_costs(graph), strict=True))
    return Cost(
        count=count,
        moved=sum(_elements(node) + sum(map(_elements, _sources(node))) for node in nodes),
        macs=sum(heavy[node]["macs"] for node in nodes if node in heavy),
        parameters=sum(heavy[node]["parameters"] for node in nodes if node in heavy),
    )


def conversions(nodes: "Sequence[fx.Node]") -> int:
    """Right before and after operators that compute in floating point."""
    return sum(
        sum(map(_rounds, node.all_input_nodes)) + sum(map(_rounds, node.users)) for node in nodes
    )


def hard_sigmoid(node: "fx.Node") -> "list[fx.Node]":
    """The operators of a spelt hard sigmoid by its last one, ``mul(hardtanh(add(x, 3)), 1 / 6)``;
    else nothing.

    In int8 the sum saturates and has no clamp.
    """
    if not (_is(node, "mul") and _is_number(node.args[1])):
        return []
    before = _unrounded(node.args[0])
    clamps = [before] if before is not None and _is(before, "hardtanh") else []
    moved = _unrounded(clamps[0].args[0]) if clamps else before
    if moved is None or not (_is(moved, "add") and _is_number(moved.args[1])):
        return []
    return [moved, *clamps, node]


def excitation(node: "fx.Node") -> "list[fx.Node]":
    """The operators of a squeeze-and-excitation by its last one, a product of maps with one number
    per channel; else nothing.
    """
    if not _is(node, "mul"):
        return []
    shapes = [_shape(item) for item in node.args[:2]]
    gates = [
        item
        for item, shape in zip(node.args, shapes, strict=False)
        if len(shape) == 4 and shape[2:] == [1, 1]
    ]
    if len(gates) != 1 or not all(len(shape) == 4 for shape in shapes):
        return []
    operators, back = [node], _unrounded(gates[0])
    while back is not None:
        operators.append(back)
        if _is(back, "mean") or _is(back, "adaptive_avg_pool2d"):
            return operators
        back = _unrounded(back.args[0]) if back.args else None
    return []


def _is(node: "fx.Node", name: str) -> bool:
    return (
        node.op == "call_function" and f".{name}." in f".{str(node.target).removeprefix('aten.')}."
    )


def _rounds(node: "fx.Node") -> bool:
    return "quantize_per_" in str(node.target)


def _root(node: Any) -> Any:
    """What stands behind conversions to int8 and back."""
    while getattr(node, "op", "") == "call_function" and _rounds(node):
        node = node.args[0]
    return node


def _unrounded(node: Any) -> "fx.Node | None":
    """The operator behind conversions; None where there is no operator."""
    root = _root(node)
    return root if getattr(root, "op", "") == "call_function" else None


def _is_number(node: Any) -> bool:
    """A literal, or the constant that quantisation made of one."""
    root = _root(node)
    return isinstance(root, (int, float)) or (
        getattr(root, "op", "") == "get_attr" and "weight" not in str(root.target)
    )


def _sources(node: "fx.Node") -> "Iterator[fx.Node]":
    """Activations that come in; weights are not activations."""
    return (
        item
        for item in node.all_input_nodes
        if item.op == "placeholder" or _unrounded(item) is not None
    )


def _shape(node: Any) -> list[int]:
    value = getattr(_root(node), "meta", {}).get("val")
    shape = getattr(value, "shape", ())
    return [1, *(int(size) for size in shape[1:])] if len(shape) else []


def _elements(node: "fx.Node") -> int:
    shape = _shape(node)
    return math.prod(shape) if shape else 0
