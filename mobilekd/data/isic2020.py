"""ISIC 2020: a table ``image_name, patient_id[, lesion_id], ..., target`` and a folder of
photographs, two classes.

``data.root`` is the folder that holds both; the photographs lie in it, in ``train`` or in
``jpeg/train``. ``data.labels`` names the table where it is not called as published.
Rotemberg et al., "A patient-centric dataset", Scientific Data 2021, doi 10.1038/s41597-021-00815-z.
"""

from pathlib import Path

from mobilekd.data.csv import read_table
from mobilekd.data.dataset import Dataset, some
from mobilekd.data.photographs import root_of
from mobilekd.formats.data_tables import DataTable
from mobilekd.support.errors import UserError

LICENCE = "CC BY-NC 4.0 (Rotemberg et al. 2021)"

#: The tables of training as published, the later edition first: it has lesion ids.
TABLES = ("ISIC_2020_Training_GroundTruth_v2.csv", "ISIC_2020_Training_GroundTruth.csv")
TABLES_ON_KAGGLE = ("train.csv",)

#: What the column ``target`` says.
WORDS = {
    written: word
    for word, texts in {"benign": ("0", "0.0"), "malignant": ("1", "1.0")}.items()
    for written in texts
}

#: Where the photographs may lie, first match wins.
FOLDERS = ("ISIC_2020_Training_JPEG", "jpeg/train", "train", ".")


def load(table: DataTable, *, part: bool = False) -> Dataset:
    """The data set below ``table.root``. Photographs of one lesion stay together in a split, of one
    patient where the table has no lesions. ``part`` as for ``csv``.
    """
    root = root_of(table.root, "isic2020")
    path = Path(table.labels) if table.labels else _table(root)
    photographs = next(root / name for name in FOLDERS if (root / name).is_dir())
    return read_table(
        path,
        photographs,
        table,
        part=part,
        kind="isic2020",
        named={"image": "image_name", "label": "target"},
        words=WORDS,
        licence=LICENCE,
    )


def _table(root: Path) -> Path:
    found = [root / name for name in (*TABLES, *TABLES_ON_KAGGLE) if (root / name).is_file()]
    if not found:
        raise UserError(
            f"{root}: none of {some((*TABLES, *TABLES_ON_KAGGLE), 'table')} in it; set data.labels"
            " to the table of labels"
        )
    return found[0]
