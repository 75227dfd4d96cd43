"""Photographs in folders: which files are some, and which are left out."""

import os
from collections.abc import Iterable
from pathlib import Path

from mobilekd.data.classes import normal
from mobilekd.data.dataset import Notes, some
from mobilekd.formats.preprocess import HEIF, readable_suffixes
from mobilekd.support.errors import UserError

#: What to do where the folder of a data set is not there.
REMEDY = "give the folder of the data set with --set data.root=FOLDER"


def root_of(root: str | None, kind: str, remedy: str = REMEDY) -> Path:
    """The data set's folder; a missing one is the user's mistake, with its ``remedy``."""
    if root is None:
        raise UserError(
            f"data.root: {kind} needs the folder of the data set; give it with --set"
            " data.root=FOLDER"
        )
    folder = Path(root)
    if not folder.is_dir():
        what = "a file, not a folder" if folder.is_file() else "no such folder"
        raise UserError(f"{folder}: {what}; {remedy}")
    return folder


def photographs_in(
    folders: Iterable[Path], notes: Notes | None = None, *, documents: bool = True
) -> dict[str, tuple[str, int]]:
    """Photographs by id (the file's name without suffix, in Unicode's NFC) -> (path, bytes).

    An id found twice, a link that leads nowhere and a name that is not UTF-8 are ``UserError``s.
    Files that cannot be read as photographs are left out, which ``notes`` says; with
    ``documents`` False not of the tables and texts that an archive ships beside its photographs.
    Hidden files never count.
    """
    files: dict[str, tuple[str, int]] = {}
    others: list[str] = []
    readable = readable_suffixes()
    for folder in folders:
        twice: list[str] = []
        lost: list[str] = []
        nameless: list[str] = []
        for entry in _visible(folder):
            stem, suffix = os.path.splitext(entry.name)
            if entry.is_symlink() and not _leads_somewhere(entry):
                lost.append(os.fsencode(entry.name).decode(errors="replace"))
            elif suffix.lower() not in readable:
                if not entry.is_dir() and (documents or not _is_document(entry.name)):
                    others.append(os.fsencode(entry.name).decode(errors="replace"))
            elif not entry.is_file():
                if documents or not entry.is_dir():
                    others.append(os.fsencode(entry.name).decode(errors="replace"))
            elif not _is_text(entry.path):
                nameless.append(os.fsencode(entry.name).decode(errors="replace"))
            else:
                name = normal(stem)
                if name in files:
                    twice.append(name)
                files[name] = entry.path, entry.stat().st_size
        if lost:
            raise UserError(
                f"{folder}: {some(sorted(lost), 'link')} to no file; mend or remove them"
            )
        if nameless:
            raise UserError(f"{folder}: {some(sorted(nameless), 'name')} not in UTF-8; rename them")
        if twice:
            raise UserError(
                f"{folder}: {some(sorted(twice), 'photograph')} present more than once; keep one"
                " file for each id"
            )
        if others and notes is not None:
            notes.add(_left_out(folder, sorted(others)))
        others.clear()
    return files


#: What cameras keep beside the photographs that people work with.
RAW = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"})

#: Files that archives ship beside their photographs.
DOCUMENTS = frozenset(
    {".csv", ".db", ".htm", ".html", ".ini", ".json", ".md", ".pdf", ".rtf", ".tab", ".tsv"}
    | {".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip"}
)

#: What archives call such files where they have no suffix.
TITLES = ("attribution", "license", "licence", "readme", "makefile")


def _is_document(name: str) -> bool:
    name = name.lower()
    return os.path.splitext(name)[1] in DOCUMENTS or name.endswith("metadata") or name in TITLES


def _left_out(folder: Path, names: list[str]) -> str:
    heic = any(Path(name).suffix.lower() in HEIF for name in names)
    remedy = "; pip install 'mobilekd[heic]' reads HEIC" if heic else ""
    return f"{folder}: {some(names, 'file')} left out, not readable as photographs{remedy}"


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _leads_somewhere(link: os.DirEntry[str]) -> bool:
    """Whether there is a file or folder at a link's end; a loop of links leads nowhere, too. The
    answer is kept in ``link``, where its size is asked for next.
    """
    try:
        link.stat()
    except OSError:
        return False
    return True


def _is_text(name: str) -> bool:
    """Whether a file system's name is UTF-8, as results and hashes must be; other bytes come as
    lone surrogates.
    """
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)
