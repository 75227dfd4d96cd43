"""Where a refused export went wrong: the first stage, the first layer, and what the file itself
gives away.
"""

import numpy as np
import torch

from mobilekd.backends.shared.executorch_file import HEAVY
from mobilekd.formats.artifact import Gate, Stage
from mobilekd.graphs import pte, torch_graph
from mobilekd.lowering import parity
from mobilekd.lowering.checks import PREPROCESSING_ERROR, Case, Checks
from mobilekd.lowering.parity import Failure, Parting

#: The stage that a gate judges, where no row of the table is visibly off.
STAGE_OF = {
    "preprocessing": "eager fp32",
    "activation map": f"eager fp32{parity.MAP}",
    "lowered graph": "lowered graph",
    "max_error": "saved file",
    "sqnr_db": "saved file",
}
#: Gates that count; numbers part nowhere.
COUNTED = ("delegated layers", "int8 layers", "training remains", "constants that differ")


def first_failure(case: Case, found: Checks) -> Failure | None:
    """The first failed gate, the first stage whose numbers part, and the layer where they do."""
    gate = next((gate for gate in found.gates if not gate.passed), None)
    if gate is None:
        return None
    if gate.name in COUNTED:
        return Failure(gate, detail=counted(case, found, gate))
    stage = first_stage(case, found, gate)
    parting = parting_at(case, stage)
    return Failure(gate, stage, parting, "" if parting else _suspects(stage))


def first_stage(case: Case, found: Checks, gate: Gate) -> str:
    """The first row further from the one above it than it may be, else the one that the gate
    judges, else the one furthest off.
    """
    for row in found.stages:
        if row.verified and not row.recorded and _off(case, row):
            return row.stage
    if gate.name.startswith("golden set on "):
        return next(
            (
                row.stage
                for row in found.stages
                if f"({gate.name.removeprefix('golden set on ')})" in row.stage
            ),
            "",
        )
    if gate.name in STAGE_OF:
        return STAGE_OF[gate.name]
    # decisions: no single step is beyond its limit, so name the one that moved the numbers most
    steps = [
        row
        for row in found.stages
        if row.sqnr_db is not None and not row.stage.endswith((", decisions", parity.MAP))
    ]
    return min(steps, key=lambda row: row.sqnr_db or 0.0).stage if steps else ""


def _off(case: Case, row: Stage) -> bool:
    if row.stage.endswith(", decisions"):
        return False  # it is compared with eager fp32, not with the row above
    limit = PREPROCESSING_ERROR if row.stage == "eager fp32" else case.max_error
    far = (
        row.max_error is not None
        and row.max_error > limit
        and row.stage != case.lowered.reference_name
    )
    return far or (row.sqnr_db is not None and row.sqnr_db < case.gates.sqnr_db)


def parting_at(case: Case, stage: str) -> Parting | None:
    """The layer at which ``stage`` leaves the row above it, where both can be looked into."""
    lowered = case.lowered
    stage = stage.removesuffix(parity.MAP)
    if lowered.graph is None or not stage or stage == "eager fp32":
        return None
    x = case.golden.astype(np.float32)
    if stage == "lowered graph":
        wanted = torch_graph.layer_outputs(lowered.graph(), x[:1])
        given = lowered.layers(x[:1]) if lowered.layers else []
        return parity.first_parting(dict(zip(wanted, given, strict=False)), wanted)
    if stage == "saved file" and lowered.saved_layers is not None:
        wanted = torch_graph.layer_outputs(lowered.graph(), x[:1])
        given = lowered.saved_layers(x[:1])
        return (
            parity.first_parting(dict(zip(wanted, given, strict=True)), wanted)
            if len(given) == len(wanted)
            else None
        )
    if stage.startswith("saved file"):
        return changed_weights(case)
    return parity.first_parting(
        torch_graph.layer_outputs(lowered.graph(), x), torch_graph.layer_outputs(case.plain, x)
    )


def changed_weights(case: Case) -> Parting | None:
    """The first layer whose weights in the file are not the graph's; compared sorted, since
    delegates order them their own way.
    """
    if case.lowered.model_path.suffix != ".pte" or case.lowered.graph is None:
        return None
    graph, file = case.lowered.graph(), pte.read(case.lowered.model_path)
    for node, stored in zip(torch_graph.heavy_nodes(graph), file.heavy, strict=False):
        weights = torch_graph.weights_of(graph, node).numpy()
        kept = np.frombuffer(file.blobs.get(stored.weight_key, b""), weights.dtype)
        if kept.size != weights.size:
            return Parting(torch_graph.layer_name(node), -200.0)
        if not np.array_equal(np.sort(kept), np.sort(weights.ravel())):
            return Parting(
                torch_graph.layer_name(node),
                parity.sqnr_db(np.sort(kept), np.sort(weights.ravel())),
            )
    return None


def counted(case: Case, found: Checks, gate: Gate) -> str:
    """Names of what a counting gate missed."""
    if gate.name == "constants that differ":
        return f"other in the file than in the manifest: {', '.join(found.wrong_constants)}"
    graph = case.lowered.graph() if case.lowered.graph else None
    if graph is None:
        return ""
    if gate.name == "training remains":
        return f"left in the graph: {', '.join(torch_graph.training_remains(graph))}"
    if gate.name == "int8 layers":
        floating = [
            torch_graph.layer_name(node)
            for node in torch_graph.heavy_nodes(graph)
            if torch_graph.weights_of(graph, node).dtype.is_floating_point
        ]
        return (
            "in floating point:"
            f" {', '.join(name for name in floating if name not in case.float_layers)}"
        )
    return f"outside the delegate: {', '.join(undelegated(case, graph)) or 'not known which'}"


def undelegated(case: Case, graph: torch.fx.GraphModule) -> list[str]:
    """Layers of ``graph`` whose weights no delegate of the file holds."""
    file = pte.read(case.lowered.model_path)
    if not all(delegate.nodes for delegate in file.delegates):
        outside = [name for name in file.operators if name.split("::")[-1].split(".")[0] in HEAVY]
        return [f"{file.operators[name]} {name}" for name in outside]
    held = {
        np.sort(np.frombuffer(file.blobs.get(node.weight_key, b""), np.uint8)).tobytes()
        for node in file.heavy
    }
    return [
        torch_graph.layer_name(node)
        for node in torch_graph.heavy_nodes(graph)
        if np.sort(
            torch_graph.weights_of(graph, node).contiguous().numpy().reshape(-1).view(np.uint8)
        ).tobytes()
        not in held
    ]


def _suspects(stage: str) -> str:
    """What is left where no layer is to blame."""
    if stage.startswith("eager fp32"):
        return (
            "the graph's own normalisation, calibration or map is not what the preprocess and the"
            " student say"
        )
    if stage.startswith("saved file"):
        return (
            "every layer holds its source's weights, so look at the input's order and layout, and"
            " at the kernels"
        )
    return ""
