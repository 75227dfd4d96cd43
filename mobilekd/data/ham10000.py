"""HAM10000 in the layout of the public download: ``HAM10000_metadata.csv`` and two folders of
photographs, or one.

Tschandl et al., "The HAM10000 dataset", Scientific Data 2018, doi 10.1038/sdata.2018.161.
"""

from pathlib import Path

from mobilekd.data import classes
from mobilekd.data.cells import confirmed, known, words_for_unknown, years
from mobilekd.data.dataset import Dataset, Notes, assemble, some
from mobilekd.data.photographs import photographs_in, root_of
from mobilekd.data.spellings import matched
from mobilekd.data.tables import in_both, read_csv
from mobilekd.formats.data_tables import DataTable
from mobilekd.support.errors import UserError

LICENCE = "CC BY-NC 4.0 (Tschandl et al. 2018)"

#: What the table is called: on Kaggle, and in the editions of Dataverse.
METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")

#: Where the photographs may lie, first match wins. The archive's later editions hold a lower-case
#: copy of both parts.
FOLDERS = (
    ("HAM10000_images_part_1", "HAM10000_images_part_2"),
    ("ham10000_images_part_1", "ham10000_images_part_2"),
    ("HAM10000_images",),
    ("images",),
    (".",),
)


def load(table: DataTable, *, part: bool = False) -> Dataset:
    """The data set below ``table.root``; ``UserError`` with count and first names for whatever is
    wrong. With ``part`` or ``table.allow_missing`` photographs without a row and rows without a
    photograph are left out, which is said.
    """
    root = root_of(table.root, "ham10000")
    path = next(
        (root / name for name in METADATA if (root / name).is_file()),
        None,
    )
    if path is None:
        raise UserError(
            f"{root}: no HAM10000_metadata.csv; set data.root to the folder that holds it"
        )
    rows = read_csv(path, ("lesion_id", "image_id", "dx"))
    notes = Notes()
    files = photographs_in(_folders(root), notes, documents=False)
    named = matched(path, [row["image_id"] for row in rows], list(files))
    rows = [
        {**row, "image_id": name or row["image_id"]} for row, name in zip(rows, named, strict=True)
    ]
    if part or table.allow_missing:
        kept = in_both(path, (row["image_id"] for row in rows), files, notes)
        rows = [row for row in rows if row["image_id"] in kept]
        files = {name: entry for name, entry in files.items() if name in kept}
    if alone := sorted(row["image_id"] for row in rows if not known(row["lesion_id"])):
        words = words_for_unknown(row["lesion_id"] for row in rows)
        notes.add(
            f"{path}: {some(alone, 'photograph')} without a known lesion_id, each counted as a"
            f" lesion of its own{words}"
        )
    return assemble(
        "ham10000",
        path,
        ids=[row["image_id"] for row in rows],
        keys=[row["dx"].lower() for row in rows],
        lesions=[row["lesion_id"] if known(row["lesion_id"]) else row["image_id"] for row in rows],
        classes=classes.labels(classes.HAM10000),
        files=files,
        metadata={
            "age": [years(row.get("age"), path) for row in rows],
            "sex": [known(row.get("sex")) for row in rows],
            "site": [known(row.get("localization")) for row in rows],
            "confirmed": [confirmed(row.get("dx_type")) for row in rows],
        },
        licence=LICENCE,
        notes=notes,
    )


def _folders(root: Path) -> list[Path]:
    for names in FOLDERS:
        if present := [root / name for name in names if (root / name).is_dir()]:
            return present
    raise AssertionError("unreachable: the root itself is the last choice")
