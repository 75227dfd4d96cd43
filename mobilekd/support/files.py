"""Files that are whole or absent: atomic writes, folders that appear under their name only when
finished, hashes.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mobilekd.support import strict_json
from mobilekd.support.errors import UserError

#: Marks of what is being written, and of a folder that is being replaced, in their names; the name
#: of that folder inside.
PARTIAL, REPLACED, WHOLE = "partial", "replaced", "whole"


#: Failures of the file system that the user can mend, with the remedy.
REMEDIES = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EFBIG: "raise the file size limit (ulimit -f) or choose another folder",
    errno.EACCES: "choose a folder you may write to, or mend its permissions",
    errno.EPERM: "choose a folder you may write to, or mend its permissions",
    errno.EROFS: "choose a folder that can be written",
    errno.EEXIST: "a file is where a folder should be; choose another path, or move it",
    errno.ENOTDIR: "a file is where a folder should be; choose another path, or move it",
    errno.EISDIR: "a folder is where a file should be; name a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a link leads back to itself; mend it or choose another path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "check the disk, or choose another folder",
}


#: Bytes with which a helper of a library, such as flatc, may have too little room.
LITTLE = 100_000_000


def unwritable(path: Path, error: OSError) -> UserError:
    """What to say of a file or folder that cannot be written: which, why, and the remedy."""
    remedy = REMEDIES.get(error.errno or 0, "choose another folder")
    return UserError(f"{path}: cannot be written ({error.strerror or error}); {remedy}")


def check_room(folder: Path, count: int) -> None:
    """A ``UserError`` where the disk of ``folder`` has not ``count`` bytes left, for a library that
    does worse than raise an error when it is full.
    """
    if shutil.disk_usage(folder).free < count:
        raise unwritable(folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def nearly_full(folder: Path) -> str:
    """How little room is left for temporary files in ``folder``, and the remedy, for a program
    that failed and names no reason; empty where there is enough, so that it failed otherwise.
    """
    free = shutil.disk_usage(folder).free
    if free >= LITTLE:
        return ""
    return f"{free / 1e6:,.1f} MB are free there: free some space, or set TMPDIR to another folder"


def check_writable(path: Path, option: str = "--output", *, folder: bool = False) -> None:
    """A ``UserError``, before the work whose result it is to hold, where the file ``path`` of
    ``option`` cannot be written, or the ``folder`` filled.
    """
    place = path.absolute()
    there = next(one for one in (place, *place.parents) if os.path.lexists(one))
    try:
        if there == place and place.is_dir() != folder:
            code = errno.EEXIST if folder else errno.EISDIR
            raise OSError(code, os.strerror(code))
        if there == place and not folder:
            there = place.parent
        # permissions do not tell of a full disk, of a read-only one, or of a name too long
        with tempfile.NamedTemporaryFile(dir=there, prefix=f".{place.name}.{PARTIAL}."):
            pass
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "choose another folder")
        raise UserError(
            f"{option} {path}: {there} cannot be written ({error.strerror or error}); {remedy}"
        ) from None


def check_replaced(path: Path, mark: str, option: str = "--output") -> None:
    """As :func:`check_writable` for a folder that the result replaces as a whole: what is there is
    empty, or an earlier result, which has the file ``mark``. Anything else would be lost.
    """
    check_writable(path, option, folder=True)
    if path.is_dir() and any(path.iterdir()) and not (path / mark).is_file():
        raise UserError(
            f"{option} {path}: holds something else than an earlier result with its {mark}, and"
            " would be replaced; name a new folder"
        )


def nearest_folder(path: Path) -> Path:
    """``path`` where it is a folder, else the first above it that is one."""
    return next(one for one in (path, *path.absolute().parents) if one.is_dir())


def cache_folder() -> Path:
    """The user's cache, made if need be: ``MOBILEKD_CACHE``, else ``mobilekd`` below
    ``XDG_CACHE_HOME`` or ``~/.cache``.
    """
    own, shared = os.environ.get("MOBILEKD_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(own) if own else Path(shared or "~/.cache") / "mobilekd"
        folder = folder.expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # without a home ~ stands for nothing
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cache {own or shared or '~/.cache'}: cannot be made ({reason}); set MOBILEKD_CACHE to"
            " a folder that you may write to"
        ) from None
    return folder


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old file or the whole new one, never a
    part. What a killed process left of an earlier attempt is removed.
    """
    clear_leftovers(path)
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{PARTIAL}.")
        with os.fdopen(handle, "wb") as file:
            _hold(handle)
            file.write(data)
            file.flush()
            os.fsync(handle)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        if name is not None:
            with suppress(OSError):  # it is gone when all went well
                os.unlink(name)


