"""The command line: each command is a few lines over the function of the same name, which Python
users call directly.

Standard output carries the answer alone (one document with ``--json``); progress and chatter go to
standard error. Exit codes: 0, 2 for the user's mistake, 1 for ours, 130 for Ctrl-C. Importing this
loads neither torch nor pydantic.

Add here a command's options and what it prints. Everything it does stands in ``commands``.
"""

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress

from mobilekd.cli import designing, machine, measuring, shipping, studying, training
from mobilekd.cli.completion import complete, hook
from mobilekd.cli.loading import say_before_torch
from mobilekd.cli.parser import Answer, Commands
from mobilekd.support.progress import prepare_streams
from mobilekd.support.version import VERSION

DESCRIPTION = """Distil skin-lesion classifiers into phone models, prove every lowering step,
measure them on the phone.

A research demonstration, not a medical device."""


#: When Python looks for unreachable cycles. Libraries make a million objects as they load, all of
#: which stay; to look through them as often as Python does by itself is a tenth of a start.
SELDOM = (50_000, 20, 50)


def commands() -> Commands:
    """Every command's grammar."""
    made = Commands(DESCRIPTION, VERSION)
    for group in (machine, training, designing, shipping, measuring, studying):
        group.register(made)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    prepare_streams()
    grammar = commands()
    complete(grammar)
    given = sys.argv[1:] if argv is None else argv
    arguments = grammar.parse(given)
    if arguments.command is None:
        print(hook(arguments.completion))
        return 0
    if threading.current_thread() is threading.main_thread():
        # unwinds, so that unfinished folders are removed
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    from mobilekd.support.arguments import hush  # not before the arguments are read

    hush()
    gc.set_threshold(*SELDOM)
    say_before_torch(arguments.command)
    try:
        with chatter_to_stderr():
            answer = arguments.run(arguments)
        return _print(answer, as_json=arguments.json)
    except KeyboardInterrupt:
        print(f"mobilekd {arguments.command}: stopped; what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _nothing_to_flush()  # the reader has left
        return 0
    except Exception as error:
        if arguments.debug:
            raise
        return _refuse(error, arguments.command, given, as_json=arguments.json)


@contextmanager
def chatter_to_stderr() -> Iterator[None]:
    """Whatever libraries print, C++ ones included, goes to standard error."""
    sys.stdout.flush()
    try:
        saved = os.dup(1)
    except OSError:  # started without a standard output
        yield
        return
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        with suppress(Exception):
            import ctypes

            # C's own buffers still hold lines that belong to standard error
            ctypes.CDLL(None).fflush(None)
        os.dup2(saved, 1)
        os.close(saved)


def _can_say(text: str) -> bool:
    """Whether standard output's encoding holds every character."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _print(answer: Answer, *, as_json: bool) -> int:
    if int(os.environ.get("RANK", "0")) == 0:  # under torchrun one rank speaks for all
        if as_json:
            from mobilekd.cli.text import to_json

            text = to_json(answer.document)
            print(text if _can_say(text) else to_json(answer.document, ascii_only=True))
        else:
            print(answer.text)
        sys.stdout.flush()
    return answer.code


def _refuse(error: Exception, command: str, given: Sequence[str], *, as_json: bool) -> int:
    """One line for a failure, and its exit code."""
    from mobilekd.support.refusals import told

    line, code = told(error, command, given)
    print(f"mobilekd {command}: {line}", file=sys.stderr)
    try:
        if as_json:
            import json

            document = {"error": line, "exit_code": code}
            text = json.dumps(document, ensure_ascii=False)
            print(text if _can_say(text) else json.dumps(document))
        sys.stdout.flush()
    except OSError:  # standard output itself is full
        _nothing_to_flush()
    return code


def _nothing_to_flush() -> None:
    """Send what standard output still holds nowhere, or Python complains of it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
