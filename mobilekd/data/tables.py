"""Reading what data sets ship: CSV files with required columns, folders of photographs, optional
metadata cells.
"""

import csv
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from mobilekd.data.classes import folded, normal
from mobilekd.data.dataset import Notes, some
from mobilekd.data.patients import patients
from mobilekd.formats.preprocess import HEIF, readable_suffixes
from mobilekd.support.errors import UserError

#: The ISIC archive of 2019 appends this to the names of photographs that it shrank.
DOWNSAMPLED = "_downsampled"

#: Cells that mean "not known", beside those without any letter or digit.
EMPTY = frozenset(
    {"", "unknown", "not known", "nan", "na", "n/a", "n.a.", "#n/a", "<na>", "none", "null", "nil"}
    | {"missing", "undefined", "not available", "not specified", "unspecified", "-1", "-1.0"}
)

#: Columns of a metadata CSV by the names that people and archives give them; the first is ours.
COLUMNS = {
    "image": ("image", "image_id", "image_name", "isic_id", "filename", "file_name", "file"),
    "lesion_id": ("lesion_id", "lesion", "lesionid"),
    "age": ("age", "age_approx"),
    "sex": ("sex", "gender"),
    "site": ("site", "anatom_site_general", "anatom_site_general_challenge", "localization"),
    "confirmed": ("confirmed", "dx_type", "diagnosis_confirm_type"),
}

#: Columns that say whom a photograph shows.
PATIENT = ("patient_id", "patient", "group")

#: What is known of a photograph beside its class and lesion.
METADATA_COLUMNS = ("age", "sex", "site", "confirmed")

#: How a diagnosis was confirmed, as HAM10000 and the ISIC archive write it, in one word each.
CONFIRMED = {
    "histo": "histology",
    "histopathology": "histology",
    "follow_up": "follow-up",
    "serial imaging showing no change": "follow-up",
    "single image expert consensus": "consensus",
    "confocal": "confocal microscopy",
    "confocal microscopy with consensus dermoscopy": "confocal microscopy",
}


def root_of(root: str | None, kind: str) -> Path:
    """The data set's folder; a missing one is the user's mistake."""
    if root is None:
        raise UserError(
            f"data.root: {kind} needs the folder of the data set; give it with --set"
            " data.root=FOLDER"
        )
    folder = Path(root)
    if not folder.is_dir():
        what = "a file, not a folder" if folder.is_file() else "no such folder"
        raise UserError(
            f"{folder}: {what}; give the folder of the data set as its root (data.root)"
        )
    return folder


def read_csv(
    path: Path,
    required: Iterable[str],
    only: Callable[[list[str]], Collection[str]] | None = None,
) -> list[dict[str, str]]:
    """Rows of a CSV as dictionaries, cells stripped; a missing column or a row of another length is
    a ``UserError``. ``only`` says by the header which columns are kept, by default all: an archive
    has 400,000 rows of 55.

    Cells are parted by commas, semicolons, as spreadsheets of many countries write, or tabs:
    whichever the header has most of outside quotation marks, of equally many tabs, then
    semicolons. A column of ``required`` may be written in other case.
    """
    required = tuple(required)
    table: list[dict[str, str]] = []
    ragged: list[str] = []
    same: dict[str, str] = {}  # a cell that repeats is one text in memory
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            plain = re.sub(r'"[^"]*"', "", first)
            comma = max("\t;,", key=plain.count) if any(map(plain.count, "\t;")) else ","
            reader = csv.reader(file, strict=True, delimiter=comma)
            header = _in_case_of([name.strip() for name in next(reader, [])], required)
            _check_header(path, header, required)
            chosen = header if only is None else only(header)
            kept = [(n, name) for n, name in enumerate(header) if name in chosen]
            for row in reader:
                if row and len(row) != len(header):
                    ragged.append(str(reader.line_num))
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