def write_text(path: Path, text: str) -> None:
    """Atomic text file in UTF-8."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        near = text[max(0, error.start - 20) : error.end + 20].split("\n")[-1]
        raise UserError(
            f"{path}: cannot be written: {near!r} holds a name that is no UTF-8 text; rename that"
            " file or class"
        ) from None
    write_bytes(path, data)


#: Characters that an object of numbers, and any other object or array of scalars, may have to stand
#: on one line.
NUMBERS, WORDS = 200, 100


def json_text(document: Any) -> str:
    """JSON with a fact a line: an array of numbers, however long, and what is short and holds no
    other container stand on one line; everything else is indented by one space a level.

    Raises:
        ValueError: for NaN and infinity, because JSON has no word for them.
    """
    return _json_lines(document, "\n") + "\n"


def _json_lines(document: Any, newline: str) -> str:
    """``document`` as JSON; ``newline`` is a line break with the indentation in force."""
    if not isinstance(document, (dict, list, tuple)) or _fits_a_line(document):
        return _json(document)
    inner = newline + " "
    if isinstance(document, dict):
        parts = [
            f"{_json(key if isinstance(key, str) else _json(key))}: {_json_lines(value, inner)}"
            for key, value in document.items()
        ]
        return "{" + inner + ("," + inner).join(parts) + newline + "}"
    return "[" + inner + ("," + inner).join(_json_lines(x, inner) for x in document) + newline + "]"


def _fits_a_line(document: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> bool:
    """Whether an object or an array is better on one line than spread over several."""
    keyed = isinstance(document, dict)
    values = list(document.values() if isinstance(document, dict) else document)
    if any(isinstance(value, (dict, list, tuple)) and value for value in values):
        return not keyed and all(
            isinstance(value, (list, tuple)) and _are_numbers(value) for value in values
        )
    if _are_numbers(values):
        return not keyed or len(_json(document)) <= NUMBERS
    return len(_json(document)) <= WORDS


def _are_numbers(values: Iterable[Any]) -> bool:
    """Whether there is nothing but numbers and nulls."""
    return all(value is None or isinstance(value, (int, float)) for value in values)


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, document: Any) -> None:
    """Atomic JSON file, laid out by ``json_text``."""
    write_text(path, json_text(document))


def read_json(path: Path, what: str) -> Any:
    """The JSON value at ``path``; ``what`` names it in the message when it is missing or broken.

    What the value should look like is not asked here: ``formats.document.read_document`` does.
    """
    try:
        return strict_json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such {what}; check the path") from None
    except (ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: not a readable {what} ({reason}); make it again") from None


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(folder: Path) -> str:
    """Hex SHA-256 over a folder: every file's relative name and content, in sorted order."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{file.relative_to(folder).as_posix()}\0{sha256_file(file)}\n".encode())
    return total.hexdigest()


def sha256_json(document: Any) -> str:
    """Hex SHA-256 of a document in canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to fill; it appears at ``path`` when the block ends well and leaves nothing behind
    otherwise. What a killed process left of an earlier attempt is removed.

    With ``replace`` an existing folder is swapped out at the end; without it an existing one is the
    user's mistake.
    """
    clear_leftovers(path)
    if path.exists() and not replace:
        raise UserError(f"{path}: exists already; remove it or choose another folder")
    try:
        with working_folder(path) as work:
            yield work
            for file in work.rglob("*"):
                if file.is_file():
                    with file.open("rb") as opened:
                        os.fsync(opened.fileno())
            work.chmod(0o755)
            _move_in(work, path)
    except OSError as error:
        raise unwritable(path, error) from None


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` to work in; at the end it is removed where it still has its name.
    What a killed process left of an earlier one is removed.
    """
    clear_leftovers(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.{PARTIAL}."))
    except OSError as error:
        raise unwritable(path, error) from None
    try:
        with _held(work):
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)  # it is gone when all went well


def _move_in(work: Path, path: Path) -> None:
    """Give ``work`` the name ``path``; a folder that has the name goes, or keeps it when that
    fails.
    """
    if not path.exists():
        work.rename(path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.{REPLACED}."))
    try:
        with _held(old):
            path.rename(old / WHOLE)
            work.rename(path)
    finally:
        _put_back(old, path)


def _put_back(old: Path, path: Path) -> None:
    """Remove what was replaced, or give it its name again where nothing took its place."""
    if (old / WHOLE).exists() and not path.exists():
        (old / WHOLE).rename(path)
    shutil.rmtree(old, ignore_errors=True)


def clear_leftovers(path: Path) -> None:
    """Remove what a killed process left half written beside ``path``, and put back the folder that
    it was about to replace. What a living process writes is locked, and stays.
    """
    form = re.compile(rf"\.{re.escape(path.name)}\.({PARTIAL}|{REPLACED})\.[a-z0-9_]{{8}}")
    with suppress(OSError):  # no such folder yet, or one that others own
        for name in sorted(os.listdir(path.parent)):
            match = form.fullmatch(name)
            if match is None:
                continue
            left = path.parent / name
            with _held(left) as ours:
                if not ours:
                    continue
                if match[1] == REPLACED:
                    _put_back(left, path)
                elif left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Hold a file or folder against :func:`clear_leftovers`; False where another process holds
    it.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        yield _hold(handle)
    finally:
        os.close(handle)


def _hold(handle: int) -> bool:
    """Lock until ``handle`` is closed, by the kernel's own hand if need be."""
    try:
        import fcntl
    except ImportError:  # Windows: nothing is held, so nothing may be cleared
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
