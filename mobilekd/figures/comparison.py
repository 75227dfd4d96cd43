"""A comparison document (``compare``'s document) as tables and pictures."""

from collections.abc import Mapping
from typing import Any, Literal

from mobilekd.figures.forest import Row, forest
from mobilekd.figures.svg import Chart
from mobilekd.figures.tables import Cell, Table, count, number, percent, points, table
from mobilekd.formats.artifact import Interval
from mobilekd.metrics.stats import LEVEL, verdict

KINDS = ("student", "control", "teacher")
#: ``stats.verdict`` in words.
VERDICTS = {
    "better": "better than its control",
    "worse": "worse than its control",
    "": "not shown to be better",
}
MARKS: Mapping[str, Literal["good", "bad", "warn"]] = {"better": "good", "worse": "bad", "": "warn"}
PRIMARY = "balanced_accuracy"


def figure(values: Mapping[str, Any]) -> Interval:
    """The interval that a document holds as a dictionary."""
    return Interval(**values)


def kind(group: Mapping[str, Any]) -> str:
    """Whether a group was taught."""
    return "control" if group["is_control"] else "student"


def scores(document: Mapping[str, Any]) -> Table:
    """Every group's main figures, and its teachers' where they were kept."""
    rows: list[list[object]] = []
    for group in document["groups"]:
        shown, agreement = group["metrics"], group.get("teacher_agreement")
        rows.append(
            [
                Cell(
                    group["name"],
                    ", ".join(filter(None, (kind(group), _seeds(group), _losses(group)))),
                ),
                count(group["facts"].get("parameters")),
                *_main(shown),
                percent(shown.get("melanoma_sensitivity_at_95_specificity")),
                "–" if agreement is None else f"{100 * agreement:.1f}",
            ]
        )
    for group in document["groups"]:
        if "teacher" in group:
            rows.append(
                [Cell("teacher", f"of {group['name']}"), "–", *_main(group["teacher"]), "–", "–"]
            )
    note = (
        f"{document['photographs']} test photographs of {document['lesions']} lesions, split"
        f" {document['split_hash'][:12]}"
        + (" (LEAKY: split by photograph)" if document["leaky"] else "")
        + ". In brackets: 95% intervals, bootstrap over lesions stratified by class, and over seeds"
        " where there are several."
    )
    header = (
        "",
        "parameters",
        "balanced accuracy %",
        "accuracy %",
        "macro F1 %",
        "NLL",
        "ECE",
        "melanoma sensitivity at 95% specificity",
        "agrees with teacher %",
    )
    return table("Students, controls and teachers", header, rows, note)


def claims(document: Mapping[str, Any]) -> Table | None:
    """Differences to the controls with Holm-corrected p-values and a plain verdict; and
    non-inferiority to the teachers.
    """
    rows: list[list[object]] = []
    for claim in document["claims"]:
        primary = claim["metric"] == PRIMARY
        name = "balanced accuracy, points" if primary else "NLL (lower is better)"
        difference = points(claim["difference"]) if primary else number(claim["difference"])
        rows.append(
            [
                claim["student"],
                claim_verdict(claim),
                difference,
                name,
                claim["control"],
                f"{claim['p_holm']:.3f}",
            ]
        )
    for group in document["groups"]:
        if group.get("teacher_difference"):
            margin = f"{100 * group['margin']:.0f} point"
            holds = group["not_inferior"]
            words = (
                Cell(f"not worse by {margin[1:]}", mark="good")
                if holds
                else Cell(f"may be worse by over {margin[1:]}", mark="warn")
            )
            rows.append(
                [
                    group["name"],
                    words,
                    points(group["teacher_difference"]),
                    "balanced accuracy, points",
                    "its teacher",
                    "–",
                ]
            )
    if not rows:
        return None
    note = (
        "Two-sided p-values of the paired bootstrap, Holm-corrected over the"
        f" {len(document['claims'])} claims against controls in this table; a verdict needs p below"
        f" {LEVEL:g}. Intervals are each difference's own 95%, so one may leave out zero though"
        " luck explains it among so many. Against a teacher the interval decides. What fails is"
        " listed as failed."
    )
    return table(
        "Claims", ("student", "verdict", "difference", "metric", "against", "p (Holm)"), rows, note
    )


