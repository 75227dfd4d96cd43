"""Students side by side: seeds pooled, differences to controls and teachers paired over lesions,
claims corrected by Holm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilekd.formats.comparison import Claim, Comparison, Group, OriginCounts, SeedScores
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
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
    judged = _Judged(first, draws, seed)
    origins = _by_origin(first)
    runs = {one.name: judged.figures(one.predictions) for one in entries}
    pools = _pools(
        entries,
        runs,
        {
            origin: {one.name: judged.figures_of_origin(one.predictions, rows) for one in entries}
            for origin, rows in origins.items()
        },
    )
    groups = [_group(pool, _control(pool, pools), runs, judged) for pool in pools]
    answers = first.predictions
    return Comparison(
        schema_version=1,
        kind="comparison",
        split_hash=first.split_hash,
        leaky=first.leaky,
        photographs=len(answers.ids),
        lesions=len(set(answers.lesions)),
        draws=draws,
        labels=answers.keys,
        class_names={label.key: label.text for label in first.labels},
        **_protocol(first),
        **({"origins": _counts(first, origins)} if origins else {}),
        groups=tuple(groups),
        claims=_claims(groups),
    )


@dataclass(frozen=True)
class _Judged:
    """The photographs that all entries judged, ``first`` before the others, and how the figures of
    answers to them are drawn.
    """

    first: Entry
    draws: int
    seed: int

    def figures(self, answers: Predictions) -> dict[str, Draws]:
        """Every metric that a comparison shows."""
        own = self.first.predictions
        recalls = [f"recall.{key}" for i, key in enumerate(own.keys) if (own.truth == i).any()]
        return self.drawn(answers, [*SHOWN, *recalls, *self._of_melanoma(own.truth)])

    def figures_of_origin(self, answers: Predictions, rows: np.ndarray) -> dict[str, Draws]:
        """The metrics that are shown of the photographs ``rows`` of one origin."""
        present = self.first.predictions.truth[rows]
        return self.drawn(answers, [*BY_ORIGIN, *self._of_melanoma(present)], rows)

    def drawn(
        self, answers: Predictions, names: Sequence[str], rows: np.ndarray | None = None
    ) -> dict[str, Draws]:
        """The metrics ``names``, on all photographs or on ``rows``; always with the same draws of
        lesions, so that differences are paired.
        """
        own = self.first.predictions
        rows = np.arange(len(own.ids)) if rows is None else rows
        return metric_draws(
            names,
            own.truth[rows],
            answers.aligned(own.ids).probabilities[rows],
            [own.lesions[row] for row in rows],
            self._classes,
            draws=self.draws,
            seed=self.seed,
        )

    @property
    def _classes(self) -> list[Label | str]:
        roles = {label.key: label for label in self.first.labels}
        return [roles.get(key, key) for key in self.first.predictions.keys]

    def _of_melanoma(self, truth: np.ndarray) -> list[str]:
        """Melanoma's own metric, where ``truth`` holds one."""
        there = np.isin(truth, list(class_groups(self._classes)["melanoma"])).any()
        return ["melanoma_sensitivity_at_95_specificity"] if there else []


@dataclass(frozen=True)
class _Pool:
    """The runs of one recipe, a seed each, as one figure for each metric."""

    title: str
    members: list[Entry]
    metrics: dict[str, Draws]
    origins: dict[str, dict[str, Draws]]  # the same on the photographs of each origin


def _pools(
    entries: Sequence[Entry],
    runs: dict[str, dict[str, Draws]],
    origins: dict[str, dict[str, dict[str, Draws]]],
) -> list[_Pool]:
    """The recipes of ``entries``, controls last, from the figures of each run, ``runs``, and of
    each run on each origin's photographs, ``origins``.
    """
    by_recipe: dict[str, list[Entry]] = {}
    for one in sorted(entries, key=lambda one: one.is_control):
        by_recipe.setdefault(one.recipe, []).append(one)

    def pool(
        figures: dict[str, dict[str, Draws]], members: list[Entry], stream: int
    ) -> dict[str, Draws]:
        return {
            name: pooled([figures[one.name][name] for one in members], stream)
            for name in figures[members[0].name]
        }

    return [
        _Pool(
            group_name([one.name for one in members]),
            members,
            pool(runs, members, stream),
            {origin: pool(figures, members, stream) for origin, figures in origins.items()},
        )
        for stream, members in enumerate(by_recipe.values())
    ]


def _control(pool: _Pool, pools: Sequence[_Pool]) -> _Pool | None:
    """The recipe whose runs are the controls of ``pool``'s, if it is here and another one."""
    pool_of = {one.name: other for other in pools for one in other.members}
    named = (pool_of[one.control] for one in pool.members if one.control in pool_of)
    control = next(named, None)
    return None if control is pool else control


def _group(
    pool: _Pool, control: _Pool | None, runs: dict[str, dict[str, Draws]], judged: _Judged
) -> Group:
    """A recipe beside its control and its teacher."""
    facts = _scores(pool, runs)
    if pool.origins:
        facts["origins"] = {
            origin: {name: _figure(name, one) for name, one in metrics.items()}
            for origin, metrics in pool.origins.items()
        }
    if control is not None:
        facts |= _beside_control(pool, control)
    taught = [one for one in pool.members if one.teacher_predictions is not None]
    if taught and not pool.members[0].is_control:
        facts |= _beside_teacher(taught, runs, judged)
    return Group(**facts)


def _beside_control(pool: _Pool, control: _Pool) -> dict[str, Any]:
    """What a student gains over its control, with p-values of what is claimed."""
    gains = {name: pool.metrics[name] - control.metrics[name] for name in pool.metrics}
    facts = {
        "control": control.title,
        "difference": {name: _figure(name, gain) for name, gain in gains.items()},
        "p": {name: p_value(gains[name]) for name in CLAIMS},
    }
    if pool.origins:
        facts["origin_difference"] = {
            origin: _gain(pool.origins[origin], control.origins[origin]) for origin in pool.origins
        }
    return facts


def _gain(student: dict[str, Draws], control: dict[str, Draws]) -> Interval:
    gain = student["balanced_accuracy"] - control["balanced_accuracy"]
    return interval(gain.value, gain.spread)


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


def _scores(pool: _Pool, runs: dict[str, dict[str, Draws]]) -> dict[str, Any]:
    """The fields of a ``Group`` that it has whatever stands beside it."""
    seeds = tuple(
        SeedScores(
            run=one.name,
            seed=one.seed,
            balanced_accuracy=runs[one.name]["balanced_accuracy"].value,
            accuracy=runs[one.name]["accuracy"].value,
            nll=runs[one.name]["nll"].value,
        )
        for one in pool.members
    )
    return {
        "name": pool.title,
        "is_control": pool.members[0].is_control,
        "facts": pool.members[0].facts,
        "seeds": seeds,
        "metrics": {name: _figure(name, draws) for name, draws in pool.metrics.items()},
        "control": None,
    }


def _beside_teacher(
    members: Sequence[Entry], runs: dict[str, dict[str, Draws]], judged: _Judged
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
            - judged.drawn(one.teacher_predictions, ["balanced_accuracy"])["balanced_accuracy"]
        )
    assert members[0].teacher_predictions is not None
    figures = judged.drawn(members[0].teacher_predictions, list(SHOWN))
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
