"""The parity table and the gates of one export: every step down compared with the step above, in one order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mobilekd import graphs, parity, pte
from mobilekd.artifact import Calibration, Gate, Interval, Stage
from mobilekd.backends import Backend, Lowered
from mobilekd.backends._coremltools import APPLE_STAGE
from mobilekd.backends.base import Run, eager_runner
from mobilekd.constants import Constants
from mobilekd.errors import CannotRunHere
from mobilekd.evidence import Evidence, Pictures
from mobilekd.metrics import interval, metric_draws
from mobilekd.preprocess import Preprocess
from mobilekd.recipe import GatesTable
from mobilekd.runners.qemu import TRUSTED, outputs

#: Test photographs that also go through the slow stages (eager quantised); the decisions are judged on all of them.
SUBSET = 48
PREPROCESSING_ERROR = 1e-4

#: Backends whose kernels are Apple's, and why they are not verified here.
APPLE = frozenset({"coreml", "coreml-pte"})
ONLY_ON_A_MAC = "Core ML predicts on Apple's systems only; ios_export/check_on_mac.py fills this row there"


@dataclass
class Checks:
    """What was found so far."""

    stages: list[Stage] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    golden: list[np.ndarray] = field(default_factory=list)  # outputs on the golden set: the file's, else the eager reference's
    ran: bool = True  # the file itself answered
    accuracy: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Case:
    """One export to be judged."""

    student: nn.Module
    deployable: nn.Module
    calibration: Calibration
    preprocess: Preprocess
    backend: Backend
    precision: str
    lowered: Lowered
    plain: torch.fx.GraphModule | None  # the quantised graph before quantisation
    constants: Constants
    golden: np.ndarray  # uint8 [N, 3, H, W]
    gates: GatesTable
    evidence: Evidence | None
    float_layers: frozenset[str]

    @property
    def max_error(self) -> float:
        """How far the file may be from its eager source; int8 kernels round ties their own way, layer after layer."""
        return self.gates.max_error if self.precision == "fp32" else self.gates.max_error_quantized

    def golden_error(self, ran: bool) -> float:
        """How far a device may be from the golden answers: other kernels than those that gave them may round as int8's do."""
        return self.gates.max_error if ran and self.backend.name not in APPLE else self.max_error


