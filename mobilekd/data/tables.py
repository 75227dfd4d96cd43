"""Reading what data sets ship: CSV files with required columns, folders of photographs, optional
metadata cells.
"""

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mobilekd.data.dataset import SUFFIXES, some
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say

#: Cells that mean "not known".
EMPTY = frozenset({"", "unknown", "nan", "na", "n/a", "none", "null"})


def root_of(root: str | None, kind: str) -> Path:
    """The data set's folder; a missing one is the user's mistake."""
    if root is None:
        raise UserError(f"data.root: {kind} needs the folder of the data set; set data.root")
    folder = Path(root)
    if not folder.is_dir():
        what = "a file, not a folder" if folder.is_file() else "no such folder"
        raise UserError(
            f"{folder}: {what}; set data.root, or --root, to the folder of the data set"
        )
    return folder


def read_csv(path: Path, required: Iterable[str]) -> list[dict[str, str]]:
    """Rows of a CSV as dictionaries, cells stripped; a missing column or a row of another length is
    a ``UserError``.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            table = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise UserError(f"{path}: no such CSV file; check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path}: not a readable CSV file ({error}); export it again as UTF-8"
        ) from None
    if twice := sorted(name for name, times in Counter(header).items() if times > 1):
        raise UserError(
            f"{path}: {some(twice, 'column')} more than once in the header; keep one of each"
        )
    if missing := [name for name in required if name not in header]:
        raise UserError(
            f"{path}: {some(missing, 'column')} missing; it has {', '.join(header) or 'no header'}"
        )
    if ragged := [str(line) for line, row in table if len(row) != len(header)]:
        raise UserError(
            f"{path}: {some(ragged, 'line')} with another number of cells than the header's"
            f" {len(header)}; mend them"
        )
    return [dict(zip(header, (cell.strip() for cell in row), strict=True)) for _, row in table]


def photographs_in(folders: Iterable[Path]) -> dict[str, tuple[Path, int]]:
    """Photographs by id (the file's name without suffix) -> (path, bytes).

    An id found twice, a link that leads nowhere and a name that is not UTF-8 are ``UserError``s.
    """
    found: dict[str, tuple[Path, int]] = {}
    for folder in folders:
        twice: list[str] = []
        lost: list[str] = []
        nameless: list[str] = []
        for entry in _named_as_photographs(folder):
            path = Path(entry.path)
            if entry.is_symlink() and not path.exists():  # which is False for a loop of links, too
                lost.append(entry.name)
            elif not _is_text(entry.path):
                nameless.append(os.fsencode(entry.name).decode(errors="replace"))
            elif entry.is_file():
                if path.stem in found:
                    twice.append(path.stem)
                found[path.stem] = path, entry.stat().st_size
        if lost:
            raise UserError(
                f"{folder}: {some(sorted(lost), 'link')} to no file; mend or remove them"
            )
        if nameless:
            raise UserError(f"{folder}: {some(sorted(nameless), 'name')} not in UTF-8; rename them")
        if twice:
            raise UserError(
                f"{folder}: {some(sorted(twice), 'photograph')} present more than once; keep one"
                " file for each id"
            )
    return found


def _named_as_photographs(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [
            entry
            for entry in entries
            if Path(entry.name).suffix.lower() in SUFFIXES and not entry.name.startswith(".")
        ]


def _is_text(name: str) -> bool:
    """Whether a file system's name is UTF-8, as results and hashes must be; other bytes come as
    lone surrogates.
    """
    return not any("\ud800" <= character <= "\udfff" for character in name)


def known(cell: str | None) -> str | None:
    """A metadata cell in lower case, None where it says that nothing is known."""
    text = (cell or "").strip().lower()
    return None if text in EMPTY else text


def years(cell: str | None, where: Path) -> float | None:
    """An age cell; None where not known; ``UserError`` where it is no age."""
    text = known(cell)
    if text is None:
        return None
    try:
        age = float(text)
    except ValueError:
        age = math.nan
    if not 0 <= age <= 130:
        raise UserError(f"{where}: {cell} is no age in years; mend it or leave the cell empty")
    return age


def read_metadata(path: Path, ids: Sequence[str]) -> tuple[list[str], dict[str, list[Any]]]:
    """Lesions and metadata columns in the order of ``ids`` from a CSV ``image, lesion_id[, age,
    sex, site]``.

    ISIC's names (``age_approx``, ``anatom_site_general``) are read too. A photograph without a row,
    or with an empty ``lesion_id``, is its own lesion; rows of other photographs are ignored,
    because archives ship one file for all.
    """
    rows = {row["image"]: row for row in read_csv(path, ("image", "lesion_id"))}
    found = [rows.get(name, {}) for name in ids]
    lesions = [
        row["lesion_id"] if known(row.get("lesion_id")) else name
        for name, row in zip(ids, found, strict=True)
    ]
    return lesions, {
        "age": [years(row.get("age", row.get("age_approx")), path) for row in found],
        "sex": [known(row.get("sex")) for row in found],
        "site": [known(row.get("site", row.get("anatom_site_general"))) for row in found],
    }


def no_metadata(where: Path, ids: Sequence[str]) -> tuple[list[str], dict[str, list[Any]]]:
    """What :func:`read_metadata` returns when there is no file; says that a split by lesion cannot
    group then.
    """
    say(
        f"{where}: no lesion ids, so every photograph counts as a lesion of its own; data.metadata"
        " takes a CSV image,lesion_id"
    )
    return list(ids), {name: [None] * len(ids) for name in ("age", "sex", "site")}
