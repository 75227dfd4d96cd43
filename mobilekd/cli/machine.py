"""doctor and demo: is this machine ready, and what does the whole flow look like on it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from mobilekd.cli.parser import LOOK, Answer, Commands, path


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    _register_doctor(commands)
    _register_demo(commands)


def _register_doctor(commands: Commands) -> None:
    parser = commands.add(
        LOOK,
        "doctor",
        "what this machine lacks, each with its fix",
        doctor,
        ["", "--install", "--empty-store", "--json"],
    )
    parser.add_argument(
        "--install",
        action="store_true",
        help="as root on Debian or Ubuntu: install the missing system packages",
    )
    parser.add_argument(
        "--empty-store",
        action="store_true",
        help="remove the decoded photographs that are kept for later commands",
    )


def doctor(arguments: Namespace) -> Answer:
    """Check the machine."""
    from mobilekd.cli.text import table
    from mobilekd.commands.doctor import doctor as run
    from mobilekd.commands.doctor import empty_store, install

    if arguments.install:
        install()
    if arguments.empty_store:
        empty_store()
    checks = run()
    rows = [
        (
            "ok" if check.ok else "MISSING",
            check.name,
            check.detail if check.ok else check.fix,
            check.needed_for,
        )
        for check in checks
    ]
    broken = [check for check in checks if not check.ok and check.required]
    return Answer(
        {"checks": checks},
        table(("", "WHAT", "FOUND, OR HOW TO GET IT", "NEEDED FOR"), rows),
        2 if broken else 0,
    )


def _register_demo(commands: Commands) -> None:
    parser = commands.add(
        LOOK,
        "demo",
        "the whole flow on generated photographs, offline, in minutes; prints the report's path"
        " last",
        demo,
        ["", "--output /tmp/demo"],
    )
    parser.add_argument(
        "--output",
        type=path,
        default=Path("demo"),
        metavar="DIR",
        help="folder for all of it (default: demo)",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="the reduction that ends in seconds and learns next to nothing",
    )


def demo(arguments: Namespace) -> Answer:
    """Run the whole flow."""
    from mobilekd.commands.demo import demo as run

    page = run(arguments.output, smoke=arguments.smoke)
    return Answer({"report": page}, str(page))
