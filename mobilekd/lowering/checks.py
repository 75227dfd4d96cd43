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
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.constants import Constants
from mobilekd.formats.gates import NOT_DECIDED, Gate, Stage
from mobilekd.formats.guard import Guard
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.formats.parity_names import GateId, Part, StageId, StageName
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import GatesTable
from mobilekd.graphs import torch_graph
from mobilekd.inference.evaluation_set import EvaluationSet, LabelledImages
from mobilekd.inference.guard import shown
from mobilekd.lowering import parity
from mobilekd.lowering.decisions import accuracy_gate, agreement_gate
from mobilekd.metrics import interval, metric_draws
from mobilekd.metrics.calibrate import softmax
from mobilekd.metrics.predictions import Predictions
from mobilekd.metrics.shapes import by_origin
from mobilekd.runners.qemu import TRUSTED, outputs
from mobilekd.support.errors import CannotRunHere

#: Test photographs that also go through the slow stages (eager quantised); the decisions are judged
#: on all of them.
SUBSET = 48
PREPROCESSING_ERROR = 1e-4

#: Why Apple's kernels are not verified here.
ONLY_ON_A_MAC = (
    "Apple's processors answer on Apple's systems only; ios_export/check_on_mac.py fills this row"
    " there"
)

#: Why nothing is known of the chip itself where a simulator answered.
ONLY_ON_A_PHONE = (
    "the maker's simulator answered; a phone with this chip must answer the golden set first"
)

#: The same where an interpreter answered for a graphics processor.
ONLY_ON_A_GPU = "no graphics processor answered here; a phone's must answer the golden set first"

#: Why the rows that Arm processors fill may be empty.
NOT_ASKED = "not asked for; export --verify arm runs the golden set on emulated Arm processors"
NO_SME = (
    "int8 answers are wrong under emulated SME (benchmarks/protocol.md); a phone that has SME must"
    " answer the golden set first"
)


@dataclass
class ParityReport:
    """The parity table and the gates of one export, filled as it is checked."""

    stages: list[Stage] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    # outputs on the golden set: the file's, else the eager reference's
    golden: list[np.ndarray] = field(default_factory=list)
    ran: bool = True  # the file itself answered
    wrong_constants: tuple[str, ...] = ()
    accuracy: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Export:
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
    target: str  # how the user names the run
    guard: Guard | None = None

    @property
    def threshold(self) -> float | None:
        """The guard's, whose score comes last; None where there is none."""
        return self.guard.threshold if self.guard else None

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
        elsewhere = bool(self.backend.apple or self.backend.socs)
        return self.gates.max_error if ran and not elsewhere else self.max_error


