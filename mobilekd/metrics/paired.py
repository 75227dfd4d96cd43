"""Students side by side: seeds pooled, differences to controls and teachers paired over lesions,
claims corrected by Holm.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mobilekd.formats.comparison import Claim, Comparison, Group, OriginCounts, SeedScores
from mobilekd.formats.interval import Interval
from mobilekd.metrics import Draws, interval, metric_draws, pooled
from mobilekd.metrics.entries import Entry, group_name
from mobilekd.metrics.folds import pool_folds
from mobilekd.metrics.predictions import Predictions
from mobilekd.metrics.registry import DEFINITIONS, class_groups, definition
from mobilekd.metrics.shapes import LEAST, UNKNOWN
from mobilekd.metrics.stats import holm, verdict
from mobilekd.support.errors import UserError
from mobilekd.support.text import listed

#: The primary metric and the secondary one, with the sign that a better student gives its
#: difference.
CLAIMS = {
    name: 1 if definition(name).better == "higher" else -1 for name in ("balanced_accuracy", "nll")
}
#: A student is not worse than its teacher when the lower bound of the difference lies above this.
MARGIN = -0.01
#: Shown of each origin.
BY_ORIGIN = ("balanced_accuracy", "accuracy", "ece")
SHOWN = tuple(one.key for one in DEFINITIONS if one.compared)


def p_value(difference: Draws) -> float:
    """Two-sided bootstrap p-value against no difference."""
    count = len(difference.spread)
    tail = min(int((difference.spread <= 0).sum()), int((difference.spread >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (count + 1))


def compare_entries(entries: Sequence[Entry], *, draws: int = 2000, seed: int = 0) -> Comparison:
    """Everything about ``entries``; all must have judged the same photographs of one split, or all
    folds of one data set, which are pooled.
    """
    entries = pool_folds(entries)
    first = _aligned(entries)
    ids, keys, lesions, truth = (
        first.predictions.ids,
        first.predictions.keys,
        first.predictions.lesions,
        first.predictions.truth,
    )
    names = [*SHOWN, *(f"recall.{key}" for i, key in enumerate(keys) if (truth == i).any())]
    roles = {label.key: label for label in first.labels}
    classes = [roles.get(key, key) for key in keys]
    if any((truth == index).any() for index in class_groups(classes)["melanoma"]):
        names.append("melanoma_sensitivity_at_95_specificity")

    def drawn(answers: Predictions, wanted: Sequence[str]) -> dict[str, Draws]:
        return metric_draws(
            wanted,
            truth,
            answers.aligned(ids).probabilities,
            lesions,
            classes,
            draws=draws,
            seed=seed,
        )

    inside = _by_origin(first)

    def drawn_there(one: Entry, rows: np.ndarray) -> dict[str, Draws]:
        present = truth[rows]
        wanted = [*BY_ORIGIN]
        if any((present == i).any() for i in class_groups(classes)["melanoma"]):
            wanted.append("melanoma_sensitivity_at_95_specificity")
        return metric_draws(
            wanted,
            present,
            one.predictions.aligned(ids).probabilities[rows],
            [lesions[row] for row in rows],
            classes,
            draws=draws,
            seed=seed,
        )

    by_recipe: dict[str, list[Entry]] = {}
    for one in sorted(entries, key=lambda one: one.is_control):
        by_recipe.setdefault(one.recipe, []).append(one)
    runs = {one.name: drawn(one.predictions, names) for one in entries}
    titles = {
        recipe: group_name([one.name for one in members]) for recipe, members in by_recipe.items()
    }
    pools = {
        recipe: {name: pooled([runs[one.name][name] for one in members], stream) for name in names}
        for stream, (recipe, members) in enumerate(by_recipe.items())
    }
    there = {
        origin: _pools(
            {one.name: drawn_there(one, rows) for one in entries}, list(by_recipe.values())
        )
        for origin, rows in inside.items()
    }
    recipe_of = {one.name: one.recipe for one in entries}
    groups = []
    for recipe, members in by_recipe.items():
        control = next(
            (recipe_of[one.control] for one in members if one.control in recipe_of), None
        )
        facts = _scores(titles[recipe], members, runs, pools[recipe])
        if control is not None and control != recipe:
            gains = {name: pools[recipe][name] - pools[control][name] for name in names}
            facts |= {
                "control": titles[control],
                "difference": {name: _figure(name, gain) for name, gain in gains.items()},
                "p": {name: p_value(gains[name]) for name in CLAIMS},
            }
        place = list(by_recipe).index(recipe)
        if inside:
            facts["origins"] = {
                origin: {name: _figure(name, one) for name, one in pool[place].items()}
                for origin, pool in there.items()
            }
        if inside and control is not None and control != recipe:
            other = list(by_recipe).index(control)
            gained = {
                origin: pool[place]["balanced_accuracy"] - pool[other]["balanced_accuracy"]
                for origin, pool in there.items()
            }
            facts["origin_difference"] = {
                origin: interval(gain.value, gain.spread) for origin, gain in gained.items()
            }
        taught = [one for one in members if one.teacher_predictions is not None]
        if taught and not members[0].is_control:
            facts |= _beside_teacher(taught, runs, drawn)
        groups.append(Group(**facts))
    return Comparison(
        schema_version=1,
        kind="comparison",
        split_hash=first.split_hash,
        leaky=first.leaky,
        photographs=len(ids),
        lesions=len(set(lesions)),
        draws=draws,
        labels=keys,
        class_names={label.key: label.text for label in first.labels},
        **_protocol(first),
        **({"origins": _counts(first, inside)} if inside else {}),
        groups=tuple(groups),
        claims=_claims(groups),
    )


def _pools(
    runs: dict[str, dict[str, Draws]], groups: Sequence[Sequence[Entry]]
) -> list[dict[str, Draws]]:
    """The seeds of each group as one figure for each metric."""
    return [
        {
            name: pooled([runs[one.name][name] for one in members], stream)
            for name in runs[members[0].name]
        }
        for stream, members in enumerate(groups)
    ]


def _protocol(first: Entry) -> dict[str, Any]:
    """Who judged, where that is out of fold or an origin left out of training."""
    if first.pooled:
        return {"folds": first.folds}
    return {"test_origin": first.test_origin} if first.test_origin else {}


def _by_origin(first: Entry) -> dict[str, np.ndarray]:
    """Rows of each origin that has enough photographs for a figure; empty where none is known."""
    if not any(first.origins):
        return {}
    origins = np.array([origin or UNKNOWN for origin in first.origins])
    rows = {str(origin): np.flatnonzero(origins == origin) for origin in np.unique(origins)}
    return {origin: inside for origin, inside in rows.items() if len(inside) >= LEAST}


def _counts(first: Entry, inside: dict[str, np.ndarray]) -> dict[str, OriginCounts]:
    answers = first.predictions
    return {
        origin: OriginCounts(
            photographs=len(rows),
            lesions=len({answers.lesions[row] for row in rows}),
            classes=len(np.unique(answers.truth[rows])),
        )
        for origin, rows in inside.items()
    }


def _aligned(entries: Sequence[Entry]) -> Entry:
    """The first entry, once all are known to have judged what it judged."""
    if not entries:
        raise UserError("compare: nothing to compare; name at least one run")
    names = [one.name for one in entries]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"compare: two runs are called {name}; each needs a name of its own")
    for one in entries:
        _check_alike(one, entries[0])
        if one.teacher_predictions is not None:
            _check_photographs(f"{one.name}'s teacher", one.teacher_predictions, one.predictions)
    return entries[0]


def _check_alike(one: Entry, first: Entry) -> None:
    if one.split_hash != first.split_hash:
        raise UserError(
            f"compare: {one.name} was judged on another split ({one.split_hash[:12]}) than"
            f" {first.name} ({first.split_hash[:12]}); compare runs of one split only"
        )
    if one.predictions.keys != first.predictions.keys:
        raise UserError(
            f"compare: {one.name} has other classes than {first.name}; compare runs of one data"
            " set only"
        )
    _check_photographs(one.name, one.predictions, first.predictions)


def _check_photographs(name: str, answers: Predictions, wanted: Predictions) -> None:
    """The same photographs with the same labels and lesions, in whatever order."""
    missing = sorted(set(wanted.ids) - set(answers.ids))
    extra = sorted(set(answers.ids) - set(wanted.ids))
    if missing or extra:
        which = f"lack {len(missing)}" if missing else f"have {len(extra)} more"
        raise UserError(
            f"compare: {name}: its predictions {which} of {len(wanted.ids)} photographs:"
            f" {listed(missing or extra)}; evaluate it again"
        )
    aligned = answers.aligned(wanted.ids)
    other = [
        wanted.ids[row]
        for row in range(len(wanted.ids))
        if answers.keys[aligned.truth[row]] != wanted.keys[wanted.truth[row]]
        or aligned.lesions[row] != wanted.lesions[row]
    ]
    if answers.keys != wanted.keys or other:
        raise UserError(
            f"compare: {name}: its predictions have other classes, labels or lesions than the"
            f" others'{f' for {len(other)}: {listed(other)}' if other else ''}; evaluate it again"
        )


def _figure(name: str, draws: Draws) -> Interval:
    return interval(
        draws.value, draws.spread, centred=definition(name).centred and draws.value >= 0
    )


def _scores(
    title: str,
    members: Sequence[Entry],
    runs: dict[str, dict[str, Draws]],
    pool: dict[str, Draws],
) -> dict[str, Any]:
    """The fields of a ``Group`` that it has whatever stands beside it."""
    seeds = tuple(
        SeedScores(
            run=one.name,
            seed=one.seed,
            balanced_accuracy=runs[one.name]["balanced_accuracy"].value,
            accuracy=runs[one.name]["accuracy"].value,
            nll=runs[one.name]["nll"].value,
        )
        for one in members
    )
    return {
        "name": title,
        "is_control": members[0].is_control,
        "facts": members[0].facts,
        "seeds": seeds,
        "metrics": {name: _figure(name, draws) for name, draws in pool.items()},
        "control": None,
    }


def _beside_teacher(
    members: Sequence[Entry],
    runs: dict[str, dict[str, Draws]],
    drawn: Callable[[Predictions, Sequence[str]], dict[str, Draws]],
) -> dict[str, Any]:
    """Agreement with the teacher, its own figures, and whether the student is worse by no more than
    the margin.
    """
    agreement, differences = [], []
    for one in members:
        assert one.teacher_predictions is not None
        said = one.teacher_predictions.aligned(one.predictions.ids).probabilities.argmax(1)
        agreement.append(float((said == one.predictions.probabilities.argmax(1)).mean()))
        differences.append(
            runs[one.name]["balanced_accuracy"]
            - drawn(one.teacher_predictions, ["balanced_accuracy"])["balanced_accuracy"]
        )
    assert members[0].teacher_predictions is not None
    figures = drawn(members[0].teacher_predictions, list(SHOWN))
    gap = pooled(differences, 10_000)
    bound = interval(gap.value, gap.spread)
    return {
        "teacher": {name: _figure(name, one) for name, one in figures.items()},
        "teacher_agreement": float(np.mean(agreement)),
        "teacher_difference": bound,
        "margin": MARGIN,
        "not_inferior": bool(bound.low is not None and bound.low > MARGIN),
    }


def _claims(groups: Sequence[Group]) -> tuple[Claim, ...]:
    """Every student against its control on the primary and the secondary metric, Holm-corrected
    together.
    """
    pairs = [(group, name) for group in groups if group.control is not None for name in CLAIMS]
    corrected = holm([group.p[name] for group, name in pairs])
    claims = []
    for (group, name), p in zip(pairs, corrected, strict=True):
        difference = group.difference[name]
        assert group.control is not None
        assert difference.value is not None
        claims.append(
            Claim(
                student=group.name,
                control=group.control,
                metric=name,
                difference=difference,
                p=group.p[name],
                p_holm=p,
                holds=verdict(p, difference.value * CLAIMS[name]) == "better",
            )
        )
    return tuple(claims)
