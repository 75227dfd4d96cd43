"""A metadata CSV: lesions, age, sex, site and confirmation of photographs, joined by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mobilekd.data.cells import confirmed, known, words_for_unknown, years
from mobilekd.data.classes import folded
from mobilekd.data.dataset import Notes, some
from mobilekd.data.patients import patients
from mobilekd.data.spellings import matched
from mobilekd.data.tables import read_csv
from mobilekd.support.errors import UserError

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
