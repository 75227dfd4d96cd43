"""ISIC 2024 (SLICE-3D) as on Kaggle: ``train-image.hdf5``, which holds the photographs, beside
``train-metadata.csv`` with ``isic_id, target, patient_id`` and much else; two classes.

``data.root`` is the folder that holds both. Where the HDF5 file is absent, the photographs are
those of ``train-image/image``. ``data.labels`` names the table where it is not called as published.
Kurtansky et al., "The SLICE-3D dataset", Scientific Data 2024, doi 10.1038/s41597-024-03743-w.
"""

from collections.abc import Mapping
from pathlib import Path

from mobilekd.data.csv import read_table
from mobilekd.data.dataset import Dataset, Notes, Place, some
from mobilekd.data.folder import photographs_below
from mobilekd.data.isic2020 import WORDS
from mobilekd.data.packed import photographs_packed
from mobilekd.data.photographs import root_of
from mobilekd.formats.data_tables import DataTable
from mobilekd.support.errors import UserError

LICENCE = "CC BY-NC 4.0 (Kurtansky et al. 2024)"

#: As published.
PHOTOGRAPHS, TABLE = "train-image.hdf5", "train-metadata.csv"
FOLDER = "train-image/image"


def load(table: DataTable, *, part: bool = False) -> Dataset:
    """The data set below ``table.root``. All photographs of a patient stay together in a split:
    the table knows the lesion of few. ``part`` as for ``csv``.
    """
    root = root_of(table.root, "isic2024")
    path = Path(table.labels) if table.labels else root / TABLE
    if not path.is_file():
        raise UserError(f"{path}: no such table; set data.labels to the table of labels")
    return read_table(
        path,
        root,
        table,
        part=part,
        kind="isic2024",
        named={"image": "isic_id", "label": "target", "lesion_id": "patient_id"},
        words=WORDS,
        licence=LICENCE,
        photographs=_photographs,
    )


def _photographs(root: Path, notes: Notes) -> Mapping[str, tuple[Place, int]]:
    """Those of the HDF5 file, else those of the folder."""
    file = root / PHOTOGRAPHS
    if not file.is_file() and (root / FOLDER).is_dir():
        return photographs_below(root / FOLDER, notes)
    if not file.is_file():
        raise UserError(
            f"{root}: neither {PHOTOGRAPHS} nor {FOLDER} in it; set data.root to the folder that"
            " holds the photographs of ISIC 2024"
        )
    found, others = photographs_packed(file)
    if others:
        notes.add(f"{file}: {some(sorted(others), 'entry')} left out, no bytes of a photograph")
    return found
