"""The comparisons that a report shows: one per split of the evaluated runs, and those given as
files.
"""

from collections.abc import Sequence

from mobilekd.formats.comparison import Comparison
from mobilekd.metrics.entries import read_entry
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
    by_split: dict[str, list[TrainedRun]] = {}
    for one in runs:
        if one.evaluation is not None:
            by_split.setdefault(one.run.info.split_hash, []).append(one)
    made = [
        compare_entries([read_entry(one.run) for one in _one_each(members)])
        for members in by_split.values()
    ]
    others = [one for one in given if not any(_names(one) <= _names(new) for new in made)]
    if len(others) < len(given):
        left_out.append(
            f"{len(given) - len(others)} of {len(given)} comparison files: their runs are here and"
            " are compared anew"
        )
    return [one for one in made if not any(_within(one, other) for other in others)] + others


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
