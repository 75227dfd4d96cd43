"""By class, and how sure: recalls, calibration, risk and coverage, sub-groups."""

from mobilekd import figures
from mobilekd.figures import Row
from mobilekd.figures import comparison as comparison_figures
from mobilekd.figures.tables import Cell, number, percent, table
from mobilekd.formats.comparison import Comparison
from mobilekd.formats.evaluation import Evaluation
from mobilekd.formats.labels import GROUPS
from mobilekd.metrics.entries import recipe_group
from mobilekd.page.blocks import Block, Charts, Heading, Section, Text, section_of
from mobilekd.page.inputs import Inputs
from mobilekd.support.text import listed

#: Recipes in one picture, and students with pictures of their own.
MOST = 4


def section(inputs: Inputs) -> Section | None:
    """By class, calibration, risk and coverage, sub-groups: of the students, not of every
    control.
    """
    blocks: list[Block | None] = []
    for comparison in inputs.comparisons:
        blocks += [Charts((_recalls(comparison),)), comparison_figures.recalls(comparison)]
        if (count := len(comparison.groups)) > MOST:
            blocks.append(Text(f"The picture has the first {MOST} of {count}, the table all."))
    shown = pictured(inputs)
    for evaluation in shown:
        blocks += _one(evaluation)
    names = [evaluation.target.name for evaluation in shown]
    others = [
        one.name
        for one in inputs.runs
        if one.evaluation and not one.run.info.is_control and one.name not in names
    ]
    if others:
        blocks.append(
            Text(
                f"One seed of a recipe, and {MOST} recipes at most, have pictures here; without"
                f" them, {len(others)}: {listed(others)}."
            )
        )
    return section_of("classes", "By class, and how sure", blocks)


def pictured(inputs: Inputs) -> list[Evaluation]:
    """Evaluations that get pictures: one seed of every student's recipe on its own test split, at
    most four.
    """
    first = {
        recipe_group(one.run): one.evaluation
        for one in reversed(inputs.runs)
        if one.evaluation and not one.run.info.is_control
    }
    students = list(reversed(first.values()))
    if not students:
        students = [
            evaluation for evaluation in inputs.evaluations if evaluation.data.role == "test"
        ][:1]
    return students[:MOST]


def _recalls(comparison: Comparison) -> figures.Chart:
    keys = [key for key in comparison.labels if f"recall.{key}" in comparison.groups[0].metrics]
    groups = comparison.groups[:MOST]
    rows = [
        Row(comparison.in_words(key) if index == 0 else "", group.metrics[f"recall.{key}"], index)
        for key in keys
        for index, group in enumerate(groups)
    ]
    return figures.forest(
        "Recall by class",
        "recall, %",
        rows,
        chance=comparison.chance,
        names=[group.name for group in groups],
        pitch=11,
    )


def _one(evaluation: Evaluation) -> list[Block | None]:
    keys = [label.key for label in evaluation.labels]
    names = [label.text for label in evaluation.labels]
    charts = (
        figures.confusion(evaluation.confusion, keys, names),
        figures.reliability(evaluation.reliability, evaluation.metric("ece").value),
        figures.risk_coverage(evaluation.risk_coverage, evaluation.metric("coverage").value),
        *_subgroup_chart(evaluation),
    )
    return [
        Heading(evaluation.target.name),
        Charts(charts),
        _clinical(evaluation),
        _unsure(evaluation),
        _sets(evaluation),
        *_subgroups(evaluation),
    ]


def _clinical(evaluation: Evaluation) -> Block:
    rows = []
    for group, roles in GROUPS.items():
        members = [label.text for label in evaluation.labels if label.known_role in roles]
        named = " or ".join(filter(None, (", ".join(members[:-1]), *members[-1:])))
        words = f"{named or group} against the rest"
        names = (
            f"{group}_sensitivity_at_95_specificity",
            f"{group}_sensitivity",
            f"{group}_specificity",
        )
        rows.append([words, *(percent(evaluation.metrics.get(name)) for name in names)])
    header = (
        "",
        "sensitivity at 95% specificity, this set's curve",
        "sensitivity at validation's threshold",
        "specificity at validation's threshold",
    )
    return table("Sensitivity and specificity, %", header, rows)


