"""design: a student for a latency."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from mobilekd.cli.parser import TRAIN, Answer, Commands, add_runs, path

if TYPE_CHECKING:
    from mobilekd.commands.design import Design


def register(commands: Commands) -> None:
    """Add the command of this file."""
    parser = commands.add(
        TRAIN,
        "design",
        "propose a student that meets a latency measured here, and write its recipe",
        design,
        [
            "--latency 0.2",
            "--latency 0.5 --precision int8 --student mobilenetv2",
            "--latency 0.3 --base ham10000-lesionnet --epochs 5 --output small.toml",
        ],
    )
    parser.add_argument(
        "--latency",
        type=float,
        required=True,
        metavar="MS",
        help="milliseconds that one inference of the whole file may take",
    )
    parser.add_argument(
        "--device",
        default="host",
        metavar="D",
        help="where it is measured; operators are measured on host alone so far (default: host)",
    )
    parser.add_argument("--precision", choices=("fp32", "int8"), default="fp32", help="of the file")
    parser.add_argument(
        "--student",
        default="lesionnet",
        metavar="NAME",
        help=(
            "the family: lesionnet, mobilenetv2, mobilenetv3_small, mobilenetv3_large, or"
            " file.py:function of your own that takes a width (default: lesionnet)"
        ),
    )
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of the runtime (default: 1)"
    )
    parser.add_argument(
        "--candidates",
        type=int,
        default=4,
        metavar="N",
        help="how many depths and input sizes are measured as whole files (default: 4)",
    )
    parser.add_argument(
        "--sides",
        type=_numbers,
        default=None,
        metavar="A,B",
        help="square input sizes to try, in pixels (default: 64,96,128,160,192,224)",
    )
    parser.add_argument(
        "--base",
        metavar="RECIPE",
        help=(
            "a recipe whose photographs are at hand: what meets the budget is trained shortly under"
            " it, and validation ranks (default: multiply-adds rank)"
        ),
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=3,
        metavar="N",
        help="epochs of that short training (default: 3)",
    )
    parser.add_argument(
        "--table",
        type=path,
        metavar="FILE",
        help="the measured operators; made where it is missing (default: in the user's cache)",
    )
    parser.add_argument(
        "--output",
        type=path,
        metavar="FILE",
        help="the recipe (default: STUDENT-LATENCYms-PRECISION.toml)",
    )
    add_runs(parser)


def _numbers(text: str) -> tuple[int, ...]:
    if not all(part.strip().isdigit() for part in text.split(",")):
        raise ArgumentTypeError(f"{text} is not numbers of pixels with commas, such as 96,128")
    return tuple(int(part) for part in text.split(","))


def design(arguments: Namespace) -> Answer:
    """Propose a student."""
    from mobilekd.commands.design import design as run
    from mobilekd.designing.families import SIDES

    found = run(
        arguments.latency,
        device=arguments.device,
        precision=arguments.precision,
        student=arguments.student,
        threads=arguments.threads,
        candidates=arguments.candidates,
        sides=arguments.sides or SIDES,
        base=arguments.base,
        epochs=arguments.epochs,
        table=arguments.table,
        output=arguments.output,
        runs=arguments.runs,
    )
    return Answer(found, _text(found))


def _text(found: Design) -> str:
    from mobilekd.cli.text import table

    trained = any(one.balanced_accuracy is not None for one in found.proposals)
    rows = [
        (
            one.student,
            f"{one.measured_ms:.3f} ms",
            f"{100 * one.share:.0f}%" if one.meets else "TOO SLOW",
            f"{one.predicted_ms:.3f} ms",
            f"{one.macs / 1e6:.1f} M",
            f"{one.parameters:,}",
            *(("" if (score := one.balanced_accuracy) is None else f"{score:.3f}",) * trained),
        )
        for one in found.proposals
    ]
    header = ["STUDENT", "MEASURED", "OF BUDGET", "PREDICTED", "MULTIPLY-ADDS", "PARAMETERS"]
    error = found.error
    lines = [
        table([*header, "BALANCED ACCURACY"][: len(header) + trained], rows),
        "",
        f"{found.considered} candidates predicted from {found.table}",
        (
            f"predictions against {error.files} whole files: relative error"
            f" {100 * error.median:.1f}% in the median, {100 * error.worst:.1f}% at worst"
        ),
        f"ranked by {found.ranked_by}",
        *(f"doubt: {doubt}" for doubt in found.doubts),
        "",
        f"{found.recipe}; next:",
        *(f"  {command}" for command in found.next),
    ]
    return "\n".join(lines)
