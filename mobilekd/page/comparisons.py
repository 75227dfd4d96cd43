"""The comparisons that a report shows: one per split of the evaluated runs, and those given as
files.
"""

from collections.abc import Sequence

from mobilekd.formats.comparison import Comparison
from mobilekd.metrics.entries import Entry, judged_together, read_entry
from mobilekd.metrics.paired import compare_entries
from mobilekd.page.inputs import TrainedRun
from mobilekd.support.errors import UserError


def comparisons(
    runs: Sequence[TrainedRun], given: Sequence[Comparison], left_out: list[str]
) -> list[Comparison]:
    """One comparison per split of the evaluated runs, and those that were given as files for other
    splits or runs; what gives way is noted in ``left_out``.

    No comparison is shown beside a larger one of the same runs: among more claims the same
    difference may have another verdict.
    """
    together: dict[str, list[TrainedRun]] = {}
    for one in runs:
        if one.evaluation is not None:
            together.setdefault(judged_together(one.run), []).append(one)
    made = [
        comparison
        for members in together.values()
        for comparison in _compared(_one_each(members), left_out)
    ]
    others = [one for one in given if not any(_names(one) <= _names(new) for new in made)]
    if len(others) < len(given):
        left_out.append(
            f"{len(given) - len(others)} of {len(given)} comparison files: their runs are here and"
            " are compared anew"
        )
    return [one for one in made if not any(_within(one, other) for other in others)] + others


def _compared(members: Sequence[TrainedRun], left_out: list[str]) -> list[Comparison]:
    """One comparison of all folds, or of each split where a fold is missing, which is noted."""
    by_split: dict[str, list[Entry]] = {}
    for one in members:
        by_split.setdefault(one.run.info.split_hash, []).append(read_entry(one.run))
    if len(by_split) > 1:
        try:
            return [compare_entries([one for part in by_split.values() for one in part])]
        except UserError as error:
            left_out.append(f"folds are not pooled: {str(error).removeprefix('compare: ')}")
    return [compare_entries(part) for part in by_split.values()]


def _names(comparison: Comparison) -> set[tuple[str, str]]:
    return {(comparison.split_hash, group.name) for group in comparison.groups}


def _within(small: Comparison, large: Comparison) -> bool:
    """Whether ``large`` judged every run of ``small``, with the same figures."""
    return small.split_hash == large.split_hash and all(
        any(group.seeds == other.seeds for other in large.groups) for group in small.groups
    )


def _one_each(members: Sequence[TrainedRun]) -> list[TrainedRun]:
    names = [one.name for one in members]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise UserError(
            f"report: two runs are called {twice[0]}; give each a name of its own, or report one"
        )
    return list(members)
