"""A comparison as tables and pictures."""

from collections.abc import Mapping
from typing import Literal

from mobilekd.figures.forest import Row, forest
from mobilekd.figures.svg import Chart
from mobilekd.figures.tables import Cell, Table, count, number, percent, points, table
from mobilekd.formats.comparison import Claim, Comparison, Group
from mobilekd.formats.interval import Interval
from mobilekd.metrics.stats import LEVEL, verdict
from mobilekd.support.text import photographs_of
from mobilekd.support.words import counted

KINDS = ("student", "control", "teacher")
#: What a reader of figures by origin has to know.
BY_ORIGIN = (
    "Balanced accuracy averages over the classes that an origin has, so compare origins only where"
    " they have the same ones. ECE is how far stated and real certainty differ: 0 is none."
)
#: ``stats.verdict`` in words.
VERDICTS = {
    "better": "better than its control",
    "worse": "worse than its control",
    "": "not shown to be better",
}
MARKS: Mapping[str, Literal["good", "bad", "warn"]] = {"better": "good", "worse": "bad", "": "warn"}
PRIMARY = "balanced_accuracy"


def scores(comparison: Comparison) -> Table:
    """Every group's main figures, and its teachers' where they were kept."""
    rows: list[list[object]] = []
    for group in comparison.groups:
        metrics, agreement = group.metrics, group.teacher_agreement
        rows.append(
            [
                Cell(
                    group.name,
                    ", ".join(filter(None, (group.kind, _seeds(group), _losses(group)))),
                ),
                count(group.facts.parameters),
                *_main(metrics),
                percent(metrics.get("melanoma_sensitivity_at_95_specificity")),
                "–" if agreement is None else f"{100 * agreement:.1f}",
            ]
        )
    for group in comparison.groups:
        if group.teacher is not None:
            rows.append([Cell("teacher", f"of {group.name}"), "–", *_main(group.teacher), "–", "–"])
    if comparison.folds:
        judged = (
            f"{photographs_of(comparison.photographs, comparison.lesions)}, each answered"
            f" once, by the one of {comparison.folds} students that was trained without its lesion"
            f" (folds {comparison.split_hash[:12]})"
        )
    else:
        judged = (
            f"{photographs_of(comparison.photographs, comparison.lesions)}: the test part of split"
            f" {comparison.split_hash[:12]}"
        )
    note = (
        judged
        + (" (LEAKY: split by photograph)" if comparison.leaky else "")
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


def claims(comparison: Comparison) -> Table | None:
    """Differences to the controls with Holm-corrected p-values and a plain verdict; and
    non-inferiority to the teachers.
    """
    rows: list[list[object]] = []
    for claim in comparison.claims:
        primary = claim.metric == PRIMARY
        name = "balanced accuracy, points" if primary else "NLL (lower is better)"
        difference = points(claim.difference) if primary else number(claim.difference)
        rows.append(
            [
                claim.student,
                claim_verdict(claim),
                difference,
                name,
                claim.control,
                f"{claim.p_holm:.3f}",
            ]
        )
    for group in comparison.groups:
        if group.teacher_difference:
            margin = f"{100 * (group.margin or 0):.0f} point"
            holds = group.not_inferior
            words = (
                Cell(f"not worse by {margin[1:]}", mark="good")
                if holds
                else Cell(f"may be worse by over {margin[1:]}", mark="warn")
            )
            rows.append(
                [
                    group.name,
                    words,
                    points(group.teacher_difference),
                    "balanced accuracy, points",
                    "its teacher",
                    "–",
                ]
            )
    if not rows:
        return None
    note = (
        "Two-sided p-values of the paired bootstrap, Holm-corrected over the"
        f" {len(comparison.claims)} claims against controls in this table; a verdict needs p below"
        f" {LEVEL:g}. Intervals are each difference's own 95%, so one may leave out zero though"
        " luck explains it among so many. Against a teacher the interval decides. What fails is"
        " listed as failed."
    )
    return table(
        "Claims", ("student", "verdict", "difference", "metric", "against", "p (Holm)"), rows, note
    )


def claim_verdict(claim: Claim) -> Cell:
    """The verdict on one claim; of its metrics NLL is the one that a better student lowers."""
    value = claim.difference.value or 0.0
    gain = value if claim.metric == PRIMARY else -value
    outcome = verdict(claim.p_holm, gain)
    return Cell(VERDICTS[outcome], mark=MARKS[outcome])


def seeds(comparison: Comparison) -> Table | None:
    """Every seed on its own line, where any recipe has several."""
    if all(len(group.seeds) < 2 for group in comparison.groups):
        return None
    rows = [
        [
            group.name,
            one.run,
            str(one.seed),
            f"{100 * one.balanced_accuracy:.1f}",
            f"{100 * one.accuracy:.1f}",
            f"{one.nll:.3f}",
        ]
        for group in comparison.groups
        for one in group.seeds
    ]
    return table(
        "Seeds one by one",
        ("recipe", "run", "seed", "balanced accuracy %", "accuracy %", "NLL"),
        rows,
    )


def by_origin(comparison: Comparison) -> Table | None:
    """The figures of each origin's photographs alone, where origins are known."""
    rows: list[list[object]] = [
        [
            Cell(group.name, group.kind),
            Cell(
                origin,
                "left out of training" if origin == comparison.test_origin else "like training's",
            ),
            Cell(
                f"{counts.photographs:,}",
                f"of {counts.lesions:,} lesions" if counts.lesions < counts.photographs else "",
            ),
            counts.classes,
            percent(group.origins[origin].get("balanced_accuracy")),
            points(group.origin_difference.get(origin)),
            percent(group.origins[origin].get("accuracy")),
            number(group.origins[origin].get("ece")),
            percent(group.origins[origin].get("melanoma_sensitivity_at_95_specificity")),
        ]
        for origin, counts in comparison.origins.items()
        for group in comparison.groups
        if origin in group.origins
    ]
    if not rows:
        return None
    header = (
        "",
        "origin",
        "photographs",
        "classes present",
        "balanced accuracy %",
        "minus its control's, points",
        "accuracy %",
        "ECE",
        "melanoma sensitivity at 95% specificity",
    )
    note = BY_ORIGIN + " Each interval is its own 95%; verdicts stand in the table of claims."
    return table("By origin", header, rows, note)


def origin_estimates(comparison: Comparison) -> Chart | None:
    """Balanced accuracy of each student and control on each origin."""
    rows = [
        Row(origin if index == 0 else "", group.origins[origin]["balanced_accuracy"], index)
        for origin in comparison.origins
        for index, group in enumerate(comparison.groups[:MOST])
        if origin in group.origins
    ]
    if not rows:
        return None
    names = [group.name for group in comparison.groups[:MOST]]
    return forest(
        "Balanced accuracy by origin",
        "balanced accuracy, %",
        rows,
        chance=comparison.chance,
        names=names,
        pitch=14,
    )


#: Groups in a picture by origin.
MOST = 4


def recalls(comparison: Comparison) -> Table:
    """Recall of every class with its interval."""
    keys = [key for key in comparison.labels if f"recall.{key}" in comparison.groups[0].metrics]
    rows = [
        [group.name, *(percent(group.metrics[f"recall.{key}"], 0) for key in keys)]
        for group in comparison.groups
    ]
    return table("Recall by class, %", ("", *map(comparison.in_words, keys)), rows)


def estimates(comparison: Comparison, metric: str = "balanced_accuracy") -> Chart:
    """Balanced accuracy of students, controls and teachers, best student first."""
    ordered = sorted(comparison.groups, key=lambda group: -(group.metrics[metric].value or 0))
    rows = [Row(group.name, group.metrics[metric], KINDS.index(group.kind)) for group in ordered]
    rows += [
        Row(f"teacher of {group.name}", group.teacher[metric], 2)
        for group in ordered
        if group.teacher is not None
    ]
    return forest(
        "Balanced accuracy",
        "balanced accuracy, %",
        rows,
        chance=comparison.chance,
        names=KINDS[: 1 + max(row.series for row in rows)],
    )


def paired_differences(comparison: Comparison) -> Chart | None:
    """Differences to controls and to teachers in balanced accuracy, each with its own interval;
    verdicts are in the table of claims.
    """
    rows = [
        Row(f"{group.name} – control", group.difference["balanced_accuracy"], 0)
        for group in comparison.groups
        if group.control is not None
    ]
    rows += [
        Row(f"{group.name} – teacher", group.teacher_difference, 1)
        for group in comparison.groups
        if group.teacher_difference is not None
    ]
    if not rows:
        return None
    return forest(
        "Paired differences",
        "difference in balanced accuracy, points",
        rows,
        zero=True,
        margin=next((group.margin for group in comparison.groups if group.margin), None),
    )


def markdown(comparison: Comparison) -> str:
    """All tables of a comparison."""
    tables = [
        scores(comparison),
        claims(comparison),
        seeds(comparison),
        by_origin(comparison),
        recalls(comparison),
    ]
    return "\n\n".join(one.markdown() for one in tables if one is not None) + "\n"


def charts(comparison: Comparison) -> dict[str, Chart]:
    """All pictures of a comparison by name."""
    made = {
        "balanced_accuracy": estimates(comparison),
        "differences": paired_differences(comparison),
    }
    return {name: chart for name, chart in made.items() if chart is not None}


def _main(metrics: Mapping[str, Interval]) -> list[Cell]:
    return [
        percent(metrics["balanced_accuracy"]),
        percent(metrics["accuracy"]),
        percent(metrics["macro_f1"]),
        number(metrics["nll"]),
        number(metrics["ece"]),
    ]


def _seeds(group: Group) -> str:
    return counted(len(group.seeds), "seed")


def _losses(group: Group) -> str:
    return " + ".join(loss.name for loss in group.facts.losses)
