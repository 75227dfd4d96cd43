"""Artifacts, and students on data of another origin."""

from mobilekd.figures.tables import Cell, number, percent, table
from mobilekd.page.blocks import Section, section_of
from mobilekd.page.classes import pictured
from mobilekd.page.inputs import Inputs


def section(inputs: Inputs) -> Section | None:
    """Artifacts, and students on data of another origin."""
    shown = pictured(inputs)
    evaluations = [one for one in inputs.evaluations if one not in shown]
    if not evaluations:
        return None
    rows = []
    for one in evaluations:
        target, data, metrics = one.target, one.data, one.metrics
        left_out = data.left_out
        overlap = left_out.overlap
        gone = sum(left_out.unmapped.values()) + left_out.unlabelled
        rows.append(
            [
                Cell(target.name, f"{target.backend} {target.precision}"),
                Cell(
                    data.kind,
                    "its own test split" if data.role == "test" else "all labelled photographs",
                ),
                str(data.photographs),
                Cell(
                    "unknown" if overlap is None else str(overlap),
                    mark="warn" if overlap is None else "",
                ),
                str(gone),
                percent(one.metric("balanced_accuracy")),
                percent(one.metric("accuracy")),
                percent(one.metric("macro_auc")),
                number(one.metric("ece")),
                percent(metrics.get("melanoma_sensitivity_at_95_specificity")),
            ]
        )
    header = (
        "judged",
        "data",
        "photographs",
        "left out: seen in training",
        "left out: no class or label",
        "balanced accuracy %",
        "accuracy %",
        "macro AUC %",
        "ECE",
        "melanoma sensitivity at 95% specificity",
    )
    note = (
        "The same code judged all of them. Photographs that trained or calibrated a student do not"
        " count."
    )
    return section_of(
        "elsewhere", "Artifacts and other data", [table("Evaluations", header, rows, note)]
    )
