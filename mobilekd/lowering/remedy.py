"""The next step after a refused export: options and precisions that exist for this very export."""

from mobilekd.formats.artifact import Gate
from mobilekd.formats.parity_names import GateId
from mobilekd.lowering.checks import Export

#: Precisions that move decisions less than another one, the smallest file first.
GENTLER = ("mixed", "int8-qat", "fp16", "fp32")
ROUNDED = frozenset({"int8", "int8-qat", "mixed", "palette"})
#: What the program itself did wrong, whatever the student.
OURS = frozenset({GateId.PREPROCESSING, GateId.TRAINING_REMAINS, GateId.CONSTANTS})


def remedy(gate: Gate, export: Export) -> str:
    """What the person can do about a failed ``gate``."""
    steps = [f"export --precision {', '.join(gentler)}"] if (gentler := _gentler(export)) else []
    if gate.name.id in OURS:
        return "no option allows this, because the file would be wrong; report it with the recipe"
    if gate.name.id is GateId.DELEGATED_LAYERS:
        portable = "export --backend portable, which promises no delegate"
        return " or ".join([*steps, portable, "train another student.model"])
    if gate.name.id is GateId.INT8_LAYERS:
        return " or ".join([*steps, "train another student.model"])
    if gate.name.id is GateId.ACTIVATION_MAP:
        steps = ["leave --cam out"]
    if gate.name.id is GateId.GOLDEN_SET:
        steps = ["leave --verify arm out to ship it unproven on that processor"]
    key = limit_key(gate.name.id, export)
    return " or ".join([*steps, f"allow it on purpose with --set gates.{key}=VALUE"])


def limit_key(gate: GateId, export: Export) -> str:
    """The key of the recipe's ``[gates]`` that holds this gate's limit."""
    largest = "max_error" if export.precision == "fp32" else "max_error_quantized"
    return {
        GateId.ACTIVATION_MAP: "max_error",
        GateId.LOWERED_GRAPH: largest,
        GateId.MAX_ERROR: largest,
        GateId.SQNR: "sqnr_db",
        GateId.AGREEMENT: "agreement",
        GateId.BALANCED_ACCURACY: "accuracy_drop",
        GateId.GOLDEN_SET: "max_error",
    }[gate]


def _gentler(export: Export) -> tuple[str, ...]:
    """What this backend has that rounds less than the refused precision."""
    if export.precision not in ROUNDED:
        return ()
    after = GENTLER.index(export.precision) + 1 if export.precision in GENTLER else 0
    return tuple(name for name in GENTLER[after:] if name in export.backend.precisions)
