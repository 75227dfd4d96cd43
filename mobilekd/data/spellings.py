"""Which photograph a table means: tables write names with or without suffix and folders, in any
case, with other separators.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from mobilekd.data.classes import folded
from mobilekd.data.dataset import some
from mobilekd.data.photographs import RAW
from mobilekd.formats.preprocess import HEIF, readable_suffixes
from mobilekd.support.errors import UserError

#: The ISIC archive of 2019 appends this to the names of photographs that it shrank.
DOWNSAMPLED = "_downsampled"


def matched(where: Path | str, written: Sequence[str], ids: Sequence[str]) -> list[str | None]:
    """The one of ``ids`` that each name of a table means, by the first of ``SPELLINGS`` that says
    so; None where it means none, ``UserError`` where it could mean several.

    ``a/1.jpg`` does not mean ``b/1`` where another row names ``b/1`` with its folder.
    """
    found: dict[str, list[str]] = {}
    for spell in SPELLINGS:
        left = {name for name in written if name not in found}
        if not left:
            break
        place: dict[str, list[str]] = defaultdict(list)
        for name in ids:
            place[spell(name, False)].append(name)
        taken = {name for names in found.values() for name in names}
        alone = spell in (_base, _loose)
        elsewhere = {name for name in left if alone and last_folder(name)}
        found |= {
            name: place[key]
            for name in left
            if (key := spell(name, True)) in place
            and not (name in elsewhere and taken.issuperset(place[key]))
        }
    if unclear := [name for name in written if len(found.get(name, ())) > 1]:
        raise UserError(
            f"{where}: {some(unclear, 'image')} could be more than one photograph; write each as it"
            f" lies in its folder, for example {ids[0]}"
        )
    return [found[name][0] if name in found else None for name in written]


def last_folder(written: str) -> str:
    """The folder in which a photograph lies by a table or an id, in lower case; empty for none."""
    if "/" not in written and "\\" not in written:
        return ""
    return _in_folder(written, True).rpartition("/")[0]


def bare_name(written: str) -> str:
    """A photograph's name in a table, without folders and suffix."""
    name = written.replace("\\", "/").rpartition("/")[2]
    stem, _, suffix = name.rpartition(".")
    return stem if stem and _is_photograph_suffix(suffix.lower()) else name


def _as_written(name: str, _: bool) -> str:
    return name


def _path(name: str, in_table: bool) -> str:
    """The whole id in lower case; of a table's path, its suffix removed."""
    parts = [part for part in folded(name).replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join([*parts[:-1], _bare(parts[-1], in_table)]) if parts else ""


def _in_folder(name: str, in_table: bool) -> str:
    """The last folder and the name."""
    return "/".join(_path(name, in_table).split("/")[-2:])


def _base(name: str, in_table: bool) -> str:
    """The name alone."""
    return _path(name, in_table).rpartition("/")[2]


def _loose(name: str, in_table: bool) -> str:
    """The name alone, whichever of space, hyphen and underscore separate its parts."""
    return re.sub(r"[\s_-]+", "_", _base(name, in_table).removesuffix(DOWNSAMPLED))


def _bare(name: str, in_table: bool) -> str:
    stem, _, suffix = name.rpartition(".")
    return stem if in_table and stem and _is_photograph_suffix(suffix) else name


def _is_photograph_suffix(suffix: str) -> bool:
    """Whether photographs end so; raw ones, too, of which tables may speak."""
    return f".{suffix}" in readable_suffixes() or f".{suffix}" in HEIF | RAW


#: How a table may write a photograph's name, from the strictest on: the first that matches counts.
SPELLINGS: tuple[Callable[[str, bool], str], ...] = (
    _as_written,
    _path,
    _in_folder,
    _base,
    _loose,
)
