"""Files that are whole or absent: atomic writes, folders that appear under their name only when
finished, hashes.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mobilekd.support.errors import UserError


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old file or the whole new one, never a
    part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(name)
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another"
            " folder"
        ) from None
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def write_text(path: Path, text: str) -> None:
    """Atomic text file in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, document: Any) -> None:
    """Atomic JSON file; NaN and infinity are refused because JSON has no word for them."""
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, what: str) -> Any:
    """The document at ``path``; ``what`` names it in the message when it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such {what}; check the path") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a readable {what} ({error}); make it again") from None


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
    otherwise.

    With ``replace`` an existing folder is swapped out at the end; without it an existing one is the
    user's mistake.
    """
    if path.exists() and not replace:
        raise UserError(f"{path}: exists already; remove it or choose another --output")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be made ({error.strerror}); choose a folder you may write to"
        ) from None
    try:
        yield work
        for file in work.rglob("*"):
            if file.is_file():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
        work.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
            path.rename(old / "old")
            work.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            work.rename(path)
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); free some space or choose"
            " another folder"
        ) from None
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
