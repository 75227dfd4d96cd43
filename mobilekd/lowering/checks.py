"""The parity table and the gates of one export: every step down compared with the step above, in
one order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from mobilekd.backends import Backend, Lowered
from mobilekd.backends.base import eager_runner, one_thread
from mobilekd.backends.shared.coreml_file import APPLE_STAGE
from mobilekd.formats.artifact import Calibration, Gate, Interval, Stage
from mobilekd.formats.constants import Constants
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import GatesTable
from mobilekd.graphs import torch_graph
from mobilekd.inference.evaluation_set import EvaluationSet, LabelledImages
from mobilekd.lowering import parity
from mobilekd.metrics import interval, metric_draws
from mobilekd.runners.qemu import TRUSTED, outputs
from mobilekd.support.errors import CannotRunHere, UserError

#: Test photographs that also go through the slow stages (eager quantised); the decisions are judged
#: on all of them.
SUBSET = 48
PREPROCESSING_ERROR = 1e-4

#: Why Apple's kernels are not verified here.
ONLY_ON_A_MAC = (
    "Core ML predicts on Apple's systems only; ios_export/check_on_mac.py fills this row there"
)

#: Rows of the parity table that Arm processors fill, and why they may be empty.
ARM = "saved file on Arm"
NOT_ASKED = "not asked for; export --verify arm runs the golden set on emulated Arm processors"
SME = "saved file on Arm with SME"
NO_SME = (
    "int8 answers are wrong under emulated SME (benchmarks/protocol.md); a phone that has SME must"
    " answer the golden set first"
)


@dataclass
class Checks:
    """What was found so far."""

    stages: list[Stage] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    # outputs on the golden set: the file's, else the eager reference's
    golden: list[np.ndarray] = field(default_factory=list)
    ran: bool = True  # the file itself answered
    wrong_constants: tuple[str, ...] = ()
    accuracy: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Case:
    """One export to be judged."""

    student: nn.Module
    calibration: Calibration
    preprocess: Preprocess
    backend: Backend
    precision: str
    lowered: Lowered
    plain: torch.fx.GraphModule  # the deployable as a graph, before anything was rounded
    constants: Constants
    golden: np.ndarray  # uint8 [N, 3, H, W]
    gates: GatesTable
    evaluation_set: EvaluationSet | None
    float_layers: frozenset[str]

    @property
    def cam(self) -> bool:
        """A class activation map comes second."""
        outputs = self.constants["outputs"]
        return isinstance(outputs, list) and "cam" in outputs

    @property
    def rounded(self) -> bool:
        """The file computes in int8, or holds int8 weights."""
        return "int8" in self.precision or self.precision == "mixed"

    @property
    def max_error(self) -> float:
        """How far the file may be from its eager source; what is left in floating point may round
        otherwise before an int8 layer.
        """
        return self.gates.max_error if self.precision == "fp32" else self.gates.max_error_quantized

    def golden_error(self, ran: bool) -> float:
        """How far a device may be from the golden answers: other kernels than those that gave them
        may round as int8's do.
        """
        return self.gates.max_error if ran and not self.backend.apple else self.max_error


@one_thread()
def check(case: Case) -> Checks:
    """All stages that this machine can run.

    Golden and test photographs go through eager and through the file once; stages and decisions are
    read from the same answers.
    """
    found = Checks()
    test = case.evaluation_set.test() if case.evaluation_set else None
    golden = len(case.golden)
    whole = np.concatenate([case.golden, test.inputs]) if test else case.golden
    rest = range(golden, len(whole), max(1, (len(whole) - golden) // SUBSET))[:SUBSET]
    some = [*range(golden), *rest]
    here = case.backend.where()
    exact = eager_runner(case.plain)(whole)
    few = whole[some].astype(np.float32)
    source = [output[some] for output in exact]
    truth = outside(case, few)
    found.stages += parity.rows("eager fp32", "student, normalised outside", source, truth, "torch")
    found.gates.append(
        parity.at_most("preprocessing", parity.max_error(source[0], truth[0]), PREPROCESSING_ERROR)
    )
    if case.cam:
        found.gates.append(
            parity.at_most(
                "activation map", parity.max_error(source[1], truth[1]), case.gates.max_error
            )
        )
    reference = source
    if case.lowered.reference_name != "eager fp32":
        reference = case.lowered.eager_reference(few)
        found.stages += parity.rows(
            case.lowered.reference_name, "eager fp32", reference, source, "torch"
        )
    if case.lowered.lowered is None:
        found.stages.append(
            parity.unverified(
                "lowered graph",
                case.lowered.reference_name,
                f"{case.backend.name} has none that runs here",
            )
        )
    else:
        graph = case.lowered.lowered(few[:golden])
        made = parity.rows(
            "lowered graph",
            case.lowered.reference_name,
            graph,
            [output[:golden] for output in reference],
            "torch",
        )
        found.stages += made
        found.gates.append(
            parity.at_most(
                "lowered graph", max(row.max_error or 0.0 for row in made), case.max_error
            )
        )
    given = _saved(case, found, whole, some, reference, here)
    if case.backend.apple:
        found.stages.append(parity.unverified(APPLE_STAGE, "saved file", ONLY_ON_A_MAC))
    structure(case, found)
    if test is not None:
        answers = given[0] if given else case.lowered.eager_reference(whole[golden:])[0]
        _decisions(case, found, test, exact[0][golden:], answers[-len(test.truth) :], here)
    return found


def outside(case: Case, x: np.ndarray) -> list[np.ndarray]:
    """What the student alone answers, normalised and calibrated in numpy: shares nothing with the
    graph that is exported.

    The class activation map comes from the student's own head, which sees one cell of the features
    at a time: pooling one cell changes nothing, so its logits are that cell's evidence.
    """
    mean, std = (
        np.array(value, np.float64).reshape(1, 3, 1, 1)
        for value in (case.preprocess.mean, case.preprocess.std)
    )
    normalised = ((x / 255.0 - mean) / std).astype(np.float32)
    student: Any = case.student
    with torch.inference_mode():
        logits = np.concatenate(
            [
                student(torch.from_numpy(normalised[i : i + 32])).numpy()
                for i in range(0, len(x), 32)
            ]
        )
        logits = logits.astype(np.float64) / case.calibration.temperature + np.array(
            case.calibration.bias or 0.0
        )
        powers = np.exp(logits - logits.max(1, keepdims=True))
        probabilities = powers / powers.sum(1, keepdims=True)
        if not case.cam:
            return [probabilities]
        maps = [
            _evidence(student, torch.from_numpy(one[None]), own)
            for one, own in zip(normalised, probabilities, strict=True)
        ]
    return [probabilities, np.stack(maps)]


def _evidence(student: Any, x: torch.Tensor, probabilities: np.ndarray) -> np.ndarray:
    """``[1, 3, H, W]`` and ``[C]`` -> ``[h, w]`` between 0 and 1."""
    features = student.forward_features(x)  # [1, D, h, w]
    cells = features.flatten(2)[0].T[:, :, None, None]  # [h w, D, 1, 1]
    evidence = student.forward_head(cells).numpy().astype(np.float64) @ probabilities
    evidence -= evidence.min()
    found: np.ndarray = (evidence / max(evidence.max(), 1e-6)).reshape(features.shape[2:])
    return found


def _saved(
    case: Case,
    found: Checks,
    whole: np.ndarray,
    some: list[int],
    reference: list[np.ndarray],
    here: str,
) -> list[np.ndarray] | None:
    """The file's answers to all photographs, None where it does not run here."""
    against, golden = case.lowered.reference_name, len(case.golden)
    try:
        given = case.backend.run(case.lowered.model_path, whole)
    except CannotRunHere as reason:
        found.ran = False
        found.golden = [output[:golden] for output in reference]
        found.stages.append(parity.unverified("saved file", against, str(reason)))
        return None
    found.golden = [output[:golden] for output in given]
    made = parity.rows("saved file", against, [output[some] for output in given], reference, here)
    found.stages += made
    found.gates.append(
        parity.at_most("max_error", max(row.max_error or 0.0 for row in made), case.max_error)
    )
    found.gates.append(
        parity.at_least("sqnr_db", min(row.sqnr_db or 0.0 for row in made), case.gates.sqnr_db)
    )
    return given


