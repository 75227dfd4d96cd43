"""Every gate: what it means, and what a refusal says."""

from dataclasses import dataclass

from making.markdown import page, table
from mobilekd import backends
from mobilekd.backends.base import Backend
from mobilekd.formats.parity_names import GateId, StageId

#: What each gate asks, in words of its own; the remedies come from ``lowering/remedy.py``.
GATES: dict[GateId, tuple[str, str]] = {
    GateId.PREPROCESSING: (
        "The graph that takes raw pixels answers as the student does after normalisation outside.",
        "largest difference of a probability",
    ),
    GateId.ACTIVATION_MAP: (
        "The map that `--cam` adds is the one that the student's own head gives.",
        "largest difference of a cell",
    ),
    GateId.GUARD: (
        "The guard's score in the graph is the one that its document gives in float64.",
        "largest difference of a score",
    ),
    GateId.GUARD_AGREEMENT: (
        "The file refuses the same test photographs as the student in floating point.",
        "share of equal refusals",
    ),
    GateId.LOWERED_GRAPH: (
        "The graph after lowering, before it is saved, answers as its eager source.",
        "largest difference of a probability",
    ),
    GateId.MAX_ERROR: (
        "The saved file answers as its eager source.",
        "largest difference of a probability",
    ),
    GateId.SQNR: (
        "The saved file's answers are its eager source's, with little noise.",
        "signal to noise in dB",
    ),
    GateId.DELEGATED_LAYERS: (
        "Every convolution and linear layer runs in the backend's delegate.",
        "number of layers",
    ),
    GateId.INT8_LAYERS: (
        "Every layer that should compute in int8 does.",
        "number of layers",
    ),
    GateId.TRAINING_REMAINS: (
        "No operator of training, such as dropout, is left in the graph.",
        "number of operators",
    ),
    GateId.CONSTANTS: (
        "Labels, threshold, input size and the other facts in the file are those of the run.",
        "number of facts that differ",
    ),
    GateId.AGREEMENT: (
        "The file decides as the fp32 student on the test photographs.",
        "share of equal decisions",
    ),
    GateId.BALANCED_ACCURACY: (
        "The file loses no more balanced accuracy than allowed. The interval's end is judged.",
        "lower end of the paired 95% interval",
    ),
    GateId.NETWORK: (
        "`calibrate` left the network in the file bit for bit what it was.",
        "1 where it did, else 0",
    ),
    GateId.CLINIC_LOSS: (
        "The log loss on a clinic's photographs is not proven to be higher after `calibrate` than"
        " before. It is judged by cross-fitting, on lesions that fitted nothing. It says nothing of"
        " accuracy: that stands in the figures before and after.",
        "lower end of the paired 95% interval, nats",
    ),
    GateId.GOLDEN_SET: (
        "An emulated Arm processor repeats the golden answers (`--verify arm`). ONNX Runtime's int8"
        " kernels for Arm round otherwise than those for x86, so its int8 files may be as far away"
        " as from the rounded network.",
        "largest difference of a probability",
    ),
}


@dataclass(frozen=True)
class AnyRun:
    """A refused export of whatever run."""

    precision: str
    backend: Backend
    target: str = "RUN"


def remedies(gate: GateId) -> dict[str, str]:
    """What a refused export says after this gate's name, by precision, for XNNPACK."""
    from mobilekd.formats.gates import Gate
    from mobilekd.lowering.remedy import remedy

    backend = backends.get("xnnpack")
    name = f"{gate.id} cortex-a72" if gate is GateId.GOLDEN_SET else gate.id
    failed = Gate(name=name, value=1, limit=0, relation="<=", passed=False)
    found = {}
    for precision in ("fp32", "int8"):
        export = AnyRun(precision, backend)
        found[precision] = remedy(failed, export)
    return found


def gates_page() -> str:
    """Every gate: what it asks, its limit, what mends it."""
    missing = set(GateId) - set(GATES)
    if missing:
        raise SystemExit(f"docs/reference.py: no words for the gates {missing}")
    parts = [
        "`export` compares every step with the one above it. A gate that fails refuses the file,"
        " is named in the message, and leaves nothing behind. Exit code: 2. Why the gates are"
        " there is told in [why an export is refused](../explanation/refused.md).",
    ]
    for gate in GateId:
        asks, value = GATES[gate]
        found = remedies(gate)
        same = len(set(found.values())) == 1
        rows = [("What it asks", asks), ("What is compared", value)]
        rows += (
            [("What mends it", found["fp32"])]
            if same
            else [(f"What mends it in {precision}", said) for precision, said in found.items()]
        )
        parts.append(f"## {gate.title.capitalize()}\n\n`{gate.id}`\n\n" + table(("", ""), rows))
    stages = [(f"`{stage.id}`", stage.title) for stage in StageId]
    parts.append(
        "## Stages of the parity table\n\nThe parity table of an artifact has a row for each"
        " stage. Files hold the id.\n\n" + table(("Id", "As it is read"), stages)
    )
    return page("Gates and refusals", *parts)
