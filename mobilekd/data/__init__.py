"""Data sets: one file and one ``load`` each, found by the recipe's ``data.kind``; splits, decoding,
overlap.

A new data set is one new file with ``load(DataTable) -> Dataset``. Never imports students, teachers
or anything that trains.
"""

from importlib import import_module

from mobilekd.data.dataset import Dataset
from mobilekd.data.decode import check_photographs, inputs
from mobilekd.data.folder import load_unlabelled
from mobilekd.data.identity import difference, with_pixels
from mobilekd.data.mapping import map_classes
from mobilekd.data.overlap import overlap_hashes, overlapping
from mobilekd.data.split import make_split
from mobilekd.formats.recipe import DataTable

__all__ = [
    "Dataset",
    "check_photographs",
    "difference",
    "inputs",
    "load",
    "load_unlabelled",
    "make_split",
    "map_classes",
    "overlap_hashes",
    "overlapping",
    "with_pixels",
]


def load(table: DataTable) -> Dataset:
    """The data set of a recipe, its labels and files checked against each other; photographs are
    not decoded yet.
    """
    dataset: Dataset = import_module(f"{__name__}.{table.kind}").load(table)
    return dataset
