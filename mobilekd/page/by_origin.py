"""By origin: how students hold where other photographs come from."""

from collections.abc import Mapping, Sequence

from mobilekd import figures
from mobilekd.figures import Row
from mobilekd.figures import comparison as comparison_figures
from mobilekd.figures.tables import Cell, number, percent, table
from mobilekd.formats.evaluation import Evaluation
from mobilekd.formats.interval import Interval
from mobilekd.page.blocks import Block, Charts, Section, Text, section_of
from mobilekd.page.inputs import Inputs

#: What is shown of each origin, beside its counts.
SHOWN = ("balanced_accuracy", "accuracy", "ece", "melanoma_sensitivity_at_95_specificity")

WORDS = (
    "A clinic's camera, light and patients leave their mark on its photographs, and a student"
    " learns that mark with the lesions. So one figure over all photographs hides how it does"
    " elsewhere: here are the photographs of each origin alone. “Left out of training” says that it"
    " saw none of that origin before; only such figures tell what to expect in a clinic that it"
    " does not know."
)

FOLDS = (
    "The photographs were dealt into {folds} parts. For each part a student was trained on all the"
    " others and then answered this one. So every photograph was judged once, by a student that had"
    " seen neither it nor another photograph of the same lesion, and the figures above are over all"
    " of them together."
)


def section(inputs: Inputs) -> Section | None:
    """The figures of each origin, of evaluations whose data say where photographs come from."""
    compared = [one for one in inputs.comparisons if one.origins]
    shown = {seed.run for one in compared for group in one.groups for seed in group.seeds}
    folds = any(one.folds for one in compared)
    own = [
        one.evaluation
        for one in inputs.runs
        if one.evaluation is not None
        and one.name not in shown
        and not (folds and one.run.recipe.split.folds)
    ]
    known = [one for one in (*own, *inputs.evaluations) if one.origins]
    evaluations = [one for i, one in enumerate(known) if one not in known[:i]]
    blocks: list[Block | None] = []
    for comparison in compared:
        chart = comparison_figures.origin_estimates(comparison)
        blocks.append(Charts((chart,)) if chart is not None else None)
        blocks.append(comparison_figures.by_origin(comparison))
        if comparison.folds:
            blocks.append(Text(FOLDS.format(folds=comparison.folds)))
    if evaluations:
        blocks += _judged(evaluations)
    if not blocks:
        return None
    return section_of("by-origin", "Where the photographs come from", [Text(WORDS), *blocks])


def _judged(evaluations: Sequence[Evaluation]) -> list[Block | None]:
    """What stands in no comparison: artifacts, and students on other data."""
    rows: list[list[object]] = []
    points: list[Row] = []
    for index, one in enumerate(evaluations):
        for origin, found in one.origins.items():
            rows.append(
                [
                    Cell(one.target.name, _what(one)),
                    Cell(origin, _trained(one, origin)),
                    found.photographs,
                    # as many as photographs: nobody knows which show the same one
                    found.lesions if found.lesions < found.photographs else "not known",
                    sum(count > 0 for count in found.by_class.values()),
                    *_figures(found.metrics),
                ]
            )
            figure = found.metrics.get("balanced_accuracy", Interval(value=None))
            points.append(Row(f"{origin}", figure, index))
    blocks: list[Block | None] = []
    names = [one.target.name for one in evaluations]
    if any(point.figure.value is not None for point in points):
        title = "Balanced accuracy by origin"
        blocks.append(
            Charts(
                (
                    figures.forest(
                        title,
                        "balanced accuracy, %",
                        points,
                        chance=_chance(evaluations),
                        names=names,
                        pitch=16,
                    ),
                )
            )
        )
    header = (
        "judged",
        "origin",
        "photographs",
        "lesions",
        "classes present",
        "balanced accuracy %",
        "accuracy %",
        "ECE",
        "melanoma sensitivity at 95% specificity",
    )
    note = f"{comparison_figures.BY_ORIGIN} In brackets: 95% intervals, bootstrap over lesions."
    blocks.append(table("Artifacts, other data and single runs by origin", header, rows, note))
    return blocks


def _chance(evaluations: Sequence[Evaluation]) -> float | None:
    """What guessing gets; None where they have not as many classes."""
    counts = {len(one.labels) for one in evaluations}
    return 1 / counts.pop() if len(counts) == 1 else None


def _what(one: Evaluation) -> str:
    control = "control, " if one.target.is_control else ""
    fold = f", fold {one.data.fold} of {one.data.folds}" if one.data.folds else ""
    judged = "its own test split" if one.data.role == "test" else f"all of {one.data.kind}"
    return f"{control}{judged}{fold}"


def _trained(one: Evaluation, origin: str) -> str:
    if one.data.test_origin == origin:
        return "left out of training"
    return "like training's" if one.data.role == "test" else "other data"


def _figures(metrics: Mapping[str, Interval]) -> list[object]:
    return [
        number(metrics[name]) if name == "ece" and name in metrics else percent(metrics.get(name))
        for name in SHOWN
    ]
