"""evaluate, calibrate, predict, compare, report, inspect: what a student or an artifact knows."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekd.cli.parser import (
    JUDGE,
    LOWER,
    Answer,
    Commands,
    Parser,
    add_artifact,
    add_runs,
    pairs,
    path,
)

if TYPE_CHECKING:
    from mobilekd.formats.data_tables import DataTable


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    _register_evaluate(commands)
    _register_calibrate(commands)
    _register_predict(commands)
    _register_compare(commands)
    _register_report(commands)
    _register_inspect(commands)


def add_data(parser: Parser, kind: str, root: str = "") -> None:
    """The options that name labelled photographs; ``kind`` and ``root`` say what for."""
    parser.add_argument(
        "--data",
        choices=("ham10000", "isic", "isic2020", "isic2024", "csv", "folder", "synthetic"),
        help=kind,
    )
    parser.add_argument(
        "--root",
        metavar="DIR",
        help=f"its folder of photographs{root}",
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="isic: the one-hot ground truth CSV; csv: the table with a row for each photograph",
    )
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="csv: the name of its column image, label, lesion_id, split, age, sex or site",
    )
    parser.add_argument("--metadata", metavar="FILE", help="isic: the metadata CSV with lesion_id")
    parser.add_argument(
        "--exclude",
        metavar="FILE",
        help="photographs of --data to leave out: their ids one a line, or a CSV with image",
    )
    parser.add_argument(
        "--origin",
        metavar="NAME",
        help="where the photographs come from, for figures by origin; lesion_id reads it from the"
        " lesions' ids",
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="THEIRS=OURS",
        help="a class of the data as one of the student's",
    )


def data_table(arguments: Namespace) -> DataTable | None:
    """The ``--data`` options as a recipe's data table."""
    from typing import get_args

    from mobilekd.formats.data_tables import DataTable
    from mobilekd.support.errors import UserError
    from mobilekd.support.words import unknown

    options = {
        name: getattr(arguments, name)
        for name in ("root", "labels", "metadata", "origin", "exclude")
        if getattr(arguments, name)
    }
    if columns := pairs(arguments.column, "--column", "label=diagnosis"):
        meanings = get_args(get_args(DataTable.model_fields["columns"].annotation)[0])
        if strange := next((name for name in columns if name not in meanings), None):
            raise UserError(unknown(f"--column {strange}", strange, meanings))
        options["columns"] = columns
    if arguments.data is None:
        options.pop("root", None)  # where the run's own photographs lie now
        if options or arguments.map:
            given = next(iter(options), "map").replace("columns", "column")
            raise UserError(
                f"--{given}: needs --data; name the kind of photographs, for example --data isic"
            )
        return None
    return DataTable(kind=arguments.data, **options)


def _register_evaluate(commands: Commands) -> None:
    parser = commands.add(
        JUDGE,
        "evaluate",
        "metrics with intervals on the run's test split, or on other labelled photographs",
        evaluate,
        [
            "runs/ham10000",
            "artifacts/ham10000-xnnpack-int8",
            (
                "reference:NAME --data isic --root ISIC_2019_Training_Input --labels"
                " ISIC_2019_Training_GroundTruth.csv --map SCC=akiec"
            ),
        ],
    )
    parser.add_argument(
        "target",
        nargs="?",
        metavar="RUN|ARTIFACT",
        help=(
            "a run, reference:NAME, or an artifact's folder (default: the newest run, else a"
            " reference)"
        ),
    )
    add_data(
        parser,
        "judge on this kind of data instead",
        "; without --data, where the run's own lie now",
    )
    parser.add_argument(
        "--output",
        type=path,
        metavar="DIR",
        help="folder for metrics.json, predictions.csv and figures",
    )
    add_runs(parser)


