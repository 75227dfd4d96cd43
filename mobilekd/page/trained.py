"""What was trained on what."""

from collections.abc import Callable, Hashable, Sequence

from mobilekd import figures
from mobilekd.figures.tables import Cell, count, duration, percent, table
from mobilekd.formats.recipe import Recipe
from mobilekd.metrics.entries import group_name, recipe_group
from mobilekd.page.blocks import Block, Charts, Notice, Section, Text, section_of
from mobilekd.page.inputs import Inputs, TrainedRun
from mobilekd.support.text import listed
from mobilekd.support.words import counted

#: Curves in one picture: as many as there are dashes and colours.
CURVES = len(figures.DASHES)
LEAK = (
    "The split is by photograph, so photographs of one lesion may sit on both sides. Its figures"
    " are too good to be believed as they stand and are shown only for comparison with work that"
    " splits so."
)


def section(inputs: Inputs) -> Section | None:
    """Data, split, teachers, objective and schedule of every run, and how training went."""
    runs = inputs.runs
    if not runs:
        return None
    blocks: list[Block | None] = []
    if any(one.run.info.split_by == "photograph" for one in runs):
        names = ", ".join(one.name for one in runs if one.run.info.split_by == "photograph")
        blocks.append(Notice("Leaky split.", f"{names}: {LEAK}"))
    blocks += [_data(runs), _networks(runs), _teachers(runs), *_curves(runs)]
    return section_of("trained", "What was trained on what", blocks)


def _data(runs: Sequence[TrainedRun]) -> Block:
    rows = []
    for members in _same(runs, lambda one: (one.run.info.data_hash, one.run.info.split_hash)):
        recipes = _same(members, lambda one: recipe_group(one.run))
        name = ", ".join(group_name([one.name for one in seeds]) for seeds in recipes)
        info, split, recipe = members[0].run.info, members[0].run.split, members[0].run.recipe
        sizes = (
            "–"
            if split is None
            else f"{len(split.train)} / {len(split.validation)} / {len(split.test)}"
        )
        by = (
            Cell("by photograph", "LEAKY", mark="bad")
            if info.split_by == "photograph"
            else Cell(f"by {info.split_by}")
        )
        rows.append(
            [name, recipe.data.title, sizes, by, info.split_hash[:12], info.data_licence or "–"]
        )
    header = ("recipes", "data", "train / validation / test", "split", "split hash", "licence")
    return table(
        "Data and split",
        header,
        rows,
        "Photographs. Choices were made on validation; the test split judged once.",
    )


def _networks(runs: Sequence[TrainedRun]) -> Block:
    rows = []
    for one in runs:
        info, recipe = one.run.info, one.run.recipe
        network = recipe.student.title.replace(" x", "\u00a0×\u00a0")
        adapted = ", ".join(recipe.student.adapt)
        start = "random weights" if recipe.student.weights is None else "pretrained"
        rows.append(
            [
                Cell(one.name, "control" if info.is_control else f"seed {recipe.seed}"),
                Cell(network, adapted or start),
                count(info.parameters),
                count(info.macs),
                f"{recipe.preprocess.width}\u00a0×\u00a0{recipe.preprocess.height}",
                Cell(objective(recipe), _schedule(recipe)),
                Cell(
                    duration(info.seconds),
                    f"{info.images_per_second:.0f} images/s" if info.images_per_second else "",
                ),
            ]
        )
    header = ("run", "student", "parameters", "MACs", "input", "objective", "training")
    return table("Students", header, rows)


def objective(recipe: Recipe) -> str:
    """``0.3 cross_entropy + 0.7 hinton``."""
    return " + ".join(
        f"{loss.weight:g} {loss.name}" if len(recipe.losses) > 1 else loss.name
        for loss in recipe.losses
    )


def _schedule(recipe: Recipe) -> str:
    train = recipe.train
    parts = [
        counted(train.epochs, "epoch"),
        f"batch {train.batch_size}",
        train.optimizer,
        f"balance {train.balance}",
    ]
    if train.mixup:
        parts.append(f"mixup {train.mixup:g}")
    if train.views:
        parts.append(f"{train.views} cached views")
    return ", ".join(parts)


def _teachers(runs: Sequence[TrainedRun]) -> Block | None:
    rows: list[list[object]] = []
    seen: set[str] = set()
    for one in runs:
        for teacher in one.run.info.teachers:
            mark = teacher.weights_sha256
            if mark in seen:
                continue
            seen.add(mark)
            cells = [
                percent(teacher.validation.get(name)) for name in ("balanced_accuracy", "accuracy")
            ]
            rows.append([teacher.model, *cells, duration(teacher.seconds), mark[:12]])
    if not rows:
        return None
    header = (
        "teacher",
        "balanced accuracy %, validation",
        "accuracy %, validation",
        "training",
        "weights",
    )
    return table(
        "Teachers",
        header,
        rows,
        "Trained under the same split as the students. Several teachers act as one.",
    )


def _curves(runs: Sequence[TrainedRun]) -> list[Block]:
    """Balanced accuracy on validation by epoch: one line per recipe, the mean of its seeds; one
    picture per split.
    """
    charts, undrawn = [], []
    for members in _same(runs, lambda one: one.run.info.split_hash):
        series = {}
        for seeds in _same(
            sorted(members, key=lambda one: one.run.info.is_control),
            lambda one: recipe_group(one.run),
        ):
            values: dict[int, list[float]] = {}
            for epoch in (epoch for one in seeds for epoch in one.epochs):
                if epoch.balanced_accuracy is not None:
                    values.setdefault(epoch.epoch, []).append(100 * epoch.balanced_accuracy)
            if len(values) > 1:
                series[group_name([one.name for one in seeds])] = [
                    (epoch, sum(each) / len(each)) for epoch, each in sorted(values.items())
                ]
        if series:
            shown = dict(list(series.items())[:CURVES])
            charts.append(
                figures.curve(
                    "Validation while training",
                    "balanced accuracy, %",
                    shown,
                    chance=1 / len(members[0].run.info.labels),
                )
            )
            undrawn += list(series)[CURVES:]
    blocks: list[Block] = [Charts(tuple(charts))] if charts else []
    if undrawn:
        blocks.append(
            Text(f"Without a curve, because no more fit, {len(undrawn)}: {listed(undrawn)}.")
        )
    return blocks


def _same(
    runs: Sequence[TrainedRun], key: Callable[[TrainedRun], Hashable]
) -> list[list[TrainedRun]]:
    """Runs with an equal key, in the order of their first."""
    groups: dict[Hashable, list[TrainedRun]] = {}
    for one in runs:
        groups.setdefault(key(one), []).append(one)
    return list(groups.values())
