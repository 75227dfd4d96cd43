"""Several sources as one data set (``[[data]]``): classes are the union, photographs keep their
origin, and no name means two things.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from mobilekd.data.classes import NAMES, folded, in_usual_order
from mobilekd.data.copies import joined_lesions
from mobilekd.data.dataset import Dataset, Notes, some
from mobilekd.data.overlap import ARCHIVE
from mobilekd.data.spellings import DOWNSAMPLED
from mobilekd.formats.labels import Label
from mobilekd.formats.runs import Role
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json
from mobilekd.support.words import counted

#: Lesions that the ISIC archive named are the same wherever they appear.
ARCHIVE_LESION = re.compile(r"(HAM|BCN|MSK\d?)_\d{7}")


def combine(sources: Sequence[Dataset], names: Sequence[str]) -> Dataset:
    """One data set of ``sources``, which are called ``names`` where they must be told apart.

    An id that several sources have gets the source's name in front, and so does a lesion's, unless
    the ISIC archive named it: the same archive photograph or lesion is one lesion, wherever it
    lies. Photographs of a source that states no origin come from that source. Pixel-equal copies
    over sources are joined where copies are (:mod:`mobilekd.data.copies`), as within one.
    """
    names = _apart(names)
    notes = Notes(text for source in sources for text in source.notes)
    classes, places = _classes(sources, names, notes)
    ids = _ids(sources, names, notes)
    lesions = _lesions(sources, names, ids, notes)
    rows = [(s, i) for s, source in enumerate(sources) for i in range(len(source))]
    rows.sort(key=lambda row: ids[row[0]][row[1]])
    columns = sorted({column for source in sources for column in source.metadata})
    origins = [
        source.origins if any(source.origins) else (name,) * len(source)
        for source, name in zip(sources, names, strict=True)
    ]
    paths = [source.paths for source in sources]

    def draw(n: int) -> Image.Image:
        s, i = rows[n]
        return sources[s].photograph(i)

    made = Dataset(
        kind="+".join(dict.fromkeys(source.kind for source in sources)),
        ids=tuple(ids[s][i] for s, i in rows),
        targets=np.array([_target(sources[s], i, places[s]) for s, i in rows], dtype=np.int64),
        lesions=tuple(lesions[s][i] for s, i in rows),
        classes=classes,
        paths=(
            tuple(part[i] for s, i in rows if (part := paths[s]) is not None)
            if all(part is not None for part in paths)
            else None
        ),
        metadata={
            column: tuple(
                sources[s].metadata[column][i] if column in sources[s].metadata else None
                for s, i in rows
            )
            for column in columns
        },
        licence="; ".join(dict.fromkeys(source.licence for source in sources)),
        hash=sha256_json(
            ["several", *([name, d.hash] for name, d in zip(names, sources, strict=True))]
        ),
        draw=draw if any(part is None for part in paths) else None,
        roles=_roles(sources, names, rows, notes),
        origins=tuple(origins[s][i] for s, i in rows),
    )
    made = _same_archive_photographs(made, notes)
    found = ", ".join(f"{count} {name}" for name, count in sorted(Counter(made.origins).items()))
    count = f"{counted(len(made), 'photograph')} of {counted(len(sources), 'source')}"
    notes.add(f"data: {count}, by origin: {found}")
    return replace(made, notes=tuple(notes))


def _apart(names: Sequence[str]) -> list[str]:
    """The names, with a number behind each that several sources have."""
    times, seen = Counter(names), Counter[str]()
    apart = []
    for name in names:
        seen[name] += 1
        apart.append(f"{name}-{seen[name]}" if times[name] > 1 else name)
    return apart


def _classes(
    sources: Sequence[Dataset], names: Sequence[str], notes: Notes
) -> tuple[tuple[Label, ...], list[list[int]]]:
    """The union in order, each class as the first source has it that has one, and for each source
    the place of each of its classes.
    """
    spelled: dict[str, str] = {}
    first: dict[str, Label] = {}
    owners: dict[str, list[str]] = defaultdict(list)
    for source, name in zip(sources, names, strict=True):
        for label in source.classes:
            key = folded(label.key)
            spelled.setdefault(key, key if key in NAMES else label.key)
            first.setdefault(key, label.model_copy(update={"key": spelled[key]}))
            owners[key].append(name)
    words = {folded(text): key for key, text in NAMES.items()}
    for key, spelling in spelled.items():
        if words.get(key) in spelled:
            raise UserError(
                f"data: class {spelling} of {', '.join(owners[key])} is what"
                f" {words[key]} of {', '.join(owners[words[key]])} means; say so with"
                f' map = {{ "{spelling}" = "{words[key]}" }} of that source'
            )
    for key, spelling in spelled.items():
        if len(owners[key]) < len(sources):
            notes.add(f"data: class {spelling} only in {', '.join(owners[key])}")
    keys = in_usual_order(set(spelled.values()))
    place = {folded(key): i for i, key in enumerate(keys)}
    classes = tuple(first[folded(key)] for key in keys)
    return classes, [[place[folded(label.key)] for label in source.classes] for source in sources]


def _target(source: Dataset, i: int, place: Sequence[int]) -> int:
    target = int(source.targets[i])
    return place[target] if target >= 0 else -1


def _ids(sources: Sequence[Dataset], names: Sequence[str], notes: Notes) -> list[list[str]]:
    times = Counter(name for source in sources for name in source.ids)
    twice = sorted(name for name, count in times.items() if count > 1)
    if twice:
        notes.add(
            f"data: {some(twice, 'id')} in several sources, so the source's name stands before each"
        )
    ids = [
        [f"{name}/{one}" if times[one] > 1 else one for one in source.ids]
        for source, name in zip(sources, names, strict=True)
    ]
    made = Counter(name for part in ids for name in part)
    if clash := sorted(name for name, count in made.items() if count > 1):
        raise UserError(
            f"data: {some(clash, 'id')} of several sources; give each source an origin of its own"
        )
    return ids


def _lesions(
    sources: Sequence[Dataset], names: Sequence[str], ids: list[list[str]], notes: Notes
) -> list[list[str]]:
    """Lesions of each source. A photograph that is its own lesion stays so under its new id."""
    holders: dict[str, set[int]] = defaultdict(set)
    for s, source in enumerate(sources):
        for lesion in (*source.lesions, *source.ids):
            holders[lesion].add(s)
    renamed: set[str] = set()
    made = []
    for s, (source, name) in enumerate(zip(sources, names, strict=True)):
        part = []
        for own, lesion, new in zip(source.ids, source.lesions, ids[s], strict=True):
            if lesion == own:
                part.append(new)
            elif len(holders[lesion]) > 1 and not ARCHIVE_LESION.fullmatch(lesion):
                renamed.add(lesion)
                part.append(f"{name}/{lesion}")
            else:
                part.append(lesion)
        made.append(part)
    if renamed:
        notes.add(
            f"data: {some(sorted(renamed), 'lesion id')} in several sources, taken for different"
            " lesions; data.duplicates joins those that are the same"
        )
    return made


def _roles(
    sources: Sequence[Dataset], names: Sequence[str], rows: list[tuple[int, int]], notes: Notes
) -> tuple[Role, ...] | None:
    """The parts of a split where every source comes split; else none, which is said."""
    split = [name for source, name in zip(sources, names, strict=True) if source.roles is not None]
    if len(split) == len(sources):
        return tuple(roles[i] for s, i in rows if (roles := sources[s].roles) is not None)
    if split:
        notes.add(
            f"data: the sub-folders train and test of {', '.join(split)} do not count, because"
            " other sources have none"
        )
    return None


def _same_archive_photographs(dataset: Dataset, notes: Notes) -> Dataset:
    """``dataset`` in which an archive's photograph that several sources hold is one lesion."""
    rows: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(dataset.ids):
        file = name.rpartition("/")[2].removesuffix(DOWNSAMPLED)
        if ARCHIVE.fullmatch(file):
            rows[file].append(i)
    again = {file: group for file, group in rows.items() if len(group) > 1}
    if not again:
        return dataset
    notes.add(
        f"data: {some(sorted(again), 'photograph')} of the archive in several sources, each counted"
        " as one lesion"
    )
    return replace(dataset, lesions=joined_lesions(dataset, again.values()))