def evaluate(arguments: Namespace) -> Answer:
    """Metrics of a run or an artifact."""
    from mobilekd.cli.text import interval, table
    from mobilekd.commands.evaluate import evaluate as run
    from mobilekd.support.text import photographs_of

    mapping = pairs(arguments.map, "--map", "SCC=akiec")
    found = run(
        arguments.target,
        data=data_table(arguments),
        root=arguments.root,
        mapping=mapping or None,
        output=arguments.output,
        runs=arguments.runs,
    )
    judged = found["data"]
    counts = judged["left_out"] | {"unmapped": sum(judged["left_out"]["unmapped"].values())}
    left_out = ", ".join(
        f"{count} {reason.replace('_', ' ')}"
        for reason, count in counts.items()
        if isinstance(count, int) and count
    )
    leak = {True: ", LEAKY split by photograph", None: ", overlap with training UNKNOWN"}.get(
        judged["leaky"], ""
    )
    judges = photographs_of(judged["photographs"], judged["lesions"])
    head = f"{found['target']['name']}: {judges} ({judged['kind']}, {judged['role']}{leak})"
    figures = table(
        ("METRIC", "VALUE (95% INTERVAL)"),
        [(name, interval(figure)) for name, figure in found["metrics"].items()],
    )
    return Answer(found, f"{head}{f'; left out: {left_out}' if left_out else ''}\n\n{figures}")


def _register_calibrate(commands: Commands) -> None:
    parser = commands.add(
        LOWER,
        "calibrate",
        "an artifact fitted to a clinic's photographs, without training",
        calibrate,
        [
            "artifacts/ham10000-xnnpack-int8 --data folder --root our_photographs",
            "artifacts/ham10000-xnnpack-int8 --unlabelled our_photographs",
        ],
    )
    parser.add_argument("artifact", type=path, metavar="ARTIFACT", help="the artifact's folder")
    add_data(parser, "kind of the labelled photographs, taken as the clinic sees them")
    parser.add_argument(
        "--unlabelled",
        type=path,
        metavar="DIR",
        help="photographs without labels: tells how they differ, and writes nothing",
    )
    parser.add_argument(
        "--set-coverage",
        type=float,
        metavar="SHARE",
        help="least share of each class whose set is to hold it (default: the recipe's)",
    )
    parser.add_argument(
        "--output",
        type=path,
        metavar="DIR",
        help="the new artifact's folder (default: ARTIFACT-fitted)",
    )
    add_runs(parser)


def calibrate(arguments: Namespace) -> Answer:
    """An artifact fitted to a clinic."""
    from mobilekd.cli.text import interval, table
    from mobilekd.commands.calibrate import calibrate as run

    mapping = pairs(arguments.map, "--map", "SCC=akiec")
    found = run(
        arguments.artifact,
        data=data_table(arguments),
        unlabelled=arguments.unlabelled,
        mapping=mapping or None,
        output=arguments.output,
        set_coverage=arguments.set_coverage,
        runs=arguments.runs,
    )
    parts = [found.drift.text]
    if found.clinic is not None:
        rows = [
            (name, interval(found.clinic.before.get(name)), interval(figure))
            for name, figure in found.clinic.after.items()
        ]
        parts += [table(("FIGURE", "BEFORE", "AFTER, BY CROSS-FITTING"), rows), str(found.artifact)]
    return Answer(found, "\n\n".join(parts))


def _register_predict(commands: Commands) -> None:
    parser = commands.add(
        JUDGE,
        "predict",
        "the classes that cannot be excluded for photographs, one class, or 'not sure'",
        predict,
        ["runs/ham10000 lesion.jpg", "artifacts/ham10000-xnnpack-int8 *.jpg --json"],
    )
    parser.add_argument(
        "target", metavar="RUN|ARTIFACT", help="a run, reference:NAME, or an artifact's folder"
    )
    parser.add_argument(
        "images", nargs="+", type=path, metavar="IMAGE", help="photographs, or folders of them"
    )
    add_runs(parser)


