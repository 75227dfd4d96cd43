"""Copies: photographs of equal pixels under several names. They show one lesion and have one
label.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from mobilekd.data.dataset import Dataset, Notes, some
from mobilekd.data.decode import photograph_hashes
from mobilekd.support.errors import UserError


def join_copies(
    dataset: Dataset,
    ids: Sequence[str] | None = None,
    *,
    strict: bool = True,
    apart: bool = False,
) -> Dataset:
    """``dataset`` in which pixel-equal photographs among ``ids`` (all, when None) share a lesion,
    and with them whatever shared a lesion with one of them. Its hash stays: the data are the same.

    Decodes what was not hashed before. ``UserError`` where copies have different labels; with
    ``strict`` False (photographs of a split that has been trained on) it is only said. ``apart``
    says that a split by photograph may part them nevertheless.
    """
    names = dataset.ids if ids is None else ids
    same: dict[str, list[int]] = defaultdict(list)
    rows = [int(row) for row in dataset.rows(names)]
    for row, pixels in zip(rows, photograph_hashes(dataset, names), strict=True):
        same[pixels].append(row)
    groups = [sorted(group) for group in same.values() if len(group) > 1]
    notes = Notes(dataset.notes)
    torn = [group for group in groups if len({int(dataset.targets[i]) for i in group} - {-1}) > 1]
    if torn:
        named = [" and ".join(_with_label(dataset, i) for i in group) for group in sorted(torn)]
        fault = f"data: {some(named, 'picture')} with more than one label"
        if strict:
            raise UserError(f"{fault}; keep the right label of each and remove the other copies")
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
    lesion_of: dict[str, str] = {}

    def root(lesion: str) -> str:
        while (above := lesion_of.get(lesion, lesion)) != lesion:
            lesion = above
        return lesion

    for group in strangers:
        first, *others = sorted({root(dataset.lesions[i]) for i in group})
        lesion_of.update(dict.fromkeys(others, first))
    if not apart:
        copies = sorted(dataset.ids[i] for group in strangers for i in group[1:])
        notes.add(
            f"data: {some(copies, 'photograph')} equal to another one in every pixel; copies count"
            " as one lesion"
        )
    return replace(
        dataset, lesions=tuple(root(lesion) for lesion in dataset.lesions), notes=tuple(notes)
    )


def _with_label(dataset: Dataset, i: int) -> str:
    label = dataset.classes[dataset.targets[i]].key if dataset.targets[i] >= 0 else "no label"
    return f"{dataset.ids[i]}: {label}"