def photographs_in(
    folders: Iterable[Path], notes: Notes | None = None, *, documents: bool = True
) -> dict[str, tuple[Path, int]]:
    """Photographs by id (the file's name without suffix, in Unicode's NFC) -> (path, bytes).

    An id found twice, a link that leads nowhere and a name that is not UTF-8 are ``UserError``s.
    Files that cannot be read as photographs are left out, which ``notes`` says; with
    ``documents`` False not of the tables and texts that an archive ships beside its photographs.
    Hidden files never count.
    """
    files: dict[str, tuple[Path, int]] = {}
    others: list[str] = []
    readable = readable_suffixes()
    for folder in folders:
        twice: list[str] = []
        lost: list[str] = []
        nameless: list[str] = []
        for entry in _visible(folder):
            path = Path(entry.path)
            suffix = path.suffix.lower()
            if entry.is_symlink() and not path.exists():  # False for a loop of links, too
                lost.append(os.fsencode(entry.name).decode(errors="replace"))
            elif suffix not in readable:
                if not entry.is_dir() and (documents or not _is_document(path)):
                    others.append(os.fsencode(entry.name).decode(errors="replace"))
            elif not entry.is_file():
                if documents or not entry.is_dir():
                    others.append(os.fsencode(entry.name).decode(errors="replace"))
            elif not _is_text(entry.path):
                nameless.append(os.fsencode(entry.name).decode(errors="replace"))
            else:
                name = normal(path.stem)
                if name in files:
                    twice.append(name)
                files[name] = path, entry.stat().st_size
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
        if others and notes is not None:
            notes.add(_left_out(folder, sorted(others)))
        others.clear()
    return files


#: What cameras keep beside the photographs that people work with.
RAW = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"})

#: Files that archives ship beside their photographs.
DOCUMENTS = frozenset(
    {".csv", ".db", ".htm", ".html", ".ini", ".json", ".md", ".pdf", ".rtf", ".tab", ".tsv"}
    | {".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip"}
)

#: What archives call such files where they have no suffix.
TITLES = ("attribution", "license", "licence", "readme", "makefile")


def _is_document(path: Path) -> bool:
    name = path.name.lower()
    return path.suffix.lower() in DOCUMENTS or name.endswith("metadata") or name in TITLES


def _left_out(folder: Path, names: list[str]) -> str:
    heic = any(Path(name).suffix.lower() in HEIF for name in names)
    remedy = "; pip install 'mobilekd[heic]' reads HEIC" if heic else ""
    return f"{folder}: {some(names, 'file')} left out, not readable as photographs{remedy}"


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _is_text(name: str) -> bool:
    """Whether a file system's name is UTF-8, as results and hashes must be; other bytes come as
    lone surrogates.
    """
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)


def known(cell: str | None) -> str | None:
    """A metadata cell in lower case, None where it says that nothing is known."""
    text = (cell or "").strip().lower()
    return None if text in EMPTY or not any(map(str.isalnum, text)) else text


def words_for_unknown(cells: Iterable[str]) -> str:
    """The words among ``cells`` that were taken for "not known", with their count and how to keep
    one, as the end of a sentence; empty where such cells are blank.
    """
    counts = Counter(cell.strip() for cell in cells if cell.strip() and known(cell) is None)
    if not counts:
        return ""
    shown = ", ".join(f"{word!r} in {count}" for word, count in counts.most_common())
    return (
        f' (read as "not known": {shown}; where such a word is a name, write it otherwise in the'
        " table)"
    )


def confirmed(cell: str | None) -> str | None:
    """How a diagnosis was confirmed, None where the cell does not say it."""
    text = known(cell)
    return None if text is None else CONFIRMED.get(text, text)


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


