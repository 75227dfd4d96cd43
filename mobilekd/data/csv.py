"""Any table with a row for each photograph (``data.labels``): a column names the file, one the
class; where there are such, one names the lesion or patient, and one the part of the split.

Columns are found by their usual names (:data:`COLUMNS`), or as ``data.columns`` says. The files lie
below ``data.root``, by default below the table's folder, at any depth.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from mobilekd.data import classes
from mobilekd.data.cells import confirmed, known, words_for_unknown, years
from mobilekd.data.dataset import OWN_PHOTOGRAPHS, Dataset, Notes, Place, assemble, some
from mobilekd.data.folder import PARTS, photographs_below, refuse_alike
from mobilekd.data.metadata import COLUMNS as METADATA
from mobilekd.data.metadata import PATIENT, tell_patients
from mobilekd.data.photographs import root_of
from mobilekd.data.spellings import last_folder, matched
from mobilekd.data.tables import read_csv
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.runs import Role
from mobilekd.support.errors import UserError

#: Columns by the names that people give them, in lower case; what they mean comes first.
COLUMNS: dict[str, tuple[str, ...]] = {
    **METADATA,
    "image": (*METADATA["image"], "path", "image_path", "filepath", "file_path", "img", "photo"),
    "label": (
        *("label", "labels", "class", "class_name", "category", "dx", "diagnosis", "target"),
        "benign_malignant",
    ),
    "patient": PATIENT,
    "split": ("split", "part", "subset", "partition", "role"),
}

#: Where a table has several columns of one meaning, the first is taken, because an archive's are
#: ordered from fine to coarse; of labels nobody knows which one is meant.
AMBIGUOUS = ("label", "split")


def load(table: DataTable, *, part: bool = False) -> Dataset:
    """The photographs that ``table.labels`` lists, labelled as it says; ``UserError`` with count
    and first names for whatever is wrong.

    Left out and counted are rows without a label, photographs without a row and, with ``part`` or
    ``table.allow_missing``, rows without a photograph. With ``part`` all photographs are to be
    judged, so a column of parts does not count.
    """
    if table.labels is None:
        raise UserError(
            "data.labels: csv needs the table of the photographs; give it with --set"
            " data.labels=TABLE.csv"
        )
    path = Path(table.labels)
    return read_table(path, root_of(table.root or str(path.parent), "csv"), table, part=part)


def read_table(
    path: Path,
    root: Path,
    table: DataTable,
    *,
    part: bool = False,
    kind: str = "csv",
    named: Mapping[str, str] | None = None,
    words: Mapping[str, str] | None = None,
    licence: str = OWN_PHOTOGRAPHS,
    photographs: Callable[[Path, Notes], Mapping[str, tuple[Place, int]]] = photographs_below,
) -> Dataset:
    """The data set of the CSV at ``path`` with the ``photographs`` of ``root``; ``named`` are
    columns that the layout gives, ``words`` its labels by their class.
    """
    notes = Notes()
    rows = _rows(
        path, dict(named or {}) | {str(ours): name for ours, name in table.columns.items()}
    )
    rows = _labelled(path, rows, notes)
    if words and "label" not in table.columns:
        _refuse_unknown_labels(path, rows, words)
    files = photographs(root, notes)
    kept = _with_photographs(path, root, rows, files, notes, lacking=part or table.allow_missing)
    ids = [name for name, _ in kept]
    if extra := sorted(files.keys() - set(ids)):
        notes.add(f"{path}: {some(extra, 'photograph')} without a row left out")
    keys = [(words or {}).get(row["label"], row["label"]) for _, row in kept]
    refuse_alike(path, keys, "class")
    names = classes.in_usual_order(set(keys))
    if len(names) < 2:
        raise UserError(
            f"{path}: {some(names, 'class')} in column {rows[0]['label column']}; give at least"
            " two, or name another column with data.columns.label"
        )
    return assemble(
        kind,
        path,
        ids=ids,
        keys=keys,
        lesions=_lesions(path, ids, [row for _, row in kept], notes),
        classes=classes.labels(names),
        files={name: files[name] for name in ids},
        metadata={
            "age": [years(row.get("age"), path) for _, row in kept],
            "sex": [known(row.get("sex")) for _, row in kept],
            "site": [known(row.get("site")) for _, row in kept],
            "confirmed": [confirmed(row.get("confirmed")) for _, row in kept],
        },
        licence=licence,
        notes=notes,
        roles=None if part else _roles(path, [row for _, row in kept]),
    )


def _labelled(path: Path, rows: Sequence[dict[str, str]], notes: Notes) -> list[dict[str, str]]:
    """The rows with a label; the others are left out and counted."""
    unlabelled = [row["image"] for row in rows if known(row["label"]) is None]
    if unlabelled:
        dropped = words_for_unknown(row["label"] for row in rows)
        notes.add(f"{path}: {some(unlabelled, 'row')} without a label left out{dropped}")
    return [row for row in rows if known(row["label"]) is not None]


def _refuse_unknown_labels(
    path: Path, rows: Sequence[dict[str, str]], words: Mapping[str, str]
) -> None:
    """A published column has its own few labels; another would be one more class, unsaid."""
    own = {*words, *words.values()}
    strange = [f"{row['image']}: {row['label']}" for row in rows if row["label"] not in own]
    if strange:
        raise UserError(
            f"{path}: {some(strange, 'row')} whose {rows[0]['label column']} is none of"
            f" {', '.join(words)}; mend them, or name another column with --set"
            " data.columns.label=NAME"
        )


def _with_photographs(
    path: Path,
    root: Path,
    rows: Sequence[dict[str, str]],
    files: Collection[str],
    notes: Notes,
    *,
    lacking: bool,
) -> list[tuple[str, dict[str, str]]]:
    """The rows whose photograph is among ``files``, by its name there. ``lacking`` lets rows have
    none: they are left out and counted.
    """
    found = matched(path, [row["image"] for row in rows], list(files))
    lost = [row["image"] for row, name in zip(rows, found, strict=True) if name is None]
    if lost and len(lost) == len(rows):
        raise UserError(
            f"{path}: none of its {some(lost, 'row')} names one of the"
            f" {some(sorted(files), 'photograph')} below {root}; give their folder as data.root"
        )
    if lost and not lacking:
        raise UserError(
            f"{path}: {some(lost, 'row')} without a photograph below {root}; add the files, or"
            " leave these rows out with --allow-missing (data.allow_missing = true)"
        )
    if lost:
        notes.add(f"{path}: {some(lost, 'row')} without a photograph left out")
    kept = [(name, row) for name, row in zip(found, rows, strict=True) if name is not None]
    moved = [
        row["image"]
        for name, row in kept
        if last_folder(row["image"]) not in ("", last_folder(name))
    ]
    if moved:
        notes.add(
            f"{path}: {some(moved, 'row')} matched by the file's name alone, since the folders are"
            " others"
        )
    return kept


def _rows(path: Path, named: Mapping[str, str]) -> list[dict[str, str]]:
    """The table's rows with the keys of :data:`COLUMNS`, as far as there are such columns, and
    the name of the label's column.
    """
    column: dict[str, str | None] = {}

    def wanted(header: list[str]) -> set[str]:
        column.update((ours, _column(path, header, ours, named)) for ours in COLUMNS)
        if named.get("lesion_id") == "" or column["patient"] == column["lesion_id"]:
            column["patient"] = None  # it is not wanted, or is the one that is called lesion_id
        for ours, what in (("image", "names the photographs"), ("label", "holds their classes")):
            if column[ours] is None:
                raise UserError(
                    f"{path}: no column {what} ({', '.join(COLUMNS[ours][:4])}, ...); it has"
                    f" {', '.join(filter(None, header)) or 'no header'}; name it with --set"
                    f" data.columns.{ours}=NAME"
                )
        return {theirs for theirs in column.values() if theirs is not None}

    table = read_csv(path, (), wanted)
    if not table:
        raise UserError(f"{path}: no rows; give a table with a row for each photograph")
    return [
        {
            **{ours: row[theirs] for ours, theirs in column.items() if theirs is not None},
            "label column": str(column["label"]),
        }
        for row in table
    ]


def _column(path: Path, header: Sequence[str], ours: str, named: Mapping[str, str]) -> str | None:
    """The column of ``header`` that means ``ours``: the one that is named, else one of a usual
    name.
    """
    by_name = {classes.folded(name): name for name in reversed(header)}

    def taken(name: str) -> str:
        alike = [each for each in header if classes.folded(each) == name]
        if len(alike) > 1:
            raise UserError(
                f"{path}: {some(alike, 'column')} whose names differ in case alone; keep one of"
                " them, or write the others otherwise"
            )
        return by_name[name]

    if ours in named:
        if not named[ours] or named[ours] in header:
            return named[ours] or None
        if classes.folded(named[ours]) not in by_name:
            raise UserError(
                f"{path}: data.columns.{ours}: no column {named[ours]!r}; it has"
                f" {', '.join(filter(None, header))}; name the one meant with --set"
                f" data.columns.{ours}=NAME"
            )
        return taken(classes.folded(named[ours]))
    usual = [by_name[name] for name in COLUMNS[ours] if name in by_name]
    if len(usual) > 1 and ours in AMBIGUOUS:
        raise UserError(
            f"{path}: {some(usual, 'column')} that may hold the {ours}; name the one meant with"
            f" --set data.columns.{ours}={usual[0]}"
        )
    return taken(classes.folded(usual[0])) if usual else None


def _lesions(
    path: Path, ids: Sequence[str], rows: Sequence[Mapping[str, str]], notes: Notes
) -> list[str]:
    """The lesion of each photograph; its patient where that is not known, itself where neither
    is.
    """
    grouped = [column for column in ("lesion_id", "patient") if rows and column in rows[0]]
    if not grouped:
        notes.add(
            f"{path}: no column of lesions or patients, so every photograph counts as a lesion of"
            " its own; data.columns.lesion_id names one"
        )
        tell_patients(path, ids, notes, "give the table a column lesion_id")
        return list(ids)
    lesions: list[str] = []
    by_patient: dict[str, Mapping[str, str]] = {}  # rows by photograph
    alone: dict[str, Mapping[str, str]] = {}
    for name, row in zip(ids, rows, strict=True):
        column = next((column for column in grouped if known(row[column])), None)
        if column is None:
            alone[name] = row
            lesions.append(name)
        elif column == "patient" and "lesion_id" in grouped:
            by_patient[name] = row
            lesions.append(f"patient {row[column]}")  # its number may be a lesion's, too
        else:
            lesions.append(row[column])
    if by_patient:
        words = words_for_unknown(row["lesion_id"] for row in by_patient.values())
        notes.add(
            f"{path}: {some(list(by_patient), 'photograph')} without a known lesion, those of one"
            f" patient counted as one lesion{words}"
        )
    if alone:
        words = words_for_unknown(row[column] for row in alone.values() for column in grouped)
        notes.add(
            f"{path}: {some(list(alone), 'photograph')} without a known lesion or patient, each"
            f" counted as a lesion of its own{words}"
        )
    return lesions


def _roles(path: Path, rows: Sequence[Mapping[str, str]]) -> list[Role] | None:
    """The part of the split of each photograph, where the table has a column of them."""
    if not rows or "split" not in rows[0]:
        return None
    written = [classes.folded(row["split"]) for row in rows]
    if strange := sorted({word for word in written if word not in PARTS}):
        raise UserError(
            f"{path}: {some([word or 'an empty cell' for word in strange], 'part')} of a split that"
            " mean nothing here; write train,"
            " validation or test, or do without (--set data.columns.split='')"
        )
    roles = [PARTS[word] for word in written]
    if "train" not in roles or len(set(roles)) < 2:
        raise UserError(
            f"{path}: its split has {some(sorted(set(roles)), 'part')}; give train and test, or"
            " train, validation and test, or do without (--set data.columns.split='')"
        )
    return roles
