"""The command line's grammar: one-line errors that name the nearest right word, and help that
begins with examples.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from mobilekd.cli import meant
from mobilekd.support.words import nearest, unknown

#: Shells that completion is made for.
SHELLS = ("bash", "zsh", "fish")

#: What one may want, in the order in which ``mobilekd --help`` shows it.
LOOK = "look around"
TRAIN = "train a student"
JUDGE = "judge a student"
LOWER = "make the file for the phone"
MEASURE = "measure the file"


class Answer(NamedTuple):
    """What a command found: ``document`` for ``--json``, ``text`` for a person, and the
    exit code.
    """

    document: Any
    text: str
    code: int = 0


class Help(argparse.RawDescriptionHelpFormatter):
    """Help that shows choices and defaults, whether or not an option's own words do."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        if action.choices is not None and action.metavar is not None:
            text += f" (one of {', '.join(map(str, action.choices))})"
        silent = action.default in (None, False, [], argparse.SUPPRESS, ())
        if not silent and "default" not in text:
            text += " (default: %(default)s)"
        return text


class Parser(argparse.ArgumentParser):
    """argparse whose mistakes take one line and exit with 2."""

    def error(self, message: str) -> NoReturn:
        """One line on standard error, exit code 2."""
        hint = meant.MISSING.get(self.prog.partition(" ")[2])
        if hint and message.startswith("the following arguments are required"):
            message = f"{message}; {hint}"
        message = self._in_our_words(message)
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def _in_our_words(self, message: str) -> str:
        """What argparse says of an option's value, as the program says it elsewhere: the option,
        what is wrong, what to write.
        """
        found = re.match(r"argument (\S+): (.*)", message, flags=re.S)
        named = found[1].split("/")[-1] if found else ""
        action = next((one for one in self._actions if named in one.option_strings), None)
        if found is None or action is None:
            return message
        example = f"{named} {action.metavar or '|'.join(map(str, action.choices or ()))}"
        if found[2] == "expected one argument":
            return f"{named}: its value is missing; write {example}"
        value = re.match(r"invalid (choice|int|float) ?(?:value)?: '(.*?)'", found[2], flags=re.S)
        if value is None:
            return message
        if value[1] == "choice":
            return unknown(f"{named} {value[2]}", value[2], map(str, action.choices or ()))
        return f"{named} {value[2]}: no {NUMBERS[value[1]]}; write {example}"


#: What a type of argparse is in words.
NUMBERS = {"int": "whole number", "float": "number"}


class Commands:
    """The commands, grouped by what one wants; each is a few lines over the function of the same
    name.
    """

    def __init__(self, description: str, version: str) -> None:
        self.root = Parser(prog="mobilekd", description=description, allow_abbrev=False)
        self.root.add_argument(
            "--version", action="version", version=f"mobilekd {version}", help="say the version"
        )
        self.root.add_argument(
            "--completion",
            choices=SHELLS,
            help='print what turns completion on, e.g. eval "$(mobilekd --completion bash)"',
        )
        self._places = self.root.add_subparsers(
            metavar="COMMAND", dest="command", parser_class=Parser
        )
        self.parsers: dict[str, Parser] = {}
        #: What one wants, and the commands for it with what each does.
        self.groups: dict[str, dict[str, str]] = {
            want: {} for want in (LOOK, TRAIN, JUDGE, LOWER, MEASURE)
        }
        self.root.format_help = self._help  # type: ignore[method-assign]

    def add(
        self,
        want: str,
        name: str,
        summary: str,
        run: Callable[[argparse.Namespace], Answer],
        examples: Sequence[str],
    ) -> Parser:
        """A command's parser, with ``--json`` and ``--debug``; ``run`` gets the parsed
        arguments. ``want`` is the group in which ``mobilekd --help`` shows it.
        """
        shown = "\n".join(f"  mobilekd {name} {example}".rstrip() for example in examples)
        parser: Parser = self._places.add_parser(
            name,
            description=f"{summary[0].upper()}{summary[1:]}.\n\nexamples:\n{shown}",
            formatter_class=Help,
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
        self.groups[want][name] = summary
        return parser

    def _help(self) -> str:
        """What ``mobilekd --help`` prints: an example, then the commands by what one wants."""
        width = max(map(len, self.parsers)) + 2
        parts = [self.root.description or "", "start with:\n  mobilekd demo"]
        for want, commands in self.groups.items():
            lines = [f"  {name:{width}}{summary}" for name, summary in commands.items()]
            parts.append("\n".join((f"{want}:", *lines)))
        options = [
            ("COMMAND --help", "a command's options, with examples"),
            *(
                (" ".join(action.option_strings), (action.help or "").replace("%%", "%"))
                for action in self.root._actions
                if action.option_strings and "--help" not in action.option_strings
            ),
        ]
        wide = max(len(name) for name, _ in options) + 2
        lines = [f"  {name:{wide}}{text}" for name, text in options]
        return (
            "\n\n".join(("usage: mobilekd COMMAND ...", *parts, "\n".join(("more:", *lines))))
            + "\n"
        )

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The arguments; an unknown command or option exits with 2 and with what is meant, else
        the nearest known one. ``help`` before a command is ``--help`` after it.
        """
        given = list(argv)
        if given[:1] == ["help"]:
            given = [*given[1:2], "--help"]
        name = given[0] if given else ""
        before = [option for action in self.root._actions for option in action.option_strings]
        if name.startswith("-") and name.partition("=")[0] not in before:
            self.root.error(f"{name}: stands before any command; {meant.HELP}")
        if name and not name.startswith("-"):
            if name not in self.parsers:
                meant_here = meant.command(name)
                self.root.error(
                    f"command {name}: unknown; {meant_here}"
                    if meant_here
                    else unknown(f"command {name}", name, self.parsers)
                )
            parser = self.parsers[name]
            known = [option for action in parser._actions for option in action.option_strings]
            answer = meant.option(name, given[1:], known) or meant.place(name, given[1:])
            if answer:
                parser.error(answer)
        arguments, extra = self.root.parse_known_args(given)
        if extra:
            parser = self.parsers.get(arguments.command, self.root)
            options = [option for action in parser._actions for option in action.option_strings]
            guess = nearest(extra[0].partition("=")[0], options)
            more = f", did you mean {guess}?" if guess else ""
            if not extra[0].startswith("-"):
                more = "; a name with spaces stands in quotes"
            parser.error(f"unexpected {extra[0]}{more}")
        if arguments.command is None and not arguments.completion:
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


def add_artifact(parser: Parser) -> None:
    """The artifact that a command is about."""
    parser.add_argument(
        "artifact",
        nargs="?",
        type=path,
        metavar="ARTIFACT",
        help="the artifact's folder (default: the newest in artifacts)",
    )


def add_artifacts(parser: Parser) -> None:
    """The artifacts of one student that a command is about."""
    parser.add_argument(
        "artifacts",
        nargs="*",
        type=path,
        metavar="ARTIFACT",
        help="folders of one student's artifacts (default: the newest in artifacts)",
    )


def add_runs(parser: Parser) -> None:
    """The folder that finished runs live in."""
    parser.add_argument(
        "--runs",
        type=path,
        default=Path("runs"),
        metavar="DIR",
        help="folder of the runs (default: runs)",
    )
