"""The next step after a refused export: options and precisions that exist for this very export."""

import shlex
from collections.abc import Sequence
from typing import Protocol

from mobilekd.backends.base import Backend
from mobilekd.formats.gates import Gate
from mobilekd.formats.parity_names import GateId

#: Precisions that move decisions less than another one, the smallest file first.
GENTLER = ("mixed", "int8-qat", "w8a16", "fp16", "fp32")
ROUNDED = frozenset({"int8", "int8-qat", "mixed", "palette", "w8a8", "w8a16"})
#: What the program itself did wrong, whatever the student.
OURS = frozenset({GateId.PREPROCESSING, GateId.TRAINING_REMAINS, GateId.CONSTANTS, GateId.NETWORK})


class Refused(Protocol):
    """What a remedy asks of a refused export."""

    @property
    def precision(self) -> str:
        """As on the command line."""

    @property
    def backend(self) -> Backend:
        """What the file was lowered for."""

    @property
    def target(self) -> str:
        """The run or reference as on the command line."""


def remedy(gate: Gate, export: Refused) -> str:
    """What the person can do about a failed ``gate``: the next command, and the key that holds the
    limit.
    """
    target = shlex.quote(export.target)
    command = f"mobilekd export {target} --backend {export.backend.name}"
    if export.backend.soc:
        command += f" --soc {export.backend.soc}"
    steps = [f"{command} --precision {one}" for one in _gentler(export)[:1]]
    if others := _gentler(export)[1:]:
        steps[0] += f" ({', then '.join(others)})"
    if gate.name.id in OURS:
        return "no option allows this, because the file would be wrong; report it with the recipe"
    if gate.name.id is GateId.CLINIC_LOSS:
        return "next: calibrate with more photographs as they come, or keep the artifact as it is"
    if gate.name.id is GateId.DELEGATED_LAYERS:
        portable = f"mobilekd export {target} --backend portable, which promises no delegate"
        return _next([*steps, portable, "train another student.model"])
    if gate.name.id is GateId.INT8_LAYERS:
        return _next([*steps, "train another student.model"])
    if gate.name.id is GateId.ACTIVATION_MAP:
        steps = ["leave --cam out"]
    if gate.name.id is GateId.GOLDEN_SET:
        steps = ["leave --verify arm out to ship it unproven on that processor"]
    key = limit_key(gate.name.id, export)
    allow = f"the limit is gates.{key}; --set gates.{key}=VALUE allows more on purpose"
    return f"{_next(steps)}; {allow}" if steps else allow


def _next(steps: Sequence[str]) -> str:
    return f"next: {' or '.join(steps)}"


def limit_key(gate: GateId, export: Refused) -> str:
    """The key of the recipe's ``[gates]`` that holds this gate's limit."""
    largest = "max_error" if export.precision == "fp32" else "max_error_quantized"
    return {
        GateId.ACTIVATION_MAP: "max_error",
        GateId.GUARD: "max_error",
        GateId.GUARD_AGREEMENT: "agreement",
        GateId.LOWERED_GRAPH: largest,
        GateId.MAX_ERROR: largest,
        GateId.SQNR: "sqnr_db",
        GateId.AGREEMENT: "agreement",
        GateId.BALANCED_ACCURACY: "accuracy_drop",
        GateId.GOLDEN_SET: "max_error" if export.backend.rounds_alike else largest,
    }[gate]


def _gentler(export: Refused) -> tuple[str, ...]:
    """What this backend has that rounds less than the refused precision."""
    if export.precision not in ROUNDED:
        return ()
    after = GENTLER.index(export.precision) + 1 if export.precision in GENTLER else 0
    return tuple(name for name in GENTLER[after:] if name in export.backend.precisions)
