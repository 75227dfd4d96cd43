"""Artifacts, and students on data of another origin."""

from mobilekd.figures.tables import Cell, number, percent, table
from mobilekd.page.blocks import Section, section_of
from mobilekd.page.classes import pictured
from mobilekd.page.inputs import Inputs


def section(inputs: Inputs) -> Section | None:
    """Artifacts, and students on data of another origin."""
    documents = [document for document in inputs.evaluations if document not in pictured(inputs)]
    if not documents:
        return None
    rows = []
    for document in documents:
        target, data, figure = document["target"], document["data"], document["metrics"]
        left_out = data["left_out"]
        overlap = left_out.get("overlap")
        gone = sum(left_out.get("unmapped", {}).values()) + left_out.get("unlabelled", 0)
        rows.append(
            [
                Cell(target["name"], f"{target['backend']} {target['precision']}"),
                Cell(
                    data["kind"],
                    "its own test split" if data["role"] == "test" else "all labelled photographs",
                ),
                str(data["photographs"]),
                Cell(
                    "unknown" if overlap is None else str(overlap),
                    mark="warn" if overlap is None else "",
                ),
                str(gone),
                percent(figure["balanced_accuracy"]),
                percent(figure["accuracy"]),
                percent(figure["macro_auc"]),
                number(figure["ece"]),
                percent(figure.get("melanoma_sensitivity_at_95_specificity")),
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
