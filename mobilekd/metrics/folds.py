"""Folds of one recipe as one run: every photograph answered once, by the student that was trained
without its lesion.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mobilekd.metrics.entries import Entry, group_name
from mobilekd.metrics.predictions import Predictions
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json
from mobilekd.support.text import listed


def pool_folds(entries: Sequence[Entry]) -> list[Entry]:
    """``entries`` with the folds of each recipe and seed made one entry. Where all have one split,
    such as one fold of several recipes, they stay as they are.

    ``UserError`` where a fold is missing, is there twice, or was made from other data.
    """
    if len({one.split_hash for one in entries}) < 2:
        return list(entries)
    by_recipe: dict[tuple[str, int], list[Entry]] = defaultdict(list)
    for one in entries:
        if one.folds:
            by_recipe[one.recipe, one.seed].append(one)
    pooled_name = {
        one.name: _name([other.name for other in members])
        for members in by_recipe.values()
        for one in members
    }
    made: dict[str, Entry] = {}
    for one in entries:
        if not one.folds:
            made[one.name] = one
        elif pooled_name[one.name] not in made:
            pooled = _pooled(by_recipe[one.recipe, one.seed], pooled_name[one.name])
            control = pooled_name.get(one.control or "", one.control)
            made[pooled.name] = replace(pooled, control=control)
    return list(made.values())


def _name(names: Sequence[str]) -> str:
    """What folds are called together: their name without the fold, wherever it stands."""
    bare = {re.sub(r"[-_.]?fold[-_.]?\d+", "", name) for name in names}
    return bare.pop() if len(bare) == 1 else group_name(names)


def _pooled(members: Sequence[Entry], name: str) -> Entry:
    first = members[0]
    by_fold: dict[int, Entry] = {}
    for one in members:
        if (other := by_fold.setdefault(one.fold, one)) is not one:
            raise UserError(
                f"compare: {other.name} and {one.name} are both fold {one.fold} of {name} with seed"
                f" {one.seed}; give one of them"
            )
        if one.data_hash != first.data_hash:
            raise UserError(
                f"compare: {first.name} and {one.name} are folds of different data; distil one of"
                " them again"
            )
        if one.predictions.keys != first.predictions.keys:
            raise UserError(
                f"compare: {one.name} has other classes than {first.name}; compare runs of one data"
                " set only"
            )
    if missing := [str(fold) for fold in range(first.folds) if fold not in by_fold]:
        raise UserError(
            f"compare: {name} lacks {len(missing)} of {first.folds} folds ({', '.join(missing)});"
            " train them with mobilekd sweep and name all of them"
        )
    parts = [by_fold[fold] for fold in range(first.folds)]
    answers = [one.predictions for one in parts]
    judged = [name for one in answers for name in one.ids]
    if len(set(judged)) < len(judged):
        twice = sorted(name for name, times in Counter(judged).items() if times > 1)
        raise UserError(
            f"compare: {name}: {len(twice)} photographs are judged in several folds:"
            f" {listed(twice)}; distil the folds again from one data set"
        )
    teachers = [one.teacher_predictions for one in parts]
    origins = [one.origins or ("",) * len(one.predictions.ids) for one in parts]
    return replace(
        first,
        name=name,
        fold=0,
        pooled=True,
        split_hash=sha256_json([one.split_hash for one in parts]),
        predictions=_joined(answers),
        teacher_predictions=(
            _joined([one for one in teachers if one is not None]) if all(teachers) else None
        ),
        origins=tuple(origin for part in origins for origin in part),
    )


def _joined(parts: Sequence[Predictions]) -> Predictions:
    return Predictions(
        parts[0].keys,
        tuple(name for one in parts for name in one.ids),
        tuple(lesion for one in parts for lesion in one.lesions),
        np.concatenate([one.truth for one in parts]),
        np.concatenate([one.probabilities for one in parts]),
    )