def read_metadata(
    path: Path, ids: Sequence[str], notes: Notes
) -> tuple[list[str], dict[str, list[Any]]]:
    """Lesions and metadata columns in the order of ``ids`` from a CSV ``image[, lesion_id, age,
    sex, site]``.

    The other names of ``COLUMNS`` are read too. ``image`` may be written with or without suffix
    and folders, with either slash, in any case. A photograph without a row, or whose
    ``lesion_id`` is empty or says that it is not known, is its own lesion, which ``notes`` says.
    ``UserError`` where no row names a photograph, where one names several, or where two rows give
    one photograph different lesions. Rows of other photographs are left out and counted, because
    archives ship one file for all.
    """
    table = _in_our_words(path, read_csv(path, ()))
    rows, unused = _joined(path, table, ids, notes)
    grouped = bool(table) and "lesion_id" in table[0]
    lesions = [
        row["lesion_id"] if known(row.get("lesion_id")) else name
        for name, row in zip(ids, rows, strict=True)
    ]
    without = sorted(name for name, row in zip(ids, rows, strict=True) if not row)
    unknown = sorted(
        name
        for name, row in zip(ids, rows, strict=True)
        if row and grouped and not known(row["lesion_id"])
    )
    if unused:
        notes.add(f"{path}: {some(unused, 'row')} of photographs that are not here left out")
    if not grouped:
        notes.add(f"{path}: no column lesion_id, so every photograph counts as a lesion of its own")
        tell_patients(path, ids, notes)
    if without:
        notes.add(
            f"{path}: {some(without, 'photograph')} without a row, each counted as a lesion of its"
            " own"
        )
    if unknown:
        words = words_for_unknown(row["lesion_id"] for row in rows if row)
        notes.add(
            f"{path}: {some(unknown, 'photograph')} without a known lesion_id, each counted as a"
            f" lesion of its own{words}"
        )
    patient = next((name for name in table[0] if folded(name) in PATIENT), None) if table else None
    if patient and (unknown or not grouped):
        notes.add(
            f"{path}: its column {patient} is not read here; copy it into lesion_id where the"
            " lesion is not known, and a patient's photographs stay in one part of the split"
        )
    return lesions, {
        "age": [years(row.get("age"), path) for row in rows],
        "sex": [known(row.get("sex")) for row in rows],
        "site": [known(row.get("site")) for row in rows],
        "confirmed": [confirmed(row.get("confirmed")) for row in rows],
    }


def _in_our_words(path: Path, table: list[dict[str, str]]) -> list[dict[str, str]]:
    """``table`` with the names of ``COLUMNS``, of which it must have ``image``."""
    if not table:
        return []
    header = {folded(name): name for name in reversed(table[0])}
    given = {
        ours: header[name]
        for ours, names in COLUMNS.items()
        for name in reversed(names)
        if name in header
    }
    if "image" not in given:
        raise UserError(
            f"{path}: 1 column (image) missing; it has {', '.join(table[0])}; call the one that"
            " names the photographs image"
        )
    return [{**row, **{ours: row[theirs] for ours, theirs in given.items()}} for row in table]


def matched(where: Path | str, written: Sequence[str], ids: Sequence[str]) -> list[str | None]:
    """The one of ``ids`` that each name of a table means, by the first of ``SPELLINGS`` that says
    so; None where it means none, ``UserError`` where it could mean several.

    ``a/1.jpg`` does not mean ``b/1`` where another row names ``b/1`` with its folder.
    """
    found: dict[str, list[str]] = {}
    for spell in SPELLINGS:
        left = {name for name in written if name not in found}
        if not left:
            break
        place: dict[str, list[str]] = defaultdict(list)
        for name in ids:
            place[spell(name, False)].append(name)
        taken = {name for names in found.values() for name in names}
        alone = spell in (_base, _loose)
        elsewhere = {name for name in left if alone and last_folder(name)}
        found |= {
            name: place[key]
            for name in left
            if (key := spell(name, True)) in place
            and not (name in elsewhere and taken.issuperset(place[key]))
        }
    if unclear := [name for name in written if len(found.get(name, ())) > 1]:
        raise UserError(
            f"{where}: {some(unclear, 'image')} could be more than one photograph; write each as it"
            f" lies in its folder, for example {ids[0]}"
        )
    return [found[name][0] if name in found else None for name in written]


def last_folder(written: str) -> str:
    """The folder in which a photograph lies by a table or an id, in lower case; empty for none."""
    if "/" not in written and "\\" not in written:
        return ""
    return _in_folder(written, True).rpartition("/")[0]


def bare_name(written: str) -> str:
    """A photograph's name in a table, without folders and suffix."""
    name = written.replace("\\", "/").rpartition("/")[2]
    stem, _, suffix = name.rpartition(".")
    return stem if stem and _is_photograph_suffix(suffix.lower()) else name


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


