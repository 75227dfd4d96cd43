"""One's own photographs: one sub-folder per class, its name the class; and folders of photographs
without labels.

The sub-folders may lie in ``train``, ``validation`` and ``test``: then that is the split. An
optional CSV (``data.metadata``: ``image, lesion_id[, age, sex, site]``, image being
``class/name``) keeps the photographs of one lesion together in the split.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from mobilekd.data import classes
from mobilekd.data.dataset import (
    NOT_STATED,
    OWN_PHOTOGRAPHS,
    Dataset,
    Notes,
    assemble,
    some,
)
from mobilekd.data.metadata import no_metadata, read_metadata
from mobilekd.data.photographs import photographs_in, root_of
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.preprocess import readable_suffixes
from mobilekd.formats.runs import Role
from mobilekd.support.errors import UserError

#: Names of sub-folders that are the parts of a split, in lower case.
PARTS: dict[str, Role] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "validate": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def load(table: DataTable) -> Dataset:
    """Photographs of ``table.root/<class>/``; ids are ``class/name``, classes in alphabetical
    order. Of ``table.root/<part>/<class>/`` they are ``part/class/name``, and the parts are the
    split.
    """
    root = root_of(table.root, "folder")
    notes = Notes()
    if loose := sorted(photographs_in([root], notes, documents=False)):
        raise UserError(
            f"{root}: {some(loose, 'photograph')} without a label; move each into the sub-folder of"
            " its class"
        )
    parts = _parts(root)
    folders = [folder for part in parts for folder in _sub_folders(part)] or _sub_folders(root)
    names = _class_names(root, folders)
    _refuse_deeper(root, folders)
    files = {
        f"{named}/{stem}": entry
        for folder in folders
        for named in (classes.normal(folder.relative_to(root).as_posix()),)
        for stem, entry in photographs_in([folder], notes).items()
    }
    ids = list(files)
    lesions, columns = (
        read_metadata(Path(table.metadata), ids, notes)
        if table.metadata
        else no_metadata(root, ids, notes)
    )
    here = {classes.folded(name.split("/")[-2]) for name in ids}
    if empty := [name for name in names if classes.folded(name) not in here]:
        notes.add(f"{root}: {some(empty, 'class')} without any photograph")
    if parts:
        named = ", ".join(part.name for part in parts)
        notes.add(f"{root}: its sub-folders {named} are taken as the split")
    return assemble(
        "folder",
        root,
        ids=ids,
        keys=[name.split("/")[-2] for name in ids],
        lesions=lesions,
        classes=classes.labels(names),
        files=files,
        metadata=columns,
        licence=OWN_PHOTOGRAPHS,
        notes=notes,
        roles=[PARTS[name.split("/")[0].lower()] for name in ids] if parts else None,
    )


def _sub_folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:  # tells folders from files without asking for each
        return sorted(
            folder / entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and (os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir())
        )


def _parts(root: Path) -> list[Path]:
    """The parts of a split, where all sub-folders are such and hold sub-folders; else none."""
    folders = _sub_folders(root)
    parts = [folder for folder in folders if folder.name.lower() in PARTS and _sub_folders(folder)]
    if not parts:
        return []
    others = [folder.name for folder in folders if folder not in parts]
    if bare := [name for name in others if name.lower() in PARTS]:
        raise UserError(
            f"{root}: {some(bare, 'part')} of the split without sub-folders of classes, beside"
            f" {', '.join(part.name for part in parts)}; give each class its sub-folder there, or"
            " move that part away"
        )
    if others:
        raise UserError(
            f"{root}: {', '.join(part.name for part in parts)} beside"
            f" {some(others, 'other sub-folder')}; keep the parts of a split in a folder of their"
            " own, or give one of them as the root"
        )
    roles = [PARTS[part.name.lower()] for part in parts]
    if len(set(roles)) < len(roles) or "train" not in roles or len(roles) < 2:
        raise UserError(
            f"{root}: {some([part.name for part in parts], 'sub-folder')} of classes, which make"
            " no split; keep train and test, or train, validation and test, or give the folder"
            " that holds the classes"
        )
    if loose := sorted(name for part in parts for name in photographs_in([part])):
        raise UserError(
            f"{root}: {some(loose, 'photograph')} without a label; move each into the sub-folder of"
            " its class"
        )
    return parts


def _class_names(root: Path, folders: list[Path]) -> tuple[str, ...]:
    """The classes, sorted; ``UserError`` for fewer than two and for names that only look
    different to a computer.
    """
    written: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        written[classes.folded(folder.name)].add(folder.name)
    if len(written) < 2:
        given = sorted(name for names in written.values() for name in names)
        found = some(given, "sub-folder") if given else "no sub-folders"
        raise UserError(f"{root}: {found}; give one for each class, at least two")
    refuse_alike(root, [folder.name for folder in folders], "sub-folder")
    return tuple(sorted({classes.normal(name) for names in written.values() for name in names}))


def refuse_alike(where: Path, written: Iterable[str], what: str) -> None:
    """A ``UserError`` for names of classes that only look different to a computer."""
    alike: dict[str, set[str]] = defaultdict(set)
    for name in written:
        alike[classes.folded(name)].add(name)
    if clash := [name for names in alike.values() if len(names) > 1 for name in sorted(names)]:
        seen = {classes.normal(name) for name in clash}
        if len(seen) < len(clash):
            how = "in Unicode's form, which cannot be seen"
        elif len({name.casefold() for name in seen}) < len(seen):
            how = "in case"
        else:
            how = "in blanks or characters that cannot be seen"
        raise UserError(
            f"{where}: {some(clash, what)} whose names differ only {how}; give each class"
            " one name, or move the photographs into one"
        )


def _refuse_deeper(root: Path, folders: list[Path]) -> None:
    readable = readable_suffixes()
    deeper = sorted(
        (Path(place) / name).relative_to(root).as_posix()
        for folder in folders
        for inner in _sub_folders(folder)
        for place, _, names in os.walk(inner)
        for name in names
        if Path(name).suffix.lower() in readable and not name.startswith(".")
    )
    if deeper:
        raise UserError(
            f"{root}: {some(deeper, 'photograph')} below the sub-folder of a class; where"
            f" {Path(deeper[0]).parts[0]} is the class, move them up into it, else give the folder"
            " whose sub-folders are the classes"
        )


def photographs_below(root: Path, notes: Notes) -> dict[str, tuple[str, int]]:
    """Photographs of ``root`` and its sub-folders by their path without suffix -> (path, bytes)."""
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    return {
        classes.normal(f"{place}{stem}"): entry
        for folder in folders
        for place in ("" if folder == root else f"{folder.relative_to(root).as_posix()}/",)
        for stem, entry in photographs_in([folder], notes, documents=False).items()
    }


def load_unlabelled(root: Path, licence: str = "") -> Dataset:
    """Every photograph below ``root``, sub-folders included: targets -1, no classes, each its own
    lesion.
    """
    notes = Notes()
    files = photographs_below(
        root_of(str(root), "unlabelled", "give a folder of photographs"), notes
    )
    return assemble(
        "unlabelled",
        root,
        ids=list(files),
        keys=[None] * len(files),
        lesions=list(files),
        classes=(),
        files=files,
        metadata={},
        licence=licence or NOT_STATED,
        notes=notes,
    )
