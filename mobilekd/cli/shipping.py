"""export, verify, bench, devices, apk: from a trained student to the phone."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from mobilekd.cli.meant import BACKENDS, PRECISIONS
from mobilekd.cli.parser import (
    LOWER,
    MEASURE,
    Answer,
    Commands,
    add_artifact,
    add_artifacts,
    add_runs,
    path,
)

if TYPE_CHECKING:
    from mobilekd.commands.devices import DeviceStatus


def register(commands: Commands) -> None:
    """Add the commands of this file."""
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

    parser = commands.add(
        MEASURE,
        "bench",
        "latency of artifacts on a device, after their golden set was answered rightly",
        bench,
        [
            "artifacts/ham10000-xnnpack-int8",
            "artifacts/*-xnnpack-* --device adb --minutes 5",
            "artifacts/ham10000-xnnpack-int8 --device adb:all",
            "artifacts/ham10000-* --device adb --runtime-library libonnxruntime.so",
            "artifacts/ham10000-xnnpack-int8 --baseline baseline.json --fail-above 1.05",
        ],
    )
    parser.add_argument(
        "artifacts",
        nargs="*",
        type=path,
        metavar="ARTIFACT",
        help="several are interleaved (default: the newest)",
    )
    parser.add_argument(
        "--device",
        default="host",
        metavar="D",
        help=(
            "host, adb, adb:SERIAL, adb:all (all phones at once), or qemu:CPU (answers only);"
            " default: host"
        ),
    )
    parser.add_argument(
        "--via",
        default="shell",
        choices=("shell", "app"),
        help="phones: a bare program, or the demo app (default: shell)",
    )
    parser.add_argument(
        "--runtime-library",
        dest="runtime_libraries",
        type=path,
        action="append",
        default=[],
        metavar="FILE",
        help=(
            "phones: the arm64 library of ONNX Runtime or LiteRT that runs .onnx or .tflite files,"
            " such as your app's; give it once for each (default: its package's, for Linux)"
        ),
    )
    parser.add_argument(
        "--threads",
        type=_numbers,
        default=(1, 2),
        metavar="1,2",
        help="thread counts to sweep (default: 1,2)",
    )
    parser.add_argument(
        "--samples",
        type=_positive,
        default=200,
        metavar="N",
        help="steady samples per setting (default: 200)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=0.0,
        metavar="M",
        help="then run for so long and watch it heat up (default: 0)",
    )
    parser.add_argument(
        "--output",
        type=path,
        metavar="FILE",
        help=(
            "JSON file, a folder for several artifacts or phones (default:"
            " results/DEVICE/ARTIFACT.json)"
        ),
    )
    parser.add_argument(
        "--baseline", type=path, metavar="FILE", help="compare with this measurement"
    )
    parser.add_argument(
        "--fail-above",
        type=float,
        metavar="R",
        help=(
            "exit with 2 when a setting takes more than R times the baseline; tested over all"
            " settings together (Holm), so that many thread counts are not as many chances of a"
            " false alarm"
        ),
    )

    commands.add(
        MEASURE,
        "devices",
        "what can be measured on, and what is wrong with what cannot",
        devices,
        ["", "--json"],
    )

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


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def export(arguments: Namespace) -> Answer:
    """Lower a student."""
    from mobilekd.backends import get
    from mobilekd.cli.text import interval, table
    from mobilekd.commands.export import export as run
    from mobilekd.formats.parity_names import StageId

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
    manifest = made.manifest
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
    text = (
        f"{made.folder}\n{manifest.bytes:,} bytes, {manifest.student.parameters:,} parameters,"
        f" {manifest.precision}, from {manifest.provenance.run}"
    )
    text += "".join(f"\n{reason}" for reason in manifest.open_decisions)
    text += "".join(
        f"\nnot verified here: {row.stage.title}: {row.reason}"
        for row in manifest.parity
        if not row.verified and row.stage.id in (StageId.CORE_ML, StageId.CORE_AI)
    )
    judged = manifest.accuracy.get("balanced_accuracy")
    if judged:
        text += (
            f"\nbalanced accuracy {interval(judged)} on {manifest.accuracy['n']:,} test"
            f" photographs; chance is {1 / len(manifest.labels):.3f}"
        )
    return Answer(
        {"artifact": made.folder, "manifest": manifest},
        f"{text}\n\n{table(('GATE', 'VALUE', 'LIMIT', 'HOW'), gates)}",
    )


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


def bench(arguments: Namespace) -> Answer:
    """Measure artifacts. Of several phones, 1 says that some could not be measured, 2 that none
    could.
    """
    from mobilekd.cli.latencies import latencies
    from mobilekd.commands.bench import PhonesError
    from mobilekd.commands.bench import bench as run

    try:
        measurements = run(
            arguments.artifacts or None,
            device=arguments.device,
            via=arguments.via,
            threads=arguments.threads,
            minutes=arguments.minutes,
            samples=arguments.samples,
            output=arguments.output,
            baseline=arguments.baseline,
            fail_above=arguments.fail_above,
            runtime_libraries=arguments.runtime_libraries,
        )
    except PhonesError as error:
        measurements = [one for phone in error.phones for one in phone.measurements]
        lost = [(phone.name, phone.problem) for phone in error.phones if phone.problem]
        return Answer(
            {
                "measurements": measurements,
                "error": str(error),
                "not_measured": [{"device": name, "problem": why} for name, why in lost],
            },
            latencies(measurements, lost),
            1 if any(phone.measured for phone in error.phones) else 2,
        )
    return Answer({"measurements": measurements}, latencies(measurements))


def devices(arguments: Namespace) -> Answer:
    """What can be measured on."""
    from mobilekd.cli.text import plain, table
    from mobilekd.commands.devices import devices as run

    found = run()
    rows = [(item.device, _state(item), item.name, item.problem) for item in found]
    return Answer(
        {"devices": plain(found)},
        table(("DEVICE", "", "WHAT IT IS", "WHAT IS WRONG, AND WHAT TO DO"), rows),
    )


def _state(item: DeviceStatus) -> str:
    return "NOT USABLE" if not item.usable else "ok" if item.latency else "answers only"


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
