"""How good the students are: beside controls and teachers, by class, calibrated, unsure, by
sub-group, and elsewhere.
"""

from collections.abc import Sequence
from typing import Any

from mobilekd import figures
from mobilekd.figures import Row
from mobilekd.figures import compared as compared_figures
from mobilekd.figures.tables import Cell, number, percent, table
from mobilekd.formats.artifact import Interval
from mobilekd.metrics.comparison import compared
from mobilekd.metrics.entries import contestant, recipe_group
from mobilekd.page.blocks import Block, Heading, Notice, Pictures, Section, Text, section
from mobilekd.page.collect import Material, Trained
from mobilekd.support.errors import UserError


def comparisons(material: Material) -> list[dict[str, Any]]:
    """One comparison per split of the evaluated runs, and those that were given as files for other
    splits or runs.

    No comparison is shown beside a larger one of the same runs: among more claims the same
    difference may have another verdict.
    """
    by_split: dict[str, list[Trained]] = {}
    for one in material.runs:
        if one.evaluation is not None:
            by_split.setdefault(one.run.info.split_hash, []).append(one)
    made = [
        compared([contestant(one.run) for one in _one_each(members)])
        for members in by_split.values()
    ]
    given = [
        document
        for document in material.comparisons
        if not any(_names(document) <= _names(one) for one in made)
    ]
    return [
        document for document in made if not any(_within(document, one) for one in given)
    ] + given


def _names(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(document["split_hash"], group["name"]) for group in document["groups"]}


def _within(small: dict[str, Any], large: dict[str, Any]) -> bool:
    """Whether ``large`` judged every run of ``small``, with the same figures."""
    return small["split_hash"] == large["split_hash"] and all(
        any(group["seeds"] == other["seeds"] for other in large["groups"])
        for group in small["groups"]
    )


def _one_each(members: Sequence[Trained]) -> list[Trained]:
    found = {one.name: one for one in members}
    if len(found) < len(members):
        names = [one.name for one in members]
        raise UserError(
            f"report: two runs are called {max(names, key=names.count)}; give each a name of"
            " its own"
        )
    return list(found.values())


def judged(material: Material, documents: Sequence[dict[str, Any]]) -> Section | None:
    """Students beside controls and teachers."""
    blocks: list[Block | None] = []
    waiting = [one.name for one in material.runs if one.evaluation is None]
    if waiting:
        blocks.append(
            Notice(
                "Not evaluated.",
                f"No figures for {', '.join(waiting)}; mobilekd evaluate gives them.",
            )
        )
    for document in documents:
        if len(documents) > 1:
            leaky = ", LEAKY" if document["leaky"] else ""
            blocks.append(Heading(f"Split {document['split_hash'][:12]}{leaky}"))
        if document["leaky"]:
            blocks.append(
                Notice(
                    "Leaky split.",
                    "Photographs of one lesion may sit on both sides: read these figures as an"
                    " upper end.",
                )
            )
        blocks.append(Pictures(tuple(compared_figures.charts(document).values())))
        blocks += [
            compared_figures.scores(document),
            compared_figures.claims(document),
            compared_figures.seeds(document),
        ]
    return section("judged", "Students beside controls and teachers", blocks)


def classes(material: Material, documents: Sequence[dict[str, Any]]) -> Section | None:
    """By class, calibration, risk and coverage, sub-groups: of the students, not of every
    control.
    """
    blocks: list[Block | None] = []
    for document in documents:
        blocks += [Pictures((_recalls(document),)), compared_figures.recalls(document)]
    for evaluation in _shown(material):
        blocks += _one(evaluation)
    return section("classes", "By class, and how sure", blocks)


def elsewhere(material: Material) -> Section | None:
    """Artifacts, and students on data of another origin."""
    documents = [document for document in material.evaluations if document not in _shown(material)]
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
    return section(
        "elsewhere", "Artifacts and other data", [table("Evaluations", header, rows, note)]
    )


def _shown(material: Material) -> list[dict[str, Any]]:
    """Evaluations that get pictures: one seed of every student's recipe on its own test split, at
    most four.
    """
    first = {
        recipe_group(one.run): one.evaluation
        for one in reversed(material.runs)
        if one.evaluation and not one.run.info.is_control
    }
    students = list(reversed(first.values()))
    if not students:
        students = [
            document for document in material.evaluations if document["data"]["role"] == "test"
        ][:1]
    return students[:4]


