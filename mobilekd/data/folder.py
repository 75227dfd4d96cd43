"""One's own photographs: one sub-folder per class, its name the class; and folders of photographs
without labels.

An optional CSV (``data.metadata``: ``image, lesion_id[, age, sex, site]``, image being
``class/name`` without suffix) keeps the photographs of one lesion together in the split.
"""

from pathlib import Path

from mobilekd.data import classes
from mobilekd.data.dataset import SUFFIXES, Dataset, assemble, some
from mobilekd.data.tables import no_metadata, photographs_in, read_metadata, root_of
from mobilekd.formats.recipe import DataTable
from mobilekd.support.errors import UserError

LICENCE = "not stated: the user's own photographs"


def load(table: DataTable) -> Dataset:
    """Photographs of ``table.root/<class>/``; ids are ``class/name``, classes in alphabetical
    order.
    """
    root = root_of(table.root, "folder")
    if loose := sorted(photographs_in([root])):
        raise UserError(
            f"{root}: {some(loose, 'photograph')} without a label; move each into the sub-folder of"
            " its class"
        )
    folders = sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if len(folders) < 2:
        raise UserError(
            f"{root}: {some([path.name for path in folders], 'sub-folder')}; give one for each"
            " class, at least two"
        )
    inside = sorted(path for folder in folders for path in folder.glob("*/*"))
    if deeper := [
        path.relative_to(root).as_posix() for path in inside if path.suffix.lower() in SUFFIXES
    ]:
        raise UserError(
            f"{root}: {some(deeper, 'photograph')} below a class's sub-folder; move each up into it"
        )
    files = {
        f"{folder.name}/{stem}": entry
        for folder in folders
        for stem, entry in photographs_in([folder]).items()
    }
    ids = list(files)
    lesions, columns = (
        read_metadata(Path(table.metadata), ids) if table.metadata else no_metadata(root, ids)
    )
    return assemble(
        "folder",
        root,
        ids=ids,
        keys=[name.split("/")[0] for name in ids],
        lesions=lesions,
        classes=classes.labels(tuple(folder.name for folder in folders)),
        files=files,
        metadata=columns,
        licence=LICENCE,
    )


def load_unlabelled(root: Path) -> Dataset:
    """Every photograph below ``root``, sub-folders included: targets -1, no classes, each its own
    lesion.
    """
    folders = [
        root_of(str(root), "unlabelled"),
        *sorted(path for path in root.rglob("*") if path.is_dir()),
    ]
    files = {
        (folder.relative_to(root) / stem).as_posix(): entry
        for folder in folders
        for stem, entry in photographs_in([folder]).items()
    }
    return assemble(
        "unlabelled",
        root,
        ids=list(files),
        keys=[None] * len(files),
        lesions=list(files),
        classes=(),
        files=files,
        metadata={},
        licence=LICENCE,
    )
