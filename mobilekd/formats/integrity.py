"""Are the parts of a folder those that it was finished with? The document that is written last
carries their hashes, and its own.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json, sha256_file, sha256_json, write_json

#: The key under which a document carries the hash of its other keys.
SEAL = "sha256"


def file_hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each file of ``names`` that ``folder`` holds, by name."""
    return {name: sha256_file(folder / name) for name in names if (folder / name).is_file()}


def check_files(folder: Path, hashes: Mapping[str, str], remedy: str) -> None:
    """A ``UserError`` that names the first file of ``hashes`` that is missing or has another
    content.
    """
    for name, recorded in hashes.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: missing from the folder; {remedy}")
        if sha256_file(path) != recorded:
            raise UserError(
                f"{path}: changed since it was written (its SHA-256 is another); {remedy}"
            )


def write_sealed(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document with the hash of its other keys under ``sha256``."""
    write_json(path, sealed(document))


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON document with the hash of its other keys under ``sha256``."""
    return {**document, SEAL: _seal(document)}


def check_seal(path: Path, what: str, remedy: str) -> None:
    """A ``UserError`` where a document is another than ``write_sealed`` wrote; one without a hash
    was written before hashes were kept and passes.
    """
    document = read_json(path, what)
    if isinstance(document, dict) and document.get(SEAL) not in (None, _seal(document)):
        raise UserError(f"{path}: changed since it was written (its SHA-256 is another); {remedy}")


def _seal(document: Mapping[str, Any]) -> str:
    return sha256_json({key: value for key, value in document.items() if key != SEAL})