def structure(case: Case, found: Checks) -> None:
    """Counts that come from the file: delegation, int8 layers, what travels inside; and what
    training left in the graph.
    """
    delegation = case.lowered.delegation
    if delegation is not None and case.lowered.promises_delegation:
        found.gates.append(
            parity.at_least("delegated layers", delegation.heavy_delegated, delegation.heavy_total)
        )
        if case.rounded:
            found.gates.append(
                parity.at_least(
                    "int8 layers",
                    delegation.heavy_quantized,
                    delegation.heavy_total - len(case.float_layers),
                )
            )
    # what Core ML's interpreter knows has no such operators, and it refuses the unknown
    if not case.backend.apple:
        remains = torch_graph.training_remains(case.lowered.graph()) if case.lowered.graph else []
        found.gates.append(parity.at_most("training remains", len(remains), 0))
    inside = case.backend.constants(case.lowered.model_path)
    found.wrong_constants = tuple(
        name for name, value in case.constants.items() if inside.get(name) != value
    )
    found.gates.append(parity.at_most("constants that differ", len(found.wrong_constants), 0))


def _decisions(
    case: Case, found: Checks, test: LabelledImages, exact: np.ndarray, given: np.ndarray, here: str
) -> None:
    """Agreement and accuracy on the whole test split, ``[N, C]`` each: the file where it runs here,
    else its eager source.
    """
    assert case.evaluation_set is not None
    draws = [
        metric_draws(
            ["accuracy", "balanced_accuracy"],
            test.truth,
            one,
            test.lesions,
            case.evaluation_set.dataset.classes,
        )
        for one in (exact, given)
    ]
    lost = draws[0]["balanced_accuracy"] - draws[1]["balanced_accuracy"]
    drop = interval(lost.value, lost.spread)
    stage = "saved file, decisions" if found.ran else f"{case.lowered.reference_name}, decisions"
    found.stages.append(
        parity.compared(stage, "eager fp32", [given], [exact], here if found.ran else "torch", drop)
    )
    found.gates.append(
        parity.at_least("agreement", found.stages[-1].agreement or 0.0, case.gates.agreement)
    )
    found.gates.append(parity.non_inferior("balanced accuracy", drop, case.gates.accuracy_drop))
    found.accuracy = {name: _dumped(draws[1][name]) for name in draws[1]}
    found.accuracy["fp32_balanced_accuracy"] = _dumped(draws[0]["balanced_accuracy"])
    found.accuracy["balanced_accuracy_drop"] = drop.model_dump(mode="json")
    found.accuracy["n"] = len(test.truth)


