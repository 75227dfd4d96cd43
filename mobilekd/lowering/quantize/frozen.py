"""Frozen quantisation parameters: a quantised student again, bit for bit, without the photographs
that calibrated it.

::

    quantization.json                    {precision: {float_layers, ranges: {node: [scale, zero
                                         point]}, notes, versions, sha256}}
    quantization-<precision>.safetensors int8 weights with their scales, biases

``stored-<format>`` stands where a precision would for weights that a file holds rounded while it
computes in floating point (:mod:`mobilekd.lowering.quantize.stored`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
import torch
from pydantic import Field
from torch import Tensor, fx

from mobilekd.formats.document import REMEDY, Document, read_document
from mobilekd.formats.integrity import check_files
from mobilekd.graphs import torch_nodes
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_file, write_bytes, write_json
from mobilekd.support.provenance import versions

DOCUMENT = "quantization.json"

Range = tuple[Annotated[float, Field(gt=0)], Annotated[int, Field(ge=-128, le=65535)]]


class FrozenEntry(Document):
    """One precision of ``quantization.json``."""

    float_layers: tuple[str, ...]
    ranges: dict[str, Range] = Field(description="[scale, zero point] by node")
    notes: tuple[str, ...]
    versions: dict[str, str]
    sha256: str = Field(description="of the file of its tensors")
    tensors_of: str | None = Field(
        None, description="another precision whose tensors are the same and are kept once"
    )


@dataclass(frozen=True)
class Frozen:
    """One precision's parameters."""

    float_layers: frozenset[str]
    ranges: Mapping[str, tuple[float, int]]  # quantise and dequantise nodes by name
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] | None = None


def freeze(
    converted: fx.GraphModule,
    float_layers: frozenset[str] = frozenset(),
    notes: tuple[str, ...] = (),
    names: Sequence[str] | None = None,
) -> Frozen:
    """Take the parameters out of a converted graph; ``names`` are :func:`range_names` of the same
    graph without its guard.
    """
    return Frozen(
        float_layers,
        {name: torch_nodes.range_of(node) for name, node in _ranged(converted, names).items()},
        _tensors(converted),
        notes,
        {name: versions()[name] for name in ("torch", "executorch")},
    )


def thaw(
    converted: fx.GraphModule, frozen: Frozen, names: Sequence[str] | None = None
) -> fx.GraphModule:
    """Put the parameters into a graph that was prepared and converted the same way on whatever
    photographs; in place. ``names`` are :func:`range_names` of the same graph without its guard.
    """
    nodes = _ranged(converted, names)
    shapes = {name: (value.shape, value.dtype) for name, value in _tensors(converted).items()}
    if nodes.keys() != frozen.ranges.keys() or shapes != {
        name: (value.shape, value.dtype) for name, value in frozen.tensors.items()
    }:
        made = ", ".join(f"{name} {version}" for name, version in (frozen.versions or {}).items())
        raise UserError(
            f"{DOCUMENT}: frozen for another graph (made with {made}); export with the data at"
            " hand, or use those versions"
        )
    for name, (scale, zero_point) in frozen.ranges.items():
        node = nodes[name]
        node.args = (node.args[0], scale, zero_point, *node.args[3:])
    for name, value in frozen.tensors.items():
        torch_nodes.set_tensor(converted, name, value)
    converted.recompile()
    return converted


def range_names(converted: fx.GraphModule) -> list[str]:
    """Names of the nodes that hold ranges, in the graph's order.

    A guard adds nodes, which shifts the numbers in the names behind it. So parameters are kept
    under the names that they have in the graph without a guard.
    """
    return [node.name for node in torch_nodes.ranged(converted)]


def _ranged(converted: fx.GraphModule, names: Sequence[str] | None) -> dict[str, fx.Node]:
    """Nodes that hold ranges, but for those that a guard alone reads."""
    guard = set(torch_nodes.guard_nodes(converted))
    own = [node for node in torch_nodes.ranged(converted) if not node.users.keys() <= guard]
    names = [node.name for node in own] if names is None else names
    return dict(zip(names, own, strict=True))


def _tensors(graph: fx.GraphModule) -> dict[str, Tensor]:
    guard = set(torch_nodes.guard_nodes(graph))
    nodes = {
        str(node.target): node
        for node in graph.graph.nodes
        if node.op == "get_attr" and not node.users.keys() <= guard
    }
    return {
        name: torch_nodes.tensor_of(graph, node).contiguous().clone()
        for name, node in sorted(nodes.items())
    }


def write_frozen(folder: Path, precisions: Mapping[str, Frozen]) -> None:
    """Write the document, and a file of tensors for each precision; the same parameters give the
    same bytes.
    """
    document: dict[str, Any] = {}
    for precision, frozen in sorted(precisions.items()):
        alike = next((one for one in document if _same(precisions[one], frozen)), None)
        path = _tensor_file(folder, alike or precision)
        if alike is None:
            write_bytes(path, safetensors.torch.save(dict(sorted(frozen.tensors.items()))))
        document[precision] = {
            "float_layers": sorted(frozen.float_layers),
            "ranges": {name: list(value) for name, value in sorted(frozen.ranges.items())},
            "notes": list(frozen.notes),
            "versions": dict(frozen.versions or {}),
            "sha256": sha256_file(path),
            **({"tensors_of": alike} if alike is not None else {}),
        }
    write_json(folder / DOCUMENT, document)


def _tensor_file(folder: Path, precision: str) -> Path:
    return folder / f"quantization-{precision}.safetensors"


def _same(one: Frozen, other: Frozen) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        value.dtype == other.tensors[name].dtype and torch.equal(value, other.tensors[name])
        for name, value in one.tensors.items()
    )


def read_frozen(folder: Path) -> dict[str, Frozen]:
    """Every precision frozen in ``folder``; empty where there is none. ``UserError`` where a file
    of tensors is missing or changed.
    """
    if not (folder / DOCUMENT).exists():
        return {}
    document = read_document(
        folder / DOCUMENT, dict[str, FrozenEntry], "record of quantisation parameters"
    )
    found = {}
    for precision, entry in document.items():
        path = _tensor_file(folder, entry.tensors_of or precision)
        check_files(folder, {path.name: entry.sha256}, REMEDY)
        try:
            tensors = safetensors.torch.load(path.read_bytes())
        except (OSError, safetensors.SafetensorError) as error:
            raise UserError(f"{path}: not readable ({error}); {REMEDY}") from None
        found[precision] = Frozen(
            frozenset(entry.float_layers), entry.ranges, tensors, entry.notes, entry.versions
        )
    return found
