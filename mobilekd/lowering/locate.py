"""Where a refused export went wrong: the first stage, the first layer, and what the file itself
gives away.
"""

from collections import Counter

import numpy as np
import torch

from mobilekd.backends.shared.executorch_file import HEAVY
from mobilekd.formats.gates import Gate, Stage
from mobilekd.formats.parity_names import GateId, Part, StageId, StageName
from mobilekd.graphs import pte, torch_graph, torch_nodes
from mobilekd.lowering import parity
from mobilekd.lowering.checks import PREPROCESSING_ERROR
from mobilekd.lowering.exported import Export, ParityReport
from mobilekd.lowering.parity import Failure, LayerMismatch
from mobilekd.lowering.remedy import remedy

#: The stage that a gate judges, where no row of the table is visibly off.
STAGE_OF = {
    GateId.PREPROCESSING: StageName(StageId.EAGER),
    GateId.ACTIVATION_MAP: StageName(StageId.EAGER, Part.MAP),
    GateId.GUARD: StageName(StageId.EAGER, Part.GUARD),
    GateId.LOWERED_GRAPH: StageName(StageId.LOWERED_GRAPH),
    GateId.MAX_ERROR: StageName(StageId.SAVED_FILE),
    GateId.SQNR: StageName(StageId.SAVED_FILE),
}
#: Stages that run the saved file.
OF_THE_FILE = (
    StageId.SAVED_FILE,
    StageId.ARM,
    StageId.ARM_SME,
    StageId.CORE_ML,
    StageId.CORE_AI,
    StageId.PHONE,
)
#: Gates that count; no stage's numbers differ.
COUNTED = (
    GateId.DELEGATED_LAYERS,
    GateId.INT8_LAYERS,
    GateId.TRAINING_REMAINS,
    GateId.CONSTANTS,
)


def first_failure(export: Export, report: ParityReport) -> Failure | None:
    """The first failed gate, the first stage whose numbers differ, and the layer where they do."""
    gate = next((gate for gate in report.gates if not gate.passed), None)
    if gate is None:
        return None
    if gate.name.id in COUNTED:
        detail = counted(export, report, gate.name.id)
        return Failure(gate, detail=detail, remedy=remedy(gate, export))
    stage = first_stage(export, report, gate)
    mismatch = mismatch_at(export, stage) if stage else None
    detail = "" if mismatch or not stage else _suspects(export, stage)
    return Failure(gate, stage, mismatch, detail, remedy(gate, export))


def first_stage(export: Export, report: ParityReport, gate: Gate) -> StageName | None:
    """The first row further from the one above it than it may be, else the one that the gate
    judges, else the one furthest off; None where there is none.
    """
    for row in report.stages:
        if row.verified and not row.recorded and _off(export, row):
            return row.stage
    if gate.name.id is GateId.GOLDEN_SET:
        return StageName(StageId.ARM, processor=gate.name.processor)
    if gate.name.id in STAGE_OF:
        return STAGE_OF[gate.name.id]
    # decisions: no single step is beyond its limit, so name the one that moved the numbers most
    steps = [
        row
        for row in report.stages
        if row.sqnr_db is not None and row.stage.part is Part.PROBABILITIES
    ]
    return min(steps, key=lambda row: row.sqnr_db or 0.0).stage if steps else None


def _off(export: Export, row: Stage) -> bool:
    if row.stage.part is Part.DECISIONS:
        return False  # it is compared with eager fp32, not with the row above
    limit = PREPROCESSING_ERROR if row.stage == StageName(StageId.EAGER) else export.max_error
    far = (
        row.max_error is not None
        and row.max_error > limit
        and row.stage != StageName(export.lowered.reference)
    )
    return far or (row.sqnr_db is not None and row.sqnr_db < export.gates.sqnr_db)


def mismatch_at(export: Export, stage: StageName) -> LayerMismatch | None:
    """The layer at which ``stage`` leaves the row above it, where both can be looked into."""
    lowered = export.lowered
    if lowered.graph is None or stage.id is StageId.EAGER:
        return None
    x = export.golden.astype(np.float32)
    if stage.id is StageId.LOWERED_GRAPH:
        wanted = torch_nodes.layer_outputs(lowered.graph(), x[:1])
        given = lowered.layers(x[:1]) if lowered.layers else []
        return parity.first_mismatch(dict(zip(wanted, given, strict=False)), wanted)
    if stage.id is StageId.SAVED_FILE and lowered.saved_layers is not None:
        wanted = torch_nodes.layer_outputs(lowered.graph(), x[:1])
        given = lowered.saved_layers(x[:1])
        return (
            parity.first_mismatch(dict(zip(wanted, given, strict=True)), wanted)
            if len(given) == len(wanted)
            else None
        )
    if stage.id in OF_THE_FILE:
        return changed_weights(export)
    return parity.first_mismatch(
        torch_nodes.layer_outputs(lowered.graph(), x), torch_nodes.layer_outputs(export.plain, x)
    )