def _recalls(document: dict[str, Any]) -> figures.Chart:
    keys = [
        key for key in document["labels"] if f"recall.{key}" in document["groups"][0]["metrics"]
    ]
    groups = document["groups"][:4]
    rows = [
        Row(key if index == 0 else "", Interval(**group["metrics"][f"recall.{key}"]), index)
        for key in keys
        for index, group in enumerate(groups)
    ]
    return figures.forest(
        "Recall by class", "recall, %", rows, names=[group["name"] for group in groups], pitch=11
    )


def _one(evaluation: dict[str, Any]) -> list[Block | None]:
    keys = [label["key"] for label in evaluation["labels"]]
    found = evaluation["metrics"]
    charts = (
        figures.confusion(evaluation["confusion"], keys),
        figures.reliability(evaluation["reliability"], found["ece"]["value"]),
        figures.risk_coverage(evaluation["risk_coverage"], found["coverage"]["value"]),
        *_subgroup_chart(evaluation),
    )
    return [
        Heading(evaluation["target"]["name"]),
        Pictures(charts),
        _clinical(evaluation),
        _unsure(evaluation),
        *_subgroups(evaluation),
    ]


def _clinical(evaluation: dict[str, Any]) -> Block:
    found = evaluation["metrics"]
    rows = []
    for group, words in (
        ("melanoma", "melanoma against the rest"),
        ("malignant", "malignant (mel, bcc, akiec) against benign"),
    ):
        names = (
            f"{group}_sensitivity_at_95_specificity",
            f"{group}_sensitivity",
            f"{group}_specificity",
        )
        rows.append([words, *(percent(found.get(name)) for name in names)])
    header = (
        "",
        "sensitivity at 95% specificity, this set's curve",
        "sensitivity at validation's threshold",
        "specificity at validation's threshold",
    )
    return table("Sensitivity and specificity, %", header, rows)


def _unsure(evaluation: dict[str, Any]) -> Block:
    found, keys = evaluation["metrics"], evaluation["coverage_by_class"]
    fitted = evaluation["calibration"]
    answered = [
        "answered",
        percent(found["coverage"]),
        *(f"{100 * share:.0f}" for share in keys.values()),
    ]
    right = ["right among those", percent(found["selective_accuracy"]), *("" for _ in keys)]
    temperature = f"temperature {fitted['temperature']:.2f}"
    note = (
        f"Below a top probability of {fitted['threshold']:.2f} the answer is “not sure”; validation"
        f" fixed it ({temperature})."
    )
    return table("“Not sure”: who gets an answer, %", ("", "all", *keys), [answered, right], note)


def _subgroups(evaluation: dict[str, Any]) -> list[Block | None]:
    rows = [
        [
            Cell(row["group"], name),
            row["n"],
            row["lesions"],
            row["classes"],
            percent(row["balanced_accuracy"]),
            percent(row["accuracy"]),
        ]
        for name, members in evaluation["subgroups"].items()
        for row in members
    ]
    if not rows:
        return [Text("The data carry no age, sex or site, so there are no sub-groups.")]
    header = (
        "sub-group",
        "photographs",
        "lesions",
        "classes present",
        "balanced accuracy %",
        "accuracy %",
    )
    note = (
        "Balanced accuracy averages over the classes present, so compare sub-groups only where they"
        " have the same ones."
    )
    return [table("Sub-groups", header, rows, note)]


def _subgroup_chart(evaluation: dict[str, Any]) -> tuple[figures.Chart, ...]:
    rows = [
        Row(
            f"{row['group']}{f' ({name})' if row['group'] == 'unknown' else ''}",
            Interval(**row["balanced_accuracy"]),
            index,
        )
        for index, (name, members) in enumerate(evaluation["subgroups"].items())
        for row in members
    ]
    if not any(row.figure.value is not None for row in rows):
        return ()
    return (
        figures.forest(
            "Sub-groups",
            "balanced accuracy, %",
            rows,
            names=list(evaluation["subgroups"]),
            pitch=16,
        ),
    )
