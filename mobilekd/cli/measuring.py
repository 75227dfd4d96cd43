"""bench, devices: what a file for the phone takes, measured on the phone."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from mobilekd.cli.parser import MEASURE, Answer, Commands, path

if TYPE_CHECKING:
    from mobilekd.commands.devices import DeviceStatus


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    _register_bench(commands)
    _register_devices(commands)


def _register_bench(commands: Commands) -> None:
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


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


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


def _register_devices(commands: Commands) -> None:
    commands.add(
        MEASURE,
        "devices",
        "what can be measured on, and what is wrong with what cannot",
        devices,
        ["", "--json"],
    )


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