def predict(arguments: Namespace) -> Answer:
    """Classes of photographs."""
    from mobilekd.cli.text import table
    from mobilekd.commands.predict import predict as run
    from mobilekd.data.dataset import some
    from mobilekd.support.progress import say

    answers = run(arguments.target, arguments.images, runs=arguments.runs)
    read = [item for item in answers if item.error is None]
    unread = [item for item in answers if item.error is not None]
    sets = any(item.set is not None for item in read)
    rows = [
        (
            item.image,
            *((item.set_text or item.text,) if sets else ()),
            item.text,
            ", ".join(f"{key} {share:.2f}" for key, share in list(item.probabilities.items())[:3]),
            ", ".join(item.quality),
        )
        for item in answers
    ]
    if unread:
        say(f"mobilekd predict: {some([item.image for item in unread], 'file')} not answered:")
    for item in unread:
        say(f"  {item.error}")
    document: dict[str, object] = {"predictions": read}
    if unread:
        document["unread"] = [{"image": item.image, "error": item.error} for item in unread]
    head = ("ANSWER", "IN ONE WORD") if sets else ("ANSWER",)
    text = table(("PHOTOGRAPH", *head, "PROBABILITIES", "PICTURE"), rows)
    return Answer(document, text, 2 if unread else 0)


def _register_compare(commands: Commands) -> None:
    parser = commands.add(
        JUDGE,
        "compare",
        "students side by side with their controls, paired",
        compare,
        ["runs/a runs/b", "a-s0 a-s1 a-s2 --output comparison"],
    )
    parser.add_argument("names", nargs="+", metavar="RUN", help="runs by name or folder")
    parser.add_argument(
        "--output", type=path, metavar="DIR", help="folder for the table and the picture"
    )
    add_runs(parser)


def compare(arguments: Namespace) -> Answer:
    """Students beside their controls."""
    from mobilekd.commands.compare import compare as run
    from mobilekd.figures.comparison import markdown

    found = run(arguments.names, output=arguments.output, runs=arguments.runs)
    return Answer(found, markdown(found).rstrip())


def _register_report(commands: Commands) -> None:
    parser = commands.add(
        JUDGE,
        "report",
        "one self-contained page from runs, artifacts and measurements",
        report,
        ["runs/ham10000 artifacts/ham10000-xnnpack-int8 results", "results --output phones.html"],
    )
    parser.add_argument(
        "paths",
        nargs="*",
        type=path,
        metavar="PATH",
        help=(
            "runs, artifacts, measurements, or folders of them (default: the newest run, its"
            " artifacts and results)"
        ),
    )
    parser.add_argument(
        "--output",
        type=path,
        default=Path("report.html"),
        metavar="FILE",
        help="the page; .md and .json appear beside it",
    )


def report(arguments: Namespace) -> Answer:
    """The page."""
    from mobilekd.commands.report import report as run

    page = run(arguments.paths or None, arguments.output)
    return Answer({"report": page}, str(page))


def _register_inspect(commands: Commands) -> None:
    parser = commands.add(
        LOWER,
        "inspect",
        "what an artifact is: labels, operators, bytes, parity, cost",
        inspect,
        [
            "artifacts/ham10000-xnnpack-int8 --profile",
            "artifacts/ham10000-xnnpack-int8 --layers --picture layers.svg",
        ],
    )
    add_artifact(parser)
    parser.add_argument(
        "--profile", action="store_true", help="run it here and show the time of each operator"
    )
    parser.add_argument(
        "--layers",
        action="store_true",
        help="what each layer's rounding does to the decision, and which to keep more precise",
    )
    parser.add_argument(
        "--picture",
        type=path,
        metavar="FILE",
        help="draw the cost of each layer, or with --layers what its rounding does, into this SVG",
    )


def inspect(arguments: Namespace) -> Answer:
    """What an artifact is."""
    from mobilekd.cli.describe import artifact, blame
    from mobilekd.commands.inspect import inspect as run

    found = run(
        arguments.artifact,
        profile=arguments.profile,
        layers=arguments.layers,
        picture=arguments.picture,
    )
    return Answer(found, blame(found) if arguments.layers else artifact(found))
