"""CSV files with required columns, as data sets ship them, and their match with a folder."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from mobilekd.data.classes import folded, normal
from mobilekd.data.dataset import Notes, some
from mobilekd.support.errors import UserError

#: How files begin that are no CSV, and what to call them.
OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a workbook (XLSX) or a zip archive; save its table as CSV"),
    (b"\xd0\xcf\x11\xe0", "a workbook (XLS); save its table as CSV"),
    (b"PAR1", "a Parquet file; write it as CSV"),
    (b"\x89HDF", "an HDF5 file; write its table as CSV"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"version https://git-lfs", "a git-lfs pointer, not the file itself; run git lfs pull"),
    (b"<!doctype", "a web page, so the download got an answer and not the file; fetch it again"),
    (b"<html", "a web page, so the download got an answer and not the file; fetch it again"),
    (b"{", "JSON; write it as CSV"),
    (b"[", "JSON; write it as CSV"),
)


def read_csv(
    path: Path,
    required: Iterable[str],
    only: Callable[[list[str]], Collection[str]] | None = None,
) -> list[dict[str, str]]:
    """Rows of a CSV as dictionaries, cells stripped; a missing column or a row of another length is
    a ``UserError``. ``only`` says by the header which columns are kept, by default all: an archive
    has 400,000 rows of 55.

    Cells are parted by commas, semicolons, as spreadsheets of many countries write, tabs or
    upright strokes: whichever the header has most of outside quotation marks, of equally many
    tabs, then semicolons; or by what a first line such as ``sep=;``, Excel's, says. UTF-16 is read
    where the file begins with its mark, as Excel's "Unicode text" does. A column of ``required``
    may be written in other case.
    """
    required = tuple(required)
    table: list[dict[str, str]] = []
    ragged: list[str] = []
    same: dict[str, str] = {}  # a cell that repeats is one text in memory
    _refuse_another(path)
    try:
        with path.open(newline="", encoding=_encoding(path)) as file:
            first = file.readline()
            stated = re.fullmatch(r'"?sep=(.)"?[\r\n]*', first, re.IGNORECASE)
            if stated is None:
                file.seek(0)
            plain = re.sub(r'"[^"]*"', "", first)
            comma = max("\t;,|", key=plain.count) if any(map(plain.count, "\t;|")) else ","
            comma = comma if stated is None else stated[1]
            reader = csv.reader(file, strict=True, delimiter=comma)
            header = _in_case_of([name.strip() for name in next(reader, [])], required)
            _check_header(path, header, required)
            chosen = header if only is None else only(header)
            kept = [(n, name) for n, name in enumerate(header) if name in chosen]
            for row in reader:
                if row and len(row) != len(header):
                    ragged.append(str(reader.line_num + (stated is not None)))
                elif row:
                    cells = ((name, normal(row[n].strip())) for n, name in kept)
                    table.append({name: same.setdefault(cell, cell) for name, cell in cells})
    except FileNotFoundError:
        raise UserError(f"{path}: no such CSV file; check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path}: not a readable CSV file ({error}); export it again as UTF-8"
        ) from None
    if ragged:
        raise UserError(
            f"{path}: {some(ragged, 'line')} with another number of cells than the header's"
            f" {len(header)}; mend them"
        )
    return table


def _encoding(path: Path) -> str:
    """UTF-8, or UTF-16 where its mark says so."""
    with path.open("rb") as file:
        start = file.read(2)
    if b"\0" in start:
        raise UserError(
            f"{path}: not a readable CSV file (as UTF-16 without its mark begins); export it again"
            " as UTF-8"
        )
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _refuse_another(path: Path) -> None:
    """A ``UserError`` that names what a file is which begins as no CSV does."""
    if path.is_dir():
        raise UserError(f"{path}: a folder; name the table in it")
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError:
        return  # reading tells
    for beginning, name in OTHERS:
        if (start.lower() if beginning.startswith(b"<") else start).startswith(beginning):
            raise UserError(f"{path}: is {name}")


def _check_header(path: Path, header: list[str], required: Sequence[str]) -> None:
    if twice := sorted(name for name, times in Counter(header).items() if times > 1):
        raise UserError(
            f"{path}: {some(twice, 'column')} more than once in the header; keep one of each"
        )
    if missing := [name for name in required if name not in header]:
        raise UserError(
            f"{path}: {some(missing, 'column')} missing; it has {', '.join(header) or 'no header'}"
        )


def _in_case_of(header: list[str], required: Iterable[str]) -> list[str]:
    """``header`` with the columns of ``required`` written as there."""
    wanted = {folded(name): name for name in required if name not in header}
    return [wanted.get(folded(name), name) for name in header]


def in_both(path: Path, listed: Iterable[str], files: Iterable[str], notes: Notes) -> set[str]:
    """Photographs that a table lists and a folder holds; whatever only one of them has is left
    out, which ``notes`` says. ``UserError`` where that is everything.
    """
    rows, here = set(listed), set(files)
    if rows and here and not rows & here:
        raise UserError(
            f"{path}: none of its {some(sorted(rows), 'row')} names one of the"
            f" {some(sorted(here), 'photograph')}; give the table of these photographs"
        )
    if lost := sorted(rows - here):
        notes.add(f"{path}: {some(lost, 'label')} without a photograph left out")
    if extra := sorted(here - rows):
        notes.add(f"{path}: {some(extra, 'photograph')} without a row left out")
    return rows & here
