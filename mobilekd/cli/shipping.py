"""export, verify, apk: from a trained student to the phone."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from mobilekd.cli.meant import BACKENDS, PRECISIONS
from mobilekd.cli.parser import (
    LOWER,
    Answer,
    Commands,
    add_artifact,
    add_artifacts,
    add_runs,
    path,
)

if TYPE_CHECKING:
    from mobilekd.formats.artifact import Artifact


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    _register_export(commands)
    _register_verify(commands)
    _register_apk(commands)


def _register_export(commands: Commands) -> None:
    parser = commands.add(
        LOWER,
        "export",
        "lower a student to a file for the phone, accepted only when it equals what was trained",
        export,
        [
            "--backend xnnpack",
            "runs/ham10000 --backend xnnpack --precision int8",
            "reference:NAME --backend coreml --precision fp16",
        ],
    )
    parser.add_argument(
        "run_name",
        nargs="?",
        metavar="RUN",
        help="a run or reference:NAME (default: the newest run, else a reference)",
    )
    parser.add_argument(
        "--backend",
        default="xnnpack",
        metavar="B",
        help=f"{', '.join(BACKENDS)} (default: xnnpack, for Android; coreml is for iPhones)",
    )
    parser.add_argument(
        "--precision",
        default=None,
        metavar="P",
        help=(
            f"{', '.join(PRECISIONS)}, as far as the backend has it (default: the backend's first,"
            " fp32 with xnnpack, fp16 with coreml)"
        ),
    )
    parser.add_argument(
        "--soc",
        metavar="CHIP",
        help="where a file is for one chip: the phone's, as getprop ro.soc.model says it",
    )
    parser.add_argument(
        "--output",
        type=path,
        metavar="DIR",
        help="the artifact's folder (default: artifacts/NAME-BACKEND-PRECISION)",
    )
    parser.add_argument(
        "--cam", action="store_true", help="a second output: the class activation map"
    )
    parser.add_argument(
        "--guard",
        action="store_true",
        help=(
            "fit the guard on the run's own photographs first, where the run has none; put a"
            " shipped student's guard into the file"
        ),
    )
    parser.add_argument(
        "--guard-photographs",
        type=path,
        metavar="FOLDER",
        help=(
            "more than 100 photographs of a clinic, without labels, that the guard is to know"
            " besides those of training"
        ),
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a key, e.g. of [gates]",
    )
    parser.add_argument(
        "--verify",
        action="append",
        default=[],
        choices=("arm",),
        help="arm: the golden set on emulated Arm processors too",
    )
    parser.add_argument(
        "--keep-refused",
        action="store_true",
        help="keep a refused file for a look, in refused/NAME-BACKEND-PRECISION",
    )
    parser.add_argument(
        "--no-retry",
        action="store_true",
        help="refuse int8 at once, without training with its rounding and without mixed precision",
    )
    add_runs(parser)


def export(arguments: Namespace) -> Answer:
    """Lower a student."""
    from mobilekd.backends import get
    from mobilekd.commands.export import export as run

    precision = arguments.precision or get(arguments.backend).precisions[0]
    made = run(
        arguments.run_name,
        backend=arguments.backend,
        precision=precision,
        soc=arguments.soc,
        output=arguments.output,
        runs=arguments.runs,
        cam=arguments.cam,
        guard=arguments.guard,
        guard_photographs=arguments.guard_photographs,
        verify=arguments.verify,
        overrides=arguments.overrides,
        keep_refused=arguments.keep_refused,
        retry=not arguments.no_retry,
    )
    return Answer({"artifact": made.folder, "manifest": made.manifest}, _accepted(made))


def _accepted(artifact: Artifact) -> str:
    """What was written, what is not known of it, and each gate that it passed."""
    from mobilekd.cli.text import interval, table
    from mobilekd.formats.parity_names import StageId

    manifest = artifact.manifest
    lines = [
        str(artifact.folder),
        (
            f"{manifest.bytes:,} bytes, {manifest.student.parameters:,} parameters,"
            f" {manifest.precision}, from {manifest.provenance.run}"
        ),
        *manifest.open_decisions,
        *(
            f"not verified here: {row.stage.title}: {row.reason}"
            for row in manifest.parity
            if not row.verified and row.stage.id in (StageId.CORE_ML, StageId.CORE_AI)
        ),
    ]
    judged = manifest.accuracy.get("balanced_accuracy")
    if judged:
        lines.append(
            f"balanced accuracy {interval(judged)} on {manifest.accuracy['n']:,} test"
            f" photographs; chance is {1 / len(manifest.labels):.3f}"
        )
    gates = [
        (
            gate.name.title,
            gate.measured,
            gate.condition,
            ("recorded" if gate.recorded else "measured")
            + (", too few photographs to decide" if gate.undecided else ""),
        )
        for gate in manifest.gates
    ]
    return "\n".join([*lines, "", table(("GATE", "VALUE", "LIMIT", "HOW"), gates)])


def _register_verify(commands: Commands) -> None:
    parser = commands.add(
        LOWER,
        "verify",
        "every check of an artifact again, on this machine",
        verify,
        ["artifacts/ham10000-xnnpack-int8 --arm"],
    )
    add_artifact(parser)
    parser.add_argument("--arm", action="store_true", help="on emulated Arm processors too")
    parser.add_argument(
        "--hashes",
        action="store_true",
        help="only the files against their hashes and the recorded gates; needs no torch",
    )
    add_runs(parser)


def verify(arguments: Namespace) -> Answer:
    """Check an artifact."""
    from mobilekd.cli.text import table
    from mobilekd.commands.verify import verify as run

    result = run(
        arguments.artifact, arm=arguments.arm, hashes=arguments.hashes, runs=arguments.runs
    )
    words = {True: "passed", False: "FAILED", None: "not decided here"}
    text = table(
        ("CHECK", "", "DETAIL"),
        [(check.name, words[check.passed], check.detail) for check in result.checks],
    )
    return Answer(
        result,
        f"{result.artifact}: {'passed' if result.passed else 'FAILED'}\n\n{text}",
        0 if result.passed else 2,
    )


def _register_apk(commands: Commands) -> None:
    parser = commands.add(
        LOWER,
        "apk",
        "build an installable, signed demo app with this model inside",
        apk,
        [
            "artifacts/ham10000-xnnpack-int8",
            "artifacts/ham10000-xnnpack-int8 --name 'Lesion demo' --install",
            "artifacts/ham10000-xnnpack-int8 artifacts/ham10000-qnn-w8a16-SM8650",
        ],
    )
    add_artifacts(parser)
    parser.add_argument(
        "--aar",
        metavar="FILE|community",
        help="ExecuTorch runtime: a local file, or the community build (default: the official one)",
    )
    parser.add_argument(
        "--keystore", type=path, metavar="FILE", help="sign with this key instead of the debug key"
    )
    parser.add_argument(
        "--abi",
        type=_names,
        default=("arm64-v8a", "x86_64"),
        metavar="A,B",
        help="default: arm64-v8a,x86_64",
    )
    parser.add_argument(
        "--libraries",
        type=path,
        metavar="DIR|AAR",
        help="your own libraries for arm64 phones, such as Qualcomm's, to build in",
    )
    parser.add_argument("--samples", type=path, metavar="DIR", help="photographs to build in")
    parser.add_argument("--name", metavar="TEXT", help="the app's name on the phone")
    parser.add_argument(
        "--output", type=path, metavar="FILE", help="the APK (default: the first ARTIFACT.apk)"
    )
    parser.add_argument(
        "--install", nargs="?", const="", metavar="SERIAL", help="install over adb and start it"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def apk(arguments: Namespace) -> Answer:
    """Build the demo app."""
    from mobilekd.commands.apk import apk as run

    made = run(
        arguments.artifacts,
        aar=arguments.aar,
        keystore=arguments.keystore,
        abi=arguments.abi,
        samples=arguments.samples,
        name=arguments.name,
        output=arguments.output,
        install=arguments.install,
        libraries=arguments.libraries,
    )
    return Answer({"apk": made}, str(made))
