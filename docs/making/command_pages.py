"""Every command with its options, from its parser."""

import argparse
import re

from making.markdown import page, table
from mobilekd.cli import commands

#: Exit codes of every command, as ``mobilekd/cli/__init__.py`` gives them.
EXIT_CODES = (
    ("0", "It did what you asked."),
    (
        "1",
        "A fault of ours. The line names the file with the traceback. `sweep`: a cell failed."
        " `bench --device adb:all`: some phones were measured, others not.",
    ),
    (
        "2",
        "Something that you can mend: a wrong option or input, a refused export, a failed check."
        " One line names the thing and the remedy.",
    ),
    ("130", "Ctrl-C. What was finished is kept; call again with `--resume` where there is one."),
    ("143", "Ended by SIGTERM. No half-written result is left."),
)


def commands_page() -> str:
    """Every command with its options and exit codes, from the parsers."""
    made = commands()
    parts = [
        "Every command has `--help`. Standard output carries the answer alone; progress goes to"
        " standard error. With `--json` the answer is one JSON document.",
        "## Exit codes\n\n" + table(("Code", "Meaning"), EXIT_CODES),
    ]
    for name, parser in made.parsers.items():
        parts.append(_command(name, parser))
    return page("Commands", *parts)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    summary, _, below = (parser.description or "").partition("examples:\n")
    description = " ".join(summary.split())
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    parts = [f"## `{name}`\n", f"{description}\n", f"```text\n{_wrapped(usage)}\n```\n"]
    for group in parser._action_groups:
        rows = [_action(action) for action in group._group_actions if not _hidden(action)]
        if not rows:
            continue
        if group.title not in ("options", "positional arguments"):
            parts.append(f"**{str(group.title).capitalize()}**\n")
        parts.append(table(("Option", "Default", "Allowed", "Meaning"), rows))
    examples = re.findall(r"^ +(mobilekd .*)$", below, flags=re.M)
    if examples:
        shown = "\n".join(f"$ {example}" for example in examples)
        parts.append(f"```console\n{shown}\n```\n")
    return "\n".join(parts)


def _wrapped(usage: str, width: int = 96) -> str:
    """A usage line, broken between its parts."""
    lines = [""]
    for part in re.findall(r"\[[^\]]*(?:\[[^\]]*\][^\]]*)*\]|\S+", usage):
        if lines[-1] and len(lines[-1]) + len(part) + 1 > width:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {part}".lstrip() if len(lines) == 1 else f"{lines[-1]} {part}"
    return "\n".join(lines)


def _hidden(action: argparse.Action) -> bool:
    return action.help == argparse.SUPPRESS or "--help" in action.option_strings


def _action(action: argparse.Action) -> tuple[str, str, str, str]:
    given = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    if action.option_strings:
        shown = ", ".join(f"`{option}{given}`" for option in action.option_strings)
    else:
        shown = f"`{action.metavar or action.dest}`"
    default = action.default
    if action.nargs == 0 or default in (None, [], "", ()) or default is argparse.SUPPRESS:
        text = "required" if not action.option_strings and action.nargs not in ("?", "*") else ""
    else:
        text = f"`{default}`"
    allowed = ", ".join(f"`{choice}`" for choice in action.choices or ())
    meaning = str(action.help or "").replace("%(default)s", str(default)).replace("%%", "%")
    if text not in ("", "required"):
        meaning = re.sub(r" \(default: [^()]*\)$", "", meaning)
    return shown, text, allowed, meaning
