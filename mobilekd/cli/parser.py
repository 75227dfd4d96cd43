"""The command line's grammar: one-line errors that name the nearest right word, and help that ends
with examples.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from mobilekd.support.words import nearest, unknown


class Answer(NamedTuple):
    """What a command found: ``document`` for ``--json``, ``text`` for a person, and the
    exit code.
    """

    document: Any
    text: str
    code: int = 0


class Parser(argparse.ArgumentParser):
    """argparse whose mistakes take one line and exit with 2."""

    def error(self, message: str) -> NoReturn:
        """One line on standard error, exit code 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class Commands:
    """The commands in the order of the flow; each is a few lines over the function of the same
    name.
    """

    def __init__(self, description: str, version: str) -> None:
        self.root = Parser(
            prog="mobilekd",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.root.add_argument("--version", action="version", version=f"mobilekd {version}")
        self._places = self.root.add_subparsers(
            title="commands", metavar="COMMAND", dest="command", parser_class=Parser
        )
        self.parsers: dict[str, Parser] = {}

    def add(
        self,
        name: str,
        summary: str,
        run: Callable[[argparse.Namespace], Answer],
        examples: Sequence[str],
    ) -> Parser:
        """A command's parser, with ``--json`` and ``--debug``; ``run`` gets the parsed
        arguments.
        """
        parser: Parser = self._places.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog="examples:\n"
            + "\n".join(f"  mobilekd {name} {example}".rstrip() for example in examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.set_defaults(run=run)
        parser.add_argument(
            "--json", action="store_true", help="print one JSON document on standard output"
        )
        parser.add_argument(
            "--debug", action="store_true", help="show the whole traceback of an error"
        )
        self.parsers[name] = parser
        return parser

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The arguments; an unknown command or option exits with 2 and the nearest known one."""
        if argv and not argv[0].startswith("-") and argv[0] not in self.parsers:
            self.root.error(unknown(f"command {argv[0]}", argv[0], self.parsers))
        arguments, extra = self.root.parse_known_args(argv)
        if extra:
            parser = self.parsers.get(arguments.command, self.root)
            options = [option for action in parser._actions for option in action.option_strings]
            guess = nearest(extra[0].partition("=")[0], options)
            parser.error(f"unexpected {extra[0]}" + (f", did you mean {guess}?" if guess else ""))
        if arguments.command is None:
            self.root.print_help()
            sys.exit(0)
        return arguments


def pairs(items: Sequence[str], option: str, example: str) -> dict[str, str]:
    """``A=B`` items of a repeatable option as a dictionary."""
    from mobilekd.support.errors import UserError

    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not (key and equals and value):
            raise UserError(f"{option} {item}: not A=B; write for example {option} {example}")
        if found.setdefault(key, value) != value:
            raise UserError(
                f"{option} {item}: {key} has another value already ({found[key]}); give it once"
            )
    return found


def path(text: str) -> Path:
    """A path as people write it: ``~`` is their home."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error} Write the folder out") from None


def add_runs(parser: Parser) -> None:
    """The folder that finished runs live in."""
    parser.add_argument(
        "--runs",
        type=path,
        default=Path("runs"),
        metavar="DIR",
        help="folder of the runs (default: runs)",
    )