def check(case: Case) -> Checks:
    """All stages that this machine can run."""
    eager = eager_runner(case.deployable)
    found = Checks()
    test = case.evidence.test() if case.evidence else None
    x = case.golden.astype(np.float32)
    some = np.concatenate([x, test.inputs[:: max(1, len(test.inputs) // SUBSET)][:SUBSET].astype(np.float32)]) if test else x
    here = case.backend.where()
    exact, truth = eager(some), _outside(case, some)
    found.stages.append(parity.compared("eager fp32", "student, normalised outside", [exact[0]], [truth], "torch"))
    found.gates.append(parity.at_most("preprocessing", parity.max_error(exact[0], truth), PREPROCESSING_ERROR))
    reference = exact
    if case.lowered.reference_name != "eager fp32":
        reference = case.lowered.eager_reference(some)
        found.stages.append(parity.compared(case.lowered.reference_name, "eager fp32", reference, exact, "torch"))
    golden_reference = [output[: len(x)] for output in reference]
    if case.lowered.lowered is None:
        found.stages.append(parity.unverified("lowered graph", case.lowered.reference_name, f"{case.backend.name} has none that runs here"))
    else:
        graph = case.lowered.lowered(x)
        found.stages.append(parity.compared("lowered graph", case.lowered.reference_name, graph, golden_reference, "torch"))
        found.gates.append(parity.at_most("lowered graph", found.stages[-1].max_error or 0.0, case.max_error))
    _saved(case, found, some, reference, here)
    if case.backend.name in APPLE:
        found.stages.append(parity.unverified(APPLE_STAGE, "saved file", ONLY_ON_A_MAC))
    _structure(case, found)
    if test is not None:
        _decisions(case, found, test, eager, here)
    return found


def _outside(case: Case, x: np.ndarray) -> np.ndarray:
    """Probabilities by the student alone, normalised and calibrated in numpy: shares nothing with the graph that is exported."""
    mean, std = (np.array(value, np.float64).reshape(1, 3, 1, 1) for value in (case.preprocess.mean, case.preprocess.std))
    normalised = ((x / 255.0 - mean) / std).astype(np.float32)
    with torch.inference_mode():
        logits = np.concatenate([case.student(torch.from_numpy(normalised[i : i + 32])).numpy() for i in range(0, len(x), 32)])
    logits = logits.astype(np.float64) / case.calibration.temperature + np.array(case.calibration.bias or 0.0)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _saved(case: Case, found: Checks, some: np.ndarray, reference: list[np.ndarray], here: str) -> None:
    against = case.lowered.reference_name
    try:
        given = case.backend.run(case.lowered.model_path, some)
    except CannotRunHere as reason:
        found.ran = False
        found.golden = [output[: len(case.golden)] for output in reference]
        found.stages.append(parity.unverified("saved file", against, str(reason)))
        return
    found.golden = [output[: len(case.golden)] for output in given]
    found.stages.append(parity.compared("saved file", against, given, reference, here))
    found.gates.append(parity.at_most("max_error", found.stages[-1].max_error or 0.0, case.max_error))
    found.gates.append(parity.at_least("sqnr_db", found.stages[-1].sqnr_db or 0.0, case.gates.sqnr_db))


def _structure(case: Case, found: Checks) -> None:
    """Counts that come from the file: delegation, int8 layers, what travels inside."""
    delegation = case.lowered.delegation
    if delegation is not None and case.lowered.promises_delegation:
        found.gates.append(parity.at_least("delegated layers", delegation.heavy_delegated, delegation.heavy_total))
        if "int8" in case.precision or case.precision == "mixed":
            found.gates.append(parity.at_least("int8 layers", delegation.heavy_quantized, delegation.heavy_total - len(case.float_layers)))
    inside = case.backend.constants(case.lowered.model_path)
    wrong = [name for name, value in case.constants.items() if inside.get(name) != value]
    found.gates.append(parity.at_most("constants that differ", len(wrong), 0))


def _decisions(case: Case, found: Checks, test: Pictures, eager: Run, here: str) -> None:
    """Agreement and accuracy on the whole test split: the file where it runs here, else its eager source."""
    assert case.evidence is not None
    x = test.inputs.astype(np.float32)
    exact = eager(x)[0]
    given = case.backend.run(case.lowered.model_path, x)[0] if found.ran else case.lowered.eager_reference(x)[0]
    draws = [
        metric_draws(["accuracy", "balanced_accuracy"], test.truth, one, test.lesions, case.evidence.dataset.classes)
        for one in (exact, given)
    ]
    lost = draws[0]["balanced_accuracy"] - draws[1]["balanced_accuracy"]
    drop = interval(lost.value, lost.spread)
    stage = "saved file, decisions" if found.ran else f"{case.lowered.reference_name}, decisions"
    found.stages.append(parity.compared(stage, "eager fp32", [given], [exact], here if found.ran else "torch", drop))
    found.gates.append(parity.at_least("agreement", found.stages[-1].agreement or 0.0, case.gates.agreement))
    found.gates.append(parity.non_inferior("balanced accuracy", drop, case.gates.accuracy_drop))
    found.accuracy = {name: _dumped(draws[1][name]) for name in draws[1]}
    found.accuracy["fp32_balanced_accuracy"] = _dumped(draws[0]["balanced_accuracy"])
    found.accuracy["balanced_accuracy_drop"] = drop.model_dump(mode="json")
    found.accuracy["n"] = len(test.truth)


def _dumped(draws: Any) -> dict[str, Any]:
    figure: Interval = interval(draws.value, draws.spread)
    return figure.model_dump(mode="json")


def on_arm(case: Case, found: Checks, processors: Sequence[str] = TRUSTED) -> None:
    """The golden set on emulated Arm processors; answers only."""
    for cpu in processors:
        given = [
            one.reshape(want.shape) for one, want in zip(outputs(case.lowered.model_path, case.golden, cpu), found.golden, strict=True)
        ]
        found.stages.append(parity.compared(f"saved file on Arm ({cpu})", "saved file", given, found.golden, f"qemu:{cpu}"))
        found.gates.append(parity.at_most(f"golden set on {cpu}", found.stages[-1].max_error or 0.0, case.gates.max_error))


def first_failure(case: Case, found: Checks) -> tuple[Gate, str, parity.Parting | None] | None:
    """The first failed gate, the first stage whose numbers part, and the layer where they do."""
    failed = [gate for gate in found.gates if not gate.passed]
    if not failed:
        return None
    stage = next((row.stage for row in found.stages if row.sqnr_db is not None and row.sqnr_db < case.gates.sqnr_db), "")
    stage = stage or ("lowered graph" if failed[0].name == "lowered graph" else "")
    return failed[0], stage, _parting(case, stage)


def _parting(case: Case, stage: str) -> parity.Parting | None:
    graph = case.lowered.graph
    if graph is None or not stage or stage == "eager fp32":
        return None
    x = case.golden.astype(np.float32)
    if stage.startswith("saved file"):
        return _changed_weights(case.lowered.model_path, graph)
    if stage == "lowered graph":
        wanted = graphs.layer_outputs(graph, x[:1])
        given = case.lowered.layers(x[:1]) if case.lowered.layers else []
        return parity.first_parting(dict(zip(wanted, given, strict=False)), wanted)
    plain = case.plain or graphs.capture(case.deployable, torch.zeros(1, *x.shape[1:]))
    return parity.first_parting(graphs.layer_outputs(graph, x), graphs.layer_outputs(plain, x))


def _changed_weights(model_path: Path, graph: torch.fx.GraphModule) -> parity.Parting | None:
    """The first layer whose weights in the file are not the graph's; compared sorted, since delegates order them their own way."""
    if model_path.suffix != ".pte":
        return None
    file = pte.read(model_path)
    for node, stored in zip(graphs.heavy_nodes(graph), file.heavy, strict=False):
        weights = graphs.weights_of(graph, node).numpy()
        kept = np.frombuffer(file.blobs.get(stored.weight_key, b""), weights.dtype)
        if not np.array_equal(np.sort(kept), np.sort(weights.ravel())):
            return parity.Parting(graphs.layer_name(node), parity.sqnr_db(np.sort(kept), np.sort(weights.ravel())))
    return None
