"""ISIC 2018 task 3 and ISIC 2019: a folder of ``<image>.jpg``, a one-hot ground truth CSV,
optionally metadata.

``data.root`` is the archive's folder (``ISIC_2019_Training_Input`` below it) or the folder of
photographs itself; ``data.labels`` and ``data.metadata`` may be left out when the archive's own
names are kept. Layouts: https://challenge.isic-archive.com/data/.
"""

from pathlib import Path

from mobilekd.data import classes
from mobilekd.data.classes import COLUMNS
from mobilekd.data.dataset import Dataset, Notes, assemble, some
from mobilekd.data.metadata import no_metadata, read_metadata
from mobilekd.data.photographs import photographs_in, root_of
from mobilekd.data.spellings import bare_name, matched
from mobilekd.data.tables import in_both, read_csv
from mobilekd.formats.data_tables import DataTable
from mobilekd.support.errors import UserError

LICENCE = "CC BY-NC 4.0 (ISIC challenge archive; HAM10000, BCN20000, MSK)"

#: Photographs marked so belong to no class; their rows are left out and counted.
UNKNOWN = "UNK"

#: Columns of the 2019 test's ground truth that are no classes.
WEIGHTS = frozenset({"score_weight", "validation_weight"})


def load(table: DataTable, *, part: bool = False) -> Dataset:
    """The data set of ``table.root`` and ``table.labels``; ``UserError`` with count and first names
    for whatever is wrong.

    A photograph without a row and a row without a photograph are wrong too, unless ``part`` or
    ``table.allow_missing`` says that a part may be here: then they are left out, and their count
    and first names said.
    """
    root = root_of(table.root, "isic")
    notes = Notes()
    path = Path(table.labels) if table.labels else _ground_truth(root)
    keys, truth = _one_hot(path)
    if unknown := sorted(name for name, key in truth if key is None):
        notes.add(f"{path}: {some(unknown, 'photograph')} of class {UNKNOWN} left out")
    files = _files(path, _photographs(root, path), [name for name, _ in truth], notes)
    files = {name: entry for name, entry in files.items() if name not in set(unknown)}
    truth = [(name, key) for name, key in truth if key is not None]
    if part or table.allow_missing:
        kept = in_both(path, (name for name, _ in truth), files, notes)
        truth = [(name, key) for name, key in truth if name in kept]
        files = {name: entry for name, entry in files.items() if name in kept}
    ids = [name for name, _ in truth]
    metadata = Path(table.metadata) if table.metadata else _metadata_beside(path, root)
    lesions, columns = (
        read_metadata(metadata, ids, notes) if metadata else no_metadata(path, ids, notes)
    )
    return assemble(
        "isic",
        path,
        ids=ids,
        keys=[key for _, key in truth],
        lesions=lesions,
        classes=classes.labels(keys),
        files=files,
        metadata=columns,
        licence=LICENCE,
        notes=notes,
    )


def _one_hot(path: Path) -> tuple[tuple[str, ...], list[tuple[str, str | None]]]:
    """Class keys of the columns in the project's order, and (image, key) of each row; the key is
    None for UNK.
    """
    rows = read_csv(path, ("image",))
    if not rows:
        raise UserError(f"{path}: no rows; give the ground truth CSV of the archive")
    columns = [name for name in rows[0] if name != "image" and name not in WEIGHTS]
    if strange := [
        name for name in columns if name.upper() not in COLUMNS and name.upper() != UNKNOWN
    ]:
        raise UserError(
            f"{path}: {some(strange, 'unknown class column')}; known are {', '.join(COLUMNS)},"
            f" {UNKNOWN}"
        )
    key_of = {name: COLUMNS.get(name.upper()) for name in columns}
    if len(set(key_of.values())) < len(columns):
        raise UserError(
            f"{path}: two columns mean one class ({', '.join(columns)}); keep one of them"
        )
    truth: list[tuple[str, str | None]] = []
    wrong: list[str] = []
    for row in rows:
        hot = [name for name in columns if row[name] in ("1", "1.0")]
        cold = [name for name in columns if row[name] in ("0", "0.0")]
        if len(hot) != 1 or len(hot) + len(cold) != len(columns):
            wrong.append(row["image"])
        else:
            truth.append((bare_name(row["image"]), key_of[hot[0]]))
    if wrong:
        raise UserError(
            f"{path}: {some(wrong, 'row')} not one-hot; write 1 in exactly one class column and 0"
            " in the others"
        )
    return tuple(key for key in classes.NAMES if key in key_of.values()), truth


def _files(path: Path, folder: Path, listed: list[str], notes: Notes) -> dict[str, tuple[str, int]]:
    """Photographs by the name that the CSV at ``path`` gives them, with or without
    ``_downsampled``; by their own where it gives none.
    """
    photographs = photographs_in([folder], notes, documents=False)
    listed_name = {
        stem: name
        for name, stem in zip(listed, matched(path, listed, list(photographs)), strict=True)
        if stem is not None
    }
    return {listed_name.get(stem, stem): entry for stem, entry in photographs.items()}


def _ground_truth(root: Path) -> Path:
    found = sorted({*root.glob("*GroundTruth.csv"), *root.glob("*GroundTruth/*GroundTruth.csv")})
    if not found:
        raise UserError(
            f"{root}: no *GroundTruth.csv in it; set data.labels to the one-hot table of labels, or"
            " data.kind=folder where each class is a sub-folder"
        )
    if len(found) != 1:
        raise UserError(
            f"{root}: {some([path.name for path in found], 'file')} called *GroundTruth.csv; set"
            " data.labels to the one meant"
        )
    return found[0]


def _metadata_beside(labels: Path, root: Path) -> Path | None:
    """The file that the archive ships with ``labels``: ``..._Metadata.csv`` (2019) or
    ``..._LesionGroupings.csv`` (2018).
    """
    names = [labels.name.replace("GroundTruth", word) for word in ("Metadata", "LesionGroupings")]
    places = [
        folder / name for folder in (labels.parent, root) for name in names if name != labels.name
    ]
    return next((path for path in places if path.is_file()), None)


def _photographs(root: Path, labels: Path) -> Path:
    """The folder that belongs to ``labels`` by the archive's naming (``..._Input``), else the root
    itself, or its only ``..._Input`` where it holds no photographs.
    """
    archive = root / labels.stem.replace("GroundTruth", "Input")
    if archive.is_dir():
        return archive
    inputs = [path for path in root.glob("*_Input") if path.is_dir()]
    return inputs[0] if len(inputs) == 1 and not photographs_in([root]) else root