@one_thread()
def check(export: Export) -> ParityReport:
    """All stages that this machine can run.

    Golden and test photographs go through eager and through the file once; stages and decisions are
    read from the same answers.
    """
    report = ParityReport()
    test = export.evaluation_set.test() if export.evaluation_set else None
    golden = len(export.golden)
    whole = np.concatenate([export.golden, test.inputs]) if test else export.golden
    rest = range(golden, len(whole), max(1, (len(whole) - golden) // SUBSET))[:SUBSET]
    some = [*range(golden), *rest]
    here = export.backend.where()
    exact = eager_runner(export.plain)(whole)
    few = whole[some].astype(np.float32)
    source = [output[some] for output in exact]
    truth = outside(export, few)
    report.stages += parity.stage_rows(
        StageId.EAGER, StageId.STUDENT, source, truth, "torch", threshold=export.threshold
    )
    report.gates.append(
        parity.at_most(
            GateId.PREPROCESSING, parity.max_error(source[0], truth[0]), PREPROCESSING_ERROR
        )
    )
    if export.cam:
        report.gates.append(
            parity.at_most(
                GateId.ACTIVATION_MAP, parity.max_error(source[1], truth[1]), export.gates.max_error
            )
        )
    if export.guard:
        report.gates.append(
            parity.at_most(
                GateId.GUARD, parity.max_error(source[-1], truth[-1]), export.gates.max_error
            )
        )
    reference = source
    if export.lowered.reference is not StageId.EAGER:
        reference = export.lowered.eager_reference(few)
        report.stages += parity.stage_rows(
            export.lowered.reference,
            StageId.EAGER,
            reference,
            source,
            "torch",
            threshold=export.threshold,
        )
    if export.lowered.lowered is None:
        report.stages.append(
            parity.unverified(
                StageId.LOWERED_GRAPH,
                export.lowered.reference,
                f"{export.backend.name} has none that runs here",
            )
        )
    else:
        graph = export.lowered.lowered(few[:golden])
        made = parity.stage_rows(
            StageId.LOWERED_GRAPH,
            export.lowered.reference,
            graph,
            [output[:golden] for output in reference],
            "torch",
            threshold=export.threshold,
        )
        report.stages += made
        report.gates.append(
            parity.at_most(
                GateId.LOWERED_GRAPH, max(row.max_error or 0.0 for row in made), export.max_error
            )
        )
    given = _saved(export, report, whole, some, reference, here)
    if (mac := export.backend.apple) is not None:
        report.stages.append(parity.unverified(mac, StageId.SAVED_FILE, ONLY_ON_A_MAC))
    if export.backend.socs:
        report.stages.append(parity.unverified(StageId.PHONE, StageId.SAVED_FILE, ONLY_ON_A_PHONE))
    elif export.backend.computes_on == "GPU":
        report.stages.append(parity.unverified(StageId.PHONE, StageId.SAVED_FILE, ONLY_ON_A_GPU))
    structure(export, report)
    if not report.ran and export.lowered.reference is StageId.EAGER:
        # what would be judged in its place is the student in fp32, against itself
        row = StageName(StageId.SAVED_FILE, Part.DECISIONS)
        unseen = f"{NOT_DECIDED}: no machine here runs the file"
        report.stages.append(parity.unverified(row, StageId.EAGER, unseen))
    elif test is not None:
        answers = given or export.lowered.eager_reference(whole[golden:])
        answers = [output[-len(test.truth) :] for output in answers]
        _decisions(export, report, test, exact[0][golden:], answers[0], here)
        if export.guard:
            same = (answers[-1] > export.threshold) == (exact[-1][golden:] > export.threshold)
            report.gates.append(
                parity.at_least(GateId.GUARD_AGREEMENT, float(same.mean()), export.gates.agreement)
            )
    return report


def outside(export: Export, x: np.ndarray) -> list[np.ndarray]:
    """What the student alone answers, normalised and calibrated in numpy: shares nothing with the
    graph that is exported.

    The class activation map comes from the student's own head, which sees one cell of the features
    at a time: pooling one cell changes nothing, so its logits are that cell's evidence. The
    guard's score comes from its document, in float64.
    """
    mean, std = (
        np.array(value, np.float64).reshape(1, 3, 1, 1)
        for value in (export.preprocess.mean, export.preprocess.std)
    )
    normalised = ((x / 255.0 - mean) / std).astype(np.float32)
    student: Any = export.student
    with torch.inference_mode():
        logits = np.concatenate(
            [
                student(torch.from_numpy(normalised[i : i + 32])).numpy()
                for i in range(0, len(x), 32)
            ]
        )
        logits = logits.astype(np.float64) / export.calibration.temperature + np.array(
            export.calibration.bias or 0.0
        )
        answers = [softmax(logits)]
        if export.cam:
            maps = [
                _activation_map(student, torch.from_numpy(one[None]), own)
                for one, own in zip(normalised, answers[0], strict=True)
            ]
            answers.append(np.stack(maps))
    if export.guard:
        seen = shown(
            student,
            export.guard.layers,
            export.preprocess,
            x,
            deviations=export.guard.deviations,
        )
        answers.append(export.guard.scores(seen)[:, None])
    return answers


def _activation_map(student: Any, x: torch.Tensor, probabilities: np.ndarray) -> np.ndarray:
    """``[1, 3, H, W]`` and ``[C]`` -> ``[h, w]`` between 0 and 1."""
    features = student.forward_features(x)  # [1, D, h, w]
    cells = features.flatten(2)[0].T[:, :, None, None]  # [h w, D, 1, 1]
    heat: np.ndarray = student.forward_head(cells).numpy().astype(np.float64) @ probabilities
    heat -= heat.min()
    return (heat / max(heat.max(), 1e-6)).reshape(features.shape[2:])


def _saved(
    export: Export,
    report: ParityReport,
    whole: np.ndarray,
    some: list[int],
    reference: list[np.ndarray],
    here: str,
) -> list[np.ndarray] | None:
    """The file's answers to all photographs, None where it does not run here."""
    against, golden = export.lowered.reference, len(export.golden)
    try:
        given = export.backend.run(export.lowered.model_path, whole)
    except CannotRunHere as reason:
        report.ran = False
        report.golden = [output[:golden] for output in reference]
        report.stages.append(parity.unverified(StageId.SAVED_FILE, against, str(reason)))
        return None
    report.golden = [output[:golden] for output in given]
    made = parity.stage_rows(
        StageId.SAVED_FILE,
        against,
        [output[some] for output in given],
        reference,
        here,
        threshold=export.threshold,
    )
    report.stages += made
    report.gates.append(
        parity.at_most(
            GateId.MAX_ERROR, max(row.max_error or 0.0 for row in made), export.max_error
        )
    )
    report.gates.append(
        parity.at_least(GateId.SQNR, min(row.sqnr_db or 0.0 for row in made), export.gates.sqnr_db)
    )
    return given


def structure(export: Export, report: ParityReport) -> None:
    """Counts that come from the file: delegation, int8 layers, what travels inside; and what
    training left in the graph.
    """
    delegation = export.lowered.delegation
    if delegation is not None and export.lowered.promises_delegation:
        report.gates.append(
            parity.at_least(
                GateId.DELEGATED_LAYERS, delegation.heavy_delegated, delegation.heavy_total
            )
        )
        if export.rounded:
            report.gates.append(
                parity.at_least(
                    GateId.INT8_LAYERS,
                    delegation.heavy_quantized,
                    delegation.heavy_total - len(export.float_layers),
                )
            )
    # what Core ML's interpreter knows has no such operators, and it refuses the unknown
    if not export.backend.apple:
        remains = (
            torch_graph.training_remains(export.lowered.graph()) if export.lowered.graph else []
        )
        report.gates.append(parity.at_most(GateId.TRAINING_REMAINS, len(remains), 0))
    inside = export.backend.constants(export.lowered.model_path)
    report.wrong_constants = tuple(
        name for name, value in export.constants.items() if inside.get(name) != value
    )
    report.gates.append(parity.at_most(GateId.CONSTANTS, len(report.wrong_constants), 0))


def _decisions(
    export: Export,
    report: ParityReport,
    test: LabelledImages,
    exact: np.ndarray,
    given: np.ndarray,
    here: str,
) -> None:
    """Agreement and accuracy on the whole test split, ``[N, C]`` each: the file where it runs here,
    else its eager source.
    """
    assert export.evaluation_set is not None
    draws = [
        metric_draws(
            ["accuracy", "balanced_accuracy"],
            test.truth,
            one,
            test.lesions,
            export.evaluation_set.dataset.classes,
        )
        for one in (exact, given)
    ]
    lost = draws[0]["balanced_accuracy"] - draws[1]["balanced_accuracy"]
    drop = interval(lost.value, lost.spread)
    stage = StageId.SAVED_FILE if report.ran else export.lowered.reference
    name, where = StageName(stage, Part.DECISIONS), here if report.ran else "torch"
    report.stages.append(parity.stage_row(name, StageId.EAGER, [given], [exact], where, drop))
    count, gates, same = len(test.truth), export.gates, export.precision == "fp32"
    report.gates.append(agreement_gate(given, exact, gates.agreement, exact=same))
    report.gates.append(
        accuracy_gate(drop, count, gates.accuracy_drop, gates.agreement, exact=same)
    )
    report.accuracy = {name: _dumped(draws[1][name]) for name in draws[1]}
    report.accuracy["fp32_balanced_accuracy"] = _dumped(draws[0]["balanced_accuracy"])
    report.accuracy["balanced_accuracy_drop"] = drop.model_dump(mode="json")
    report.accuracy["n"] = len(test.truth)
    report.accuracy |= accuracy_by_origin(test, given, export.evaluation_set.dataset.classes)


#: What the manifest says of each origin, as ``balanced_accuracy.BCN``.
BY_ORIGIN = ("balanced_accuracy", "accuracy", "ece")


def accuracy_by_origin(
    test: LabelledImages, given: np.ndarray, classes: Sequence[Label]
) -> dict[str, dict[str, Any]]:
    """Figures of each origin of the test split, where origins are known."""
    judged = Predictions(
        tuple(label.key for label in classes),
        tuple(map(str, range(len(test.truth)))),
        test.lesions,
        test.truth,
        np.asarray(given, float),
    )
    return {
        f"{name}.{origin}": found["metrics"].get(name, {"value": None, "reason": "too few"})
        for origin, found in by_origin(judged, test.origins, classes).items()
        for name in BY_ORIGIN
    }


def _dumped(draws: Any) -> dict[str, Any]:
    figure: Interval = interval(draws.value, draws.spread)
    return figure.model_dump(mode="json")


def on_arm(export: Export, report: ParityReport, processors: Sequence[str] = TRUSTED) -> None:
    """The golden set on emulated Arm processors; answers only. Without ``processors`` the table
    says that nobody asked.
    """
    if not export.backend.processor:
        return
    if not processors:
        report.stages.append(parity.unverified(StageId.ARM, StageId.SAVED_FILE, NOT_ASKED))
    for cpu in processors:
        given = [
            one.reshape(want.shape)
            for one, want in zip(
                outputs(export.lowered.model_path, export.golden, cpu), report.golden, strict=True
            )
        ]
        made = parity.stage_rows(
            StageId.ARM,
            StageId.SAVED_FILE,
            given,
            report.golden,
            f"qemu:{cpu}",
            cpu,
            export.threshold,
        )
        report.stages += made
        report.gates.append(
            parity.at_most(
                GateId.GOLDEN_SET,
                max(row.max_error or 0.0 for row in made),
                export.gates.max_error,
                cpu,
            )
        )
    if export.rounded:
        report.stages.append(parity.unverified(StageId.ARM_SME, StageId.SAVED_FILE, NO_SME))