def _joined(
    path: Path, table: list[dict[str, str]], ids: Sequence[str], notes: Notes
) -> tuple[list[dict[str, str]], list[str]]:
    """The row of each of ``ids``, empty where there is none, and the rows that name none."""
    row_of: dict[str, dict[str, str]] = {}
    unused: list[str] = []
    clashing: set[str] = set()
    other: set[str] = set()
    for row, name in zip(table, matched(path, [row["image"] for row in table], ids), strict=True):
        if name is None:
            unused.append(row["image"])
            continue
        first = row_of.setdefault(name, row)
        if _lesion(first) != _lesion(row):
            clashing.add(name)
        if any(known(first.get(key)) != known(row.get(key)) for key in ("age", "sex", "site")):
            other.add(name)
    if clashing:
        raise UserError(
            f"{path}: {some(sorted(clashing), 'photograph')} in several rows with different"
            " lesion_id; keep one row of each"
        )
    if other:
        notes.add(
            f"{path}: {some(sorted(other), 'photograph')} in several rows with different age, sex"
            " or site; the first row of each counts"
        )
    if not row_of:
        raise UserError(
            f"{path}: none of its {some(unused, 'row')} names one of the"
            f" {some(list(ids), 'photograph')}; write image as the photographs are called"
        )
    return [row_of.get(name, {}) for name in ids], unused


def _lesion(row: dict[str, str]) -> str | None:
    lesion = row.get("lesion_id")
    return lesion if known(lesion) else None


def _as_written(name: str, _: bool) -> str:
    return name


def _path(name: str, in_table: bool) -> str:
    """The whole id in lower case; of a table's path, its suffix removed."""
    parts = [part for part in folded(name).replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join([*parts[:-1], _bare(parts[-1], in_table)]) if parts else ""


def _in_folder(name: str, in_table: bool) -> str:
    """The last folder and the name."""
    return "/".join(_path(name, in_table).split("/")[-2:])


def _base(name: str, in_table: bool) -> str:
    """The name alone."""
    return _path(name, in_table).rpartition("/")[2]


def _loose(name: str, in_table: bool) -> str:
    """The name alone, whichever of space, hyphen and underscore separate its parts."""
    return re.sub(r"[\s_-]+", "_", _base(name, in_table).removesuffix(DOWNSAMPLED))


def _bare(name: str, in_table: bool) -> str:
    stem, _, suffix = name.rpartition(".")
    return stem if in_table and stem and _is_photograph_suffix(suffix) else name


def _is_photograph_suffix(suffix: str) -> bool:
    """Whether photographs end so; raw ones, too, of which tables may speak."""
    return f".{suffix}" in readable_suffixes() or f".{suffix}" in HEIF | RAW


#: How a table may write a photograph's name, from the strictest on: the first that matches counts.
SPELLINGS: tuple[Callable[[str, bool], str], ...] = (
    _as_written,
    _path,
    _in_folder,
    _base,
    _loose,
)


def no_metadata(
    where: Path, ids: Sequence[str], notes: Notes
) -> tuple[list[str], dict[str, list[Any]]]:
    """What :func:`read_metadata` returns when there is no file; says that a split by lesion cannot
    group then.
    """
    notes.add(
        f"{where}: no lesion ids, so every photograph counts as a lesion of its own; data.metadata"
        " takes a CSV image,lesion_id"
    )
    tell_patients(where, ids, notes)
    return list(ids), {name: [None] * len(ids) for name in METADATA_COLUMNS}


def tell_patients(
    where: Path,
    ids: Sequence[str],
    notes: Notes,
    remedy: str = "give a CSV image,lesion_id as data.metadata",
) -> None:
    """Say where names of photographs look as if they began with a patient's or lesion's number."""
    groups = patients(ids)
    if not groups:
        return
    count = sum(map(len, groups.values()))
    shown = some([f"{name}: {len(members)}" for name, members in groups.items()], "number")
    notes.add(
        f"{where}: {count} photographs are called as if each patient or lesion had a number, and"
        f" they share {shown}; photographs of one lesion in training and in test make figures too"
        f" good, so if that is what the names say, {remedy}"
    )