def _dumped(draws: Any) -> dict[str, Any]:
    figure: Interval = interval(draws.value, draws.spread)
    return figure.model_dump(mode="json")


def on_arm(case: Case, found: Checks, processors: Sequence[str] = TRUSTED) -> None:
    """The golden set on emulated Arm processors; answers only. Without ``processors`` the table
    says that nobody asked.
    """
    if not case.backend.processor:
        return
    if not processors:
        found.stages.append(parity.unverified(ARM, "saved file", NOT_ASKED))
    for cpu in processors:
        given = [
            one.reshape(want.shape)
            for one, want in zip(
                outputs(case.lowered.model_path, case.golden, cpu), found.golden, strict=True
            )
        ]
        made = parity.rows(f"{ARM} ({cpu})", "saved file", given, found.golden, f"qemu:{cpu}")
        found.stages += made
        found.gates.append(
            parity.at_most(
                f"golden set on {cpu}",
                max(row.max_error or 0.0 for row in made),
                case.gates.max_error,
            )
        )
    if case.rounded:
        found.stages.append(parity.unverified(SME, "saved file", NO_SME))


def refuse_arm(backend: Backend) -> None:
    """``--verify arm`` for a file that no processor runs is the user's mistake, told before
    anything is lowered.
    """
    if not backend.processor:
        raise UserError(
            f"--verify arm: {backend.name} does not run on a processor alone, so an emulated one"
            " cannot answer; leave it out"
        )
