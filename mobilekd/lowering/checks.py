"""The parity table and the gates of one export: every step down compared with the step above, in
one order.
"""

from typing import Any

import numpy as np
import torch

from mobilekd.backends.base import eager_runner, one_thread
from mobilekd.formats.gates import NOT_DECIDED
from mobilekd.formats.parity_names import GateId, Part, StageId, StageName
from mobilekd.graphs import torch_graph
from mobilekd.inference.guard import shown
from mobilekd.lowering import parity
from mobilekd.lowering.exported import Export, ParityReport
from mobilekd.lowering.judgement import judge_decisions
from mobilekd.metrics.calibrate import softmax
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

#: The same where an interpreter of ours answered.
NOT_ITS_KERNELS = (
    "an interpreter answered; the phone's own kernels must answer the golden set first"
)


@one_thread()
def check(export: Export) -> ParityReport:
    """All stages that this machine can run.

    Golden and test photographs, and those of a clinic that the guard knows, go through eager and
    through the file once; stages and decisions are read from the same answers.
    """
    report = ParityReport()
    test = export.evaluation_set.test() if export.evaluation_set else None
    golden = len(export.golden)
    clinic = export.golden[:0] if export.clinic is None else export.clinic
    whole = np.concatenate([export.golden, *([test.inputs] if test else []), clinic])
    rest = range(golden, len(whole), max(1, (len(whole) - golden) // SUBSET))[:SUBSET]
    some = [*range(golden), *rest]
    here = export.backend.where()
    exact = eager_runner(export.plain)(whole)
    few = whole[some].astype(np.float32)
    source = [output[some] for output in exact]
    _eager(export, report, few, source)
    reference = _eager_reference(export, report, few, source)
    _lowered_graph(export, report, few[:golden], [output[:golden] for output in reference])
    given = _saved(export, report, whole, some, reference, here)
    _only_elsewhere(export, report)
    structure(export, report)
    if not report.ran and export.lowered.reference is StageId.EAGER:
        # what would be judged in its place is the student in fp32, against itself
        row = StageName(StageId.SAVED_FILE, Part.DECISIONS)
        unseen = f"{NOT_DECIDED}: no machine here runs the file"
        report.stages.append(parity.unverified(row, StageId.EAGER, unseen))
    elif len(whole) > golden:
        answers = given or export.lowered.eager_reference(whole[golden:])
        answers = [output[golden - len(whole) :] for output in answers]
        wanted = [output[golden:] for output in exact]
        if test is not None:
            own = len(test.truth)
            judge_decisions(export, report, test, wanted[0][:own], answers[0][:own], here)
        if export.guard:
            same = (answers[-1] > export.threshold) == (wanted[-1] > export.threshold)
            report.gates.append(
                parity.at_least(GateId.GUARD_AGREEMENT, float(same.mean()), export.gates.agreement)
            )
    return report


def _eager(export: Export, report: ParityReport, few: np.ndarray, source: list[np.ndarray]) -> None:
    """The graph in floating point, which answered ``source`` to the photographs ``few``, against
    the student alone.
    """
    truth = outside(export, few)
    report.stages += parity.stage_rows(
        StageId.EAGER, StageId.STUDENT, source, truth, "torch", threshold=export.threshold
    )
    compared = [(GateId.PREPROCESSING, 0, PREPROCESSING_ERROR)]
    if export.cam:
        compared.append((GateId.ACTIVATION_MAP, 1, export.gates.max_error))
    if export.guard:
        compared.append((GateId.GUARD, -1, export.gates.max_error))
    report.gates += [
        parity.at_most(gate, parity.max_error(source[output], truth[output]), limit)
        for gate, output, limit in compared
    ]


def _eager_reference(
    export: Export, report: ParityReport, few: np.ndarray, source: list[np.ndarray]
) -> list[np.ndarray]:
    """What the file must answer to ``few``: the rounded graph's answers, else ``source`` itself."""
    stage = export.lowered.reference
    if stage is StageId.EAGER:
        return source
    reference = export.lowered.eager_reference(few)
    report.stages += parity.stage_rows(
        stage, StageId.EAGER, reference, source, "torch", threshold=export.threshold
    )
    return reference


def _lowered_graph(
    export: Export, report: ParityReport, golden: np.ndarray, reference: list[np.ndarray]
) -> None:
    """The graph that the backend made, on the golden photographs."""
    stage, against = StageId.LOWERED_GRAPH, export.lowered.reference
    if export.lowered.lowered is None:
        unseen = f"{export.backend.name} has none that runs here"
        report.stages.append(parity.unverified(stage, against, unseen))
        return
    answers = export.lowered.lowered(golden)
    rows = parity.stage_rows(
        stage, against, answers, reference, "torch", threshold=export.threshold
    )
    report.stages += rows
    error = max(row.max_error or 0.0 for row in rows)
    report.gates.append(parity.at_most(GateId.LOWERED_GRAPH, error, export.max_error))


def _only_elsewhere(export: Export, report: ParityReport) -> None:
    """Rows that stay open, because a Mac or a phone alone can fill them."""
    backend = export.backend
    if backend.apple is not None:
        report.stages.append(parity.unverified(backend.apple, StageId.SAVED_FILE, ONLY_ON_A_MAC))
    if backend.socs:
        report.stages.append(parity.unverified(StageId.PHONE, StageId.SAVED_FILE, ONLY_ON_A_PHONE))
    elif backend.interpreted and not backend.apple:
        report.stages.append(parity.unverified(StageId.PHONE, StageId.SAVED_FILE, NOT_ITS_KERNELS))


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