def changed_weights(export: Export) -> LayerMismatch | None:
    """The first layer whose weights in the file are not the graph's; compared sorted, since
    delegates order them their own way.
    """
    if export.lowered.model_path.suffix != ".pte" or export.lowered.graph is None:
        return None
    graph, file = export.lowered.graph(), pte.read(export.lowered.model_path)
    for node, stored in zip(torch_nodes.heavy_nodes(graph), file.heavy, strict=False):
        weights = torch_nodes.weights_of(graph, node).numpy()
        kept = np.frombuffer(file.blobs.get(stored.weight_key, b""), weights.dtype)
        if kept.size != weights.size:
            return LayerMismatch(torch_nodes.layer_name(node), -200.0)
        if not np.array_equal(np.sort(kept), np.sort(weights.ravel())):
            return LayerMismatch(
                torch_nodes.layer_name(node),
                parity.sqnr_db(np.sort(kept), np.sort(weights.ravel())),
            )
    return None


def counted(export: Export, report: ParityReport, gate: GateId) -> str:
    """Names of what a counting gate missed."""
    if gate is GateId.CONSTANTS:
        return f"other in the file than in the manifest: {', '.join(report.wrong_constants)}"
    graph = export.lowered.graph() if export.lowered.graph else None
    if graph is None:
        return ""
    if gate is GateId.TRAINING_REMAINS:
        return f"left in the graph: {', '.join(torch_graph.training_remains(graph))}"
    if gate is GateId.INT8_LAYERS:
        floating = [
            torch_nodes.layer_name(node)
            for node in torch_nodes.heavy_nodes(graph)
            if torch_nodes.weights_of(graph, node).dtype.is_floating_point
        ]
        layers = [name for name in floating if name not in export.float_layers]
        return f"in floating point: {', '.join(layers or products(export)) or 'not known which'}"
    named = export.lowered.outside or undelegated(export, graph)
    return f"outside the delegate: {', '.join(named) or 'not known which'}"


def products(export: Export) -> list[str]:
    """Matrix products of two activations in a ``.pte`` file, as attention has them, which have no
    weights to round: how many of which kind.
    """
    if export.lowered.model_path.suffix != ".pte":
        return []
    kinds = Counter(
        node.kind
        for node in pte.read(export.lowered.model_path).heavy
        if not node.quantized and not node.weights
    )
    return [f"{count} {kind}" for kind, count in kinds.items()]


def undelegated(export: Export, graph: torch.fx.GraphModule) -> list[str]:
    """Layers of ``graph`` whose weights no delegate of the file holds; none is named where the
    file is no ``.pte``.
    """
    if export.lowered.model_path.suffix != ".pte":
        return []
    file = pte.read(export.lowered.model_path)
    if not all(delegate.nodes for delegate in file.delegates):
        outside = [name for name in file.operators if name.split("::")[-1].split(".")[0] in HEAVY]
        return [f"{file.operators[name]} {name}" for name in outside]
    held = {
        np.sort(np.frombuffer(file.blobs.get(node.weight_key, b""), np.uint8)).tobytes()
        for node in file.heavy
    }
    return [
        torch_nodes.layer_name(node)
        for node in torch_nodes.heavy_nodes(graph)
        if np.sort(
            torch_nodes.weights_of(graph, node).contiguous().numpy().reshape(-1).view(np.uint8)
        ).tobytes()
        not in held
    ]


def _suspects(export: Export, stage: StageName) -> str:
    """What is left where no layer is to blame."""
    if stage.id is StageId.EAGER:
        return (
            "the graph's own normalisation, calibration or map is not what the preprocess and the"
            " student say"
        )
    if stage.id in OF_THE_FILE and export.backend.socs:
        return (
            "the compiled graph cannot be read back, so no layer is named; look at scales and"
            " layouts that the compiler may have taken otherwise than the rounded graph says"
        )
    if stage.id in OF_THE_FILE:
        return (
            "every layer holds its source's weights, so look at the input's order and layout, and"
            " at the kernels"
        )
    return ""