def _unsure(evaluation: Evaluation) -> Block:
    keys = evaluation.coverage_by_class
    names = {label.key: label.text for label in evaluation.labels}
    fitted = evaluation.calibration
    answered = [
        "answered",
        percent(evaluation.metric("coverage")),
        *(f"{100 * share:.0f}" for share in keys.values()),
    ]
    right = [
        "right among those",
        percent(evaluation.metric("selective_accuracy")),
        *("" for _ in keys),
    ]
    temperature = f"temperature {fitted.final_temperature:.2f}"
    by = "photographs of one clinic" if fitted.rescale else "validation"
    note = (
        f"Below a top probability of {fitted.threshold:.2f} the answer is “not sure”; {by}"
        f" fixed it ({temperature})."
    )
    if fitted.sets is not None:
        note += (
            " The one word is “not sure”, too, where the set excludes the likeliest class; here the"
            " threshold alone counts."
        )
    return table(
        "“Not sure”: who gets an answer, %",
        ("", "all", *(names.get(key, key) for key in keys)),
        [answered, right],
        note,
    )


def _sets(evaluation: Evaluation) -> Block | None:
    """How often a set holds the class of its photograph, melanoma's first, here and by origin."""
    sets = evaluation.calibration.sets
    if sets is None:
        return None
    keys = [
        label.key
        for label in sorted(evaluation.labels, key=lambda one: one.known_role != "melanoma")
    ]
    names = [*(f"set_coverage.{key}" for key in keys), "set_coverage", "set_of_one", "set_empty"]
    groups = {"all": evaluation.metrics} | {
        name: figures.metrics for name, figures in evaluation.origins.items()
    }
    rows = [
        [
            Cell(group, "origin") if group in evaluation.origins else group,
            *(percent(found.get(name)) for name in names),
            number(found.get("set_size"), 2),
        ]
        for group, found in groups.items()
    ]
    note = (
        "The answer is the set of classes that cannot be excluded. Validation fixed a threshold"
        f" for each class, so that its sets hold it in {100 * sets.coverage:.0f}% of photographs"
        " like those. A class's column says in how many of its photographs the set holds it."
    )
    texts = {label.key: label.text for label in evaluation.labels}
    header = (
        "photographs",
        *(texts[key] for key in keys),
        "every class",
        "one class",
        "no class",
        "classes in a set",
    )
    return table("Sets: does the answer hold the class, %", header, rows, note)


def _subgroups(evaluation: Evaluation) -> list[Block | None]:
    known = evaluation.data.lesions < evaluation.data.photographs
    rows = [
        [
            Cell(row.group, name),
            row.n,
            *([row.lesions] if known else []),
            row.classes,
            percent(row.balanced_accuracy),
            percent(row.accuracy),
        ]
        for name, row in evaluation.worst_first()
    ]
    if not rows:
        return [Text("The data carry no age, sex or site, so there are no sub-groups.")]
    header = (
        "sub-group",
        "photographs",
        *(["lesions"] if known else []),
        "classes present",
        "balanced accuracy %",
        "accuracy %",
    )
    note = (
        "The worst-served group comes first. Balanced accuracy averages over the classes present,"
        " so compare sub-groups only where they have the same ones."
    )
    if "skin tone" in evaluation.subgroups:
        note += (
            " Skin tone is estimated from the photograph: the individual typology angle (Chardon"
            " and others 1991) of the skin along its border. Light, filter and white balance move"
            " it by a whole group, so it groups photographs, not people."
        )
    return [table("Sub-groups, the worst served first", header, rows, note)]


def _subgroup_chart(evaluation: Evaluation) -> tuple[figures.Chart, ...]:
    rows = [
        Row(
            f"{row.group}{f' ({name})' if row.group == 'unknown' else ''}",
            row.balanced_accuracy,
            index,
        )
        for index, (name, members) in enumerate(evaluation.subgroups.items())
        for row in members
    ]
    if not any(row.figure.value is not None for row in rows):
        return ()
    return (
        figures.forest(
            "Sub-groups",
            "balanced accuracy, %",
            rows,
            chance=1 / len(evaluation.labels),
            names=list(evaluation.subgroups),
            pitch=16,
        ),
    )
