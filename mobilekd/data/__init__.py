"""Data sets: one file and one ``load`` each, found by the recipe's ``data.kind``; splits, decoding,
overlap.

A new data set is one new file with ``load(DataTable) -> Dataset``. Never imports students, teachers
or anything that trains.
"""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from mobilekd.data.copies import join_copies, join_listed
from mobilekd.data.dataset import Dataset
from mobilekd.data.decode import check_photographs, inputs, photograph_sizes, pictures
from mobilekd.data.exclude import leave_out
from mobilekd.data.folder import load_unlabelled
from mobilekd.data.identity import difference, with_pixels
from mobilekd.data.mapping import map_classes, rename_classes
from mobilekd.data.origins import with_origins
from mobilekd.data.overlap import called_alike, overlap_hashes, overlapping, training_hashes
from mobilekd.data.photographs import root_of
from mobilekd.data.roles import say_roles, with_roles
from mobilekd.data.several import combine
from mobilekd.data.split import make_split
from mobilekd.formats.data_tables import DataTable
from mobilekd.support.errors import UserError

__all__ = [
    "Dataset",
    "called_alike",
    "check_photographs",
    "check_place",
    "difference",
    "generate_unlabelled",
    "inputs",
    "join_copies",
    "load",
    "load_unlabelled",
    "make_split",
    "map_classes",
    "overlap_hashes",
    "overlapping",
    "photograph_sizes",
    "pictures",
    "say_roles",
    "training_hashes",
    "with_pixels",
]

#: Keys of [data] that speak of a table, and the kinds of data that have it.
TABLES = {
    "labels": ("isic", "isic2020", "isic2024", "csv"),
    "metadata": ("isic", "folder"),
    "columns": ("csv", "isic2020", "isic2024"),
    "allow_missing": ("ham10000", "isic", "isic2020", "isic2024", "csv"),
}


def check_place(table: DataTable) -> None:
    """A ``UserError`` where a folder or file of the table is missing; opens none of them."""
    for source in table.sources:
        check_place(source)
    rootless = {"synthetic", "several"} | ({"csv"} if table.root is None else set())
    if table.kind not in rootless:
        root_of(table.root, table.kind)
    for key in ("labels", "metadata", "unlabelled"):
        place = getattr(table, key)
        if place is not None and not Path(place).exists():
            raise UserError(f"data.{key} {place}: no such file or folder; check the path")


def load(table: DataTable, *, part: bool = False) -> Dataset:
    """The data set of a recipe, its labels and files checked against each other; photographs are
    not decoded yet.

    ``part`` is for judging: a table of labels and a folder of photographs may each hold a part of
    the other, and the rest is left out, which is said.

    Then classes get the names of ``data.map``, every photograph its origin, listed duplicates
    become one lesion, and what ``data.exclude`` names is left out, in this order: a lesion that an
    excluded photograph joined stays joined.
    """
    if table.sources:
        if table.allow_missing and not any(map(_may_lack, table.sources)):
            _refuse_key("allow_missing", " and ".join(source.kind for source in table.sources))
        parts = [load(_allowing(source, table), part=part) for source in table.sources]
        dataset = combine(parts, [source.name for source in table.sources])
    else:
        dataset = _read(table, part)
    if table.licence:
        dataset = replace(dataset, licence=table.licence)
    if table.map:
        dataset = rename_classes(dataset, table.map)
    if table.origin:
        dataset = with_origins(dataset, table.origin)
    if table.duplicates:
        dataset = join_listed(dataset, table.duplicates)
    if table.exclude:
        dataset = leave_out(dataset, table.exclude)
    return with_roles(dataset, table.roles) if table.roles else dataset


def _allowing(source: DataTable, whole: DataTable) -> DataTable:
    """A source that may lack a part where all of them may."""
    if not whole.allow_missing or not _may_lack(source):
        return source
    return source.model_copy(update={"allow_missing": True})


def _may_lack(table: DataTable) -> bool:
    """Whether its kind has a table of labels, which may name other photographs than are there."""
    return table.kind in TABLES["allow_missing"]


def _refuse_key(name: str, kind: str) -> NoReturn:
    raise UserError(
        f"data.{name}: {kind} has no such table, only {' and '.join(TABLES[name])}; leave it out"
    )


def _read(table: DataTable, part: bool) -> Dataset:
    for name, kinds in TABLES.items():
        if getattr(table, name) and table.kind not in kinds:
            _refuse_key(name, table.kind)
    loader = import_module(f"{__name__}.{table.kind}").load
    listed = part and _may_lack(table)
    dataset: Dataset = loader(table, part=True) if listed else loader(table)
    return dataset


def generate_unlabelled(table: DataTable) -> Dataset:
    """The photographs without labels that ``data.without_labels`` asks for."""
    from mobilekd.data import synthetic

    return synthetic.load_unlabelled(table)
