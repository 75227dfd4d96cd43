"""Copies: photographs of equal pixels under several names, which show one lesion and have one
label; and further photographs of a lesion that a list names.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mobilekd.data.dataset import Dataset, Notes, some
from mobilekd.data.decode import photograph_hashes
from mobilekd.data.spellings import matched
from mobilekd.data.tables import read_csv
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json


def join_copies(
    dataset: Dataset,
    ids: Sequence[str] | None = None,
    *,
    strict: bool = True,
    apart: bool = False,
    hashes: Mapping[str, str] | None = None,
) -> Dataset:
    """``dataset`` in which pixel-equal photographs among ``ids`` (all, when None) share a lesion,
    and with them whatever shared a lesion with one of them. Its hash stays: the data are the same.

    Decodes what was not hashed before, unless ``hashes`` has what each shows, by id.
    ``UserError`` where copies have different labels; with
    ``strict`` False (photographs of a split that has been trained on) it is only said. ``apart``
    says that a split by photograph may part them nevertheless.
    """
    names = dataset.ids if ids is None else ids
    rows = [int(row) for row in dataset.rows(names)]
    shown = photograph_hashes(dataset, names) if hashes is None else [hashes[n] for n in names]
    times = Counter(shown)
    same: dict[str, list[int]] = defaultdict(list)
    for row, pixels in zip(rows, shown, strict=True):
        if times[pixels] > 1:
            same[pixels].append(row)
    groups = [sorted(group) for group in same.values()]
    notes = Notes(dataset.notes)
    torn = [group for group in groups if len({int(dataset.targets[i]) for i in group} - {-1}) > 1]
    if torn:
        named = [" and ".join(_with_label(dataset, i) for i in group) for group in sorted(torn)]
        fault = f"data: {some(named, 'picture')} with more than one label"
        if strict:
            wrong = ", ".join(repr(dataset.ids[i]) for i in sorted(torn)[0])
            raise UserError(
                f"{fault}; remove the file with the wrong label, or leave its id out with"
                " data.exclude; where nobody knows which is right, leave out all"
                f" (data.exclude = [{wrong}] for the first)"
            )
        notes.add(f"{fault}, judged by each")
    strangers = [group for group in groups if len({dataset.lesions[i] for i in group}) > 1]
    if apart and groups:
        copies = sorted(dataset.ids[i] for group in groups for i in group[1:])
        notes.add(
            f"data: {some(copies, 'photograph')} equal to another one in every pixel; a split by"
            " photograph may put copies into training and test, so its results are leaky"
        )
    if not strangers:
        return replace(dataset, notes=tuple(notes))
    if not apart:
        copies = sorted(dataset.ids[i] for group in strangers for i in group[1:])
        notes.add(
            f"data: {some(copies, 'photograph')} equal to another one in every pixel; copies count"
            " as one lesion"
        )
    return replace(dataset, lesions=joined_lesions(dataset, strangers), notes=tuple(notes))


def join_listed(dataset: Dataset, listed: str | Sequence[tuple[str, str]]) -> Dataset:
    """``dataset`` in which the two photographs of each pair share a lesion, and with them whatever
    shared a lesion with one of them. Its hash is another one, because its lesions are.

    ``listed`` is a CSV with ``image_a`` and ``image_b``, or the pairs. Pairs of which a photograph
    is not here are left out and counted; ``UserError`` where that is true of all.
    """
    where = "data.duplicates"
    if isinstance(listed, str):
        where = listed
        rows = read_csv(Path(listed), ("image_a", "image_b"))
        listed = [(row["image_a"], row["image_b"]) for row in rows]
    named = [matched(where, side, dataset.ids) for side in zip(*listed, strict=True)]
    pairs: list[tuple[str, str]] = []
    absent: list[str] = []
    for written, first, second in zip(listed, *(named or ((), ())), strict=True):
        if first is None or second is None:
            absent.append(" and ".join(written))
        else:
            pairs.append((first, second))
    if not pairs:
        raise UserError(
            f"{where}: none of its {some(absent, 'pair')} names two photographs of the data; write"
            f" each as it lies in its folder, for example {dataset.ids[0]}"
        )
    notes = Notes(dataset.notes)
    if absent:
        notes.add(f"{where}: {some(absent, 'pair')} of photographs that are not here left out")
    groups = [[int(i) for i in dataset.rows(pair)] for pair in pairs]
    torn = [" and ".join(_with_label(dataset, i) for i in group) for group in groups]
    torn = [
        text
        for text, group in zip(torn, groups, strict=True)
        if len({int(dataset.targets[i]) for i in group} - {-1}) > 1
    ]
    if torn:
        notes.add(f"{where}: {some(torn, 'pair')} with more than one label")
    shown = [" and ".join(pair) for pair in pairs]
    notes.add(f"{where}: {some(shown, 'pair')} of photographs that count as one lesion")
    lesions = joined_lesions(dataset, groups)
    return replace(
        dataset,
        lesions=lesions,
        notes=tuple(notes),
        hash=sha256_json([dataset.hash, "duplicates", list(lesions)]),
    )


def joined_lesions(dataset: Dataset, groups: Iterable[Sequence[int]]) -> tuple[str, ...]:
    """The lesions of ``dataset``, those of each group made one under the first of their names."""
    lesion_of: dict[str, str] = {}

    def root(lesion: str) -> str:
        while (above := lesion_of.get(lesion, lesion)) != lesion:
            lesion = above
        return lesion

    for group in groups:
        first, *others = sorted({root(dataset.lesions[i]) for i in group})
        lesion_of.update(dict.fromkeys(others, first))
    return tuple(root(lesion) for lesion in dataset.lesions)


def _with_label(dataset: Dataset, i: int) -> str:
    label = dataset.classes[dataset.targets[i]].key if dataset.targets[i] >= 0 else "no label"
    return f"{dataset.ids[i]}: {label}"
