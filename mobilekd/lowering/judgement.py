"""What an export's decisions on the test photographs are worth."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.formats.parity_names import Part, StageId, StageName
from mobilekd.inference.evaluation_set import LabelledImages
from mobilekd.lowering import parity
from mobilekd.lowering.decisions import accuracy_gate, agreement_gate
from mobilekd.lowering.exported import Export, ParityReport
from mobilekd.metrics import interval, metric_draws
from mobilekd.metrics.predictions import Predictions
from mobilekd.metrics.shapes import by_origin


def judge_decisions(
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
