"""What to say of a command that failed: one line and an exit code, whatever the error was."""

import importlib.util
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from mobilekd.support.errors import UserError
from mobilekd.support.files import REMEDIES, nearly_full
from mobilekd.support.version import VERSION
from mobilekd.support.words import in_one_line


def told(error: Exception, command: str, given: Sequence[str] = ()) -> tuple[str, int]:
    """One line for a failure of ``command``, which was ``given`` these words, and its exit code: 2
    for the user's mistake, a full disk or memory, and what is not installed; 1 for ours, whose
    traceback is saved. The line is shown behind the command, so it does not begin with it.
    """
    line = _users(error, command)
    if line is not None:
        return _without(command, in_one_line(line), given), 2
    reason = in_one_line(error)[:200]
    return f"unexpected {type(error).__name__}: {reason}; {_saved_traceback(error)}", 1


def _without(command: str, line: str, given: Sequence[str]) -> str:
    """``line`` without the command in front, which Python's users need; a path or name that is
    called like the command stays.
    """
    if list(given).count(command) > 1 or Path(command).exists():
        return line
    if line.startswith(f"{command} --"):
        return line.removeprefix(f"{command} ")
    return line.removeprefix(f"{command}: ")


def _users(error: Exception, command: str) -> str | None:
    """What the user can mend, in words; None for anything else."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in REMEDIES:
        reason = (error.strerror or str(error)).lower()
        return f"{error.filename or 'output'}: {reason}; {REMEDIES[error.errno]}"
    place = Path(tempfile.gettempdir())
    if isinstance(error, subprocess.CalledProcessError) and (little := nearly_full(place)):
        program = Path(error.cmd if isinstance(error.cmd, str) else error.cmd[0]).name
        return f"{place}: {program} ended with code {error.returncode}; {little}"
    if isinstance(error, ModuleNotFoundError) and (package := _not_installed(error)):
        return (
            f"{package} is not installed here, and {command} needs it; pip install mobilekd brings"
            " it (without --no-deps)"
        )
    if _is_out_of_memory(error):
        reason = str(error).partition("\n")[0][:120] or "none left"
        return (
            f"not enough memory ({reason}); ask for less: a smaller batch_size, preprocess.width"
            " and height, or student"
        )
    return None


def _not_installed(error: ModuleNotFoundError) -> str:
    """The package that an import did not find, as pip calls it; empty where the package is here and
    a module of it is not, which is a mistake of ours.
    """
    top = (error.name or "").partition(".")[0]
    if not top or top in sys.stdlib_module_names or importlib.util.find_spec(top) is not None:
        return ""
    return {"sklearn": "scikit-learn", "google": "protobuf", "PIL": "pillow"}.get(top, top)


def _is_out_of_memory(error: Exception) -> bool:
    """Python's own word for it, or torch's, which is a RuntimeError on a CPU and on CUDA."""
    words = ("can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(one in str(error).lower() for one in words)
    )


def _saved_traceback(error: Exception) -> str:
    """Where the traceback was saved, or that there was no room for it."""
    text = f"mobilekd {VERSION}: {' '.join(sys.argv)}\n" + "".join(
        traceback.format_exception(error)
    )
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="mobilekd-",
            suffix=".traceback.txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(text)
    except OSError as full:
        return f"its traceback could not be saved ({full.strerror}); --debug shows it"
    return f"traceback saved in {file.name}"