def claim_verdict(claim: Mapping[str, Any]) -> Cell:
    """The verdict on one claim; of its metrics NLL is the one that a better student lowers."""
    value = claim["difference"]["value"]
    found = verdict(claim["p_holm"], value if claim["metric"] == PRIMARY else -value)
    return Cell(VERDICTS[found], mark=MARKS[found])


def seeds(document: Mapping[str, Any]) -> Table | None:
    """Every seed on its own line, where any recipe has several."""
    if all(len(group["seeds"]) < 2 for group in document["groups"]):
        return None
    rows = [
        [
            group["name"],
            one["run"],
            str(one["seed"]),
            f"{100 * one['balanced_accuracy']:.1f}",
            f"{100 * one['accuracy']:.1f}",
            f"{one['nll']:.3f}",
        ]
        for group in document["groups"]
        for one in group["seeds"]
    ]
    return table(
        "Seeds one by one",
        ("recipe", "run", "seed", "balanced accuracy %", "accuracy %", "NLL"),
        rows,
    )


def recalls(document: Mapping[str, Any]) -> Table:
    """Recall of every class with its interval."""
    keys = [
        key for key in document["labels"] if f"recall.{key}" in document["groups"][0]["metrics"]
    ]
    rows = [
        [group["name"], *(percent(group["metrics"][f"recall.{key}"], 0) for key in keys)]
        for group in document["groups"]
    ]
    return table("Recall by class, %", ("", *keys), rows)


def estimates(document: Mapping[str, Any], metric: str = "balanced_accuracy") -> Chart:
    """Balanced accuracy of students, controls and teachers, best student first."""
    ordered = sorted(
        document["groups"], key=lambda group: -(group["metrics"][metric]["value"] or 0)
    )
    rows = [
        Row(group["name"], figure(group["metrics"][metric]), KINDS.index(kind(group)))
        for group in ordered
    ]
    rows += [
        Row(f"teacher of {group['name']}", figure(group["teacher"][metric]), 2)
        for group in ordered
        if "teacher" in group
    ]
    return forest(
        "Balanced accuracy",
        "balanced accuracy, %",
        rows,
        names=KINDS[: 1 + max(row.series for row in rows)],
    )


def paired_differences(document: Mapping[str, Any]) -> Chart | None:
    """Differences to controls and to teachers in balanced accuracy, each with its own interval;
    verdicts are in the table of claims.
    """
    rows = [
        Row(f"{group['name']} – control", figure(group["difference"]["balanced_accuracy"]), 0)
        for group in document["groups"]
        if group["control"] is not None
    ]
    taught = [group for group in document["groups"] if group.get("teacher_difference")]
    rows += [
        Row(f"{group['name']} – teacher", figure(group["teacher_difference"]), 1)
        for group in taught
    ]
    if not rows:
        return None
    margin = taught[0]["margin"] if taught else None
    return forest(
        "Paired differences",
        "difference in balanced accuracy, points",
        rows,
        zero=True,
        margin=margin,
    )


def markdown(document: Mapping[str, Any]) -> str:
    """All tables of a comparison."""
    tables = [scores(document), claims(document), seeds(document), recalls(document)]
    return "\n\n".join(one.markdown() for one in tables if one is not None) + "\n"


def charts(document: Mapping[str, Any]) -> dict[str, Chart]:
    """All pictures of a comparison by name."""
    found = {"balanced_accuracy": estimates(document), "differences": paired_differences(document)}
    return {name: chart for name, chart in found.items() if chart is not None}


def _main(shown: Mapping[str, Any]) -> list[Cell]:
    return [
        percent(shown["balanced_accuracy"]),
        percent(shown["accuracy"]),
        percent(shown["macro_f1"]),
        number(shown["nll"]),
        number(shown["ece"]),
    ]


def _seeds(group: Mapping[str, Any]) -> str:
    return "1 seed" if len(group["seeds"]) == 1 else f"{len(group['seeds'])} seeds"


def _losses(group: Mapping[str, Any]) -> str:
    return " + ".join(loss["name"] for loss in group["facts"].get("losses", ()))
