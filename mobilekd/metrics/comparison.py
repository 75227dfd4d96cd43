"""Students side by side: seeds pooled, differences to controls and teachers paired over lesions,
claims corrected by Holm.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from mobilekd.metrics import Draws, groups, interval, metric_draws, pooled
from mobilekd.metrics.predictions import Predictions
from mobilekd.metrics.stats import holm, verdict
from mobilekd.support.errors import UserError

#: The primary metric and the secondary one, with the sign that a better student gives its
#: difference.
CLAIMS = {"balanced_accuracy": 1, "nll": -1}
#: A student is not worse than its teacher when the lower bound of the difference lies above this.
MARGIN = -0.01
SHOWN = ("balanced_accuracy", "accuracy", "macro_f1", "macro_auc", "nll", "ece", "brier")


@dataclass(frozen=True, eq=False)
class Contestant:
    """One evaluated run."""

    name: str
    recipe: str  # the same for all seeds of one recipe
    seed: int
    is_control: bool
    control: str | None  # name of the run without a teacher
    split_hash: str
    leaky: bool
    judged: Predictions
    teacher: Predictions | None = None
    facts: dict[str, Any] | None = None  # parameters, MACs, bytes, losses


def p_value(difference: Draws) -> float:
    """Two-sided bootstrap p-value against no difference."""
    count = len(difference.spread)
    tail = min(int((difference.spread <= 0).sum()), int((difference.spread >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (count + 1))


def compared(
    contestants: Sequence[Contestant], *, draws: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Everything about ``contestants`` as one JSON document; all must have judged the same
    photographs of one split.
    """
    first = _aligned(contestants)
    ids, keys, lesions, truth = (
        first.judged.ids,
        first.judged.keys,
        first.judged.lesions,
        first.judged.truth,
    )
    names = [*SHOWN, *(f"recall.{key}" for i, key in enumerate(keys) if (truth == i).any())]
    if any((truth == index).any() for index in groups(keys)["melanoma"]):
        names.append("melanoma_sensitivity_at_95_specificity")

    def drawn(answers: Predictions, wanted: Sequence[str]) -> dict[str, Draws]:
        return metric_draws(
            wanted, truth, answers.aligned(ids).probabilities, lesions, keys, draws=draws, seed=seed
        )

    by_recipe: dict[str, list[Contestant]] = {}
    for one in sorted(contestants, key=lambda one: one.is_control):
        by_recipe.setdefault(one.recipe, []).append(one)
    runs = {one.name: drawn(one.judged, names) for one in contestants}
    titles = {
        recipe: group_name([one.name for one in members]) for recipe, members in by_recipe.items()
    }
    pools = {
        recipe: {name: pooled([runs[one.name][name] for one in members], stream) for name in names}
        for stream, (recipe, members) in enumerate(by_recipe.items())
    }
    recipe_of = {one.name: one.recipe for one in contestants}
    entries = []
    for recipe, members in by_recipe.items():
        control = next(
            (recipe_of[one.control] for one in members if one.control in recipe_of), None
        )
        entry = _group(titles[recipe], members, runs, pools[recipe])
        if control is not None and control != recipe:
            entry["control"] = titles[control]
            entry["difference"] = {
                name: _figure(name, pools[recipe][name] - pools[control][name]) for name in names
            }
            entry["p"] = {
                name: p_value(pools[recipe][name] - pools[control][name]) for name in CLAIMS
            }
        taught = [one for one in members if one.teacher is not None]
        if taught and not members[0].is_control:
            entry |= _beside_teacher(taught, runs, drawn)
        entries.append(entry)
    return {
        "schema_version": 1,
        "kind": "comparison",
        "split_hash": first.split_hash,
        "leaky": first.leaky,
        "photographs": len(ids),
        "lesions": len(set(lesions)),
        "draws": draws,
        "labels": list(keys),
        "groups": entries,
        "claims": _claims(entries),
    }


def _aligned(contestants: Sequence[Contestant]) -> Contestant:
    if not contestants:
        raise UserError("compare: nothing to compare; name at least one run")
    first = contestants[0]
    for one in contestants[1:]:
        if one.name == first.name:
            raise UserError(
                f"compare: two runs are called {one.name}; each needs a name of its own"
            )
        if one.split_hash != first.split_hash or set(one.judged.ids) != set(first.judged.ids):
            raise UserError(
                f"compare: {one.name} was judged on another split ({one.split_hash[:12]}) than"
                f" {first.name} ({first.split_hash[:12]}); compare runs of one split only"
            )
        if one.judged.keys != first.judged.keys:
            raise UserError(
                f"compare: {one.name} has other classes than {first.name}; compare runs of one data"
                " set only"
            )
    return first


def group_name(names: Sequence[str]) -> str:
    """What the runs of one recipe are called together: their name without the seed, wherever it
    stands, else the beginning they share.
    """
    if len(names) == 1:
        return names[0]
    bare = {re.sub(r"[-_.]?(seed|s)?\d+$", "", name) for name in names}
    shared = bare.pop() if len(bare) == 1 else ""
    words = [re.findall(r"[-_.]?[^-_.]+", name) for name in names]
    start = _shared(words)
    end = _shared([list(reversed(one[len(start) :])) for one in words])[::-1]
    return shared or "".join(start + end) or "".join(_shared(names)) or names[0]


def _shared(names: Sequence[Sequence[str]]) -> list[str]:
    """The beginning that all share, part by part."""
    return [
        parts[0]
        for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*names, strict=False))
    ]


def _figure(name: str, draws: Draws) -> dict[str, Any]:
    return interval(
        draws.value, draws.spread, centred=name == "ece" and draws.value >= 0
    ).model_dump()


def _group(
    title: str,
    members: Sequence[Contestant],
    runs: dict[str, dict[str, Draws]],
    pool: dict[str, Draws],
) -> dict[str, Any]:
    return {
        "name": title,
        "is_control": members[0].is_control,
        "facts": members[0].facts or {},
        "seeds": [
            {
                "run": one.name,
                "seed": one.seed,
                **{
                    name: runs[one.name][name].value
                    for name in ("balanced_accuracy", "accuracy", "nll")
                },
            }
            for one in members
        ],
        "metrics": {name: _figure(name, draws) for name, draws in pool.items()},
        "control": None,
    }


def _beside_teacher(
    members: Sequence[Contestant],
    runs: dict[str, dict[str, Draws]],
    drawn: Callable[[Predictions, Sequence[str]], dict[str, Draws]],
) -> dict[str, Any]:
    """Agreement with the teacher, its own figures, and whether the student is worse by no more than
    the margin.
    """
    agreement, differences = [], []
    for one in members:
        assert one.teacher is not None
        said = one.teacher.aligned(one.judged.ids).probabilities.argmax(1)
        agreement.append(float((said == one.judged.probabilities.argmax(1)).mean()))
        differences.append(
            runs[one.name]["balanced_accuracy"]
            - drawn(one.teacher, ["balanced_accuracy"])["balanced_accuracy"]
        )
    assert members[0].teacher is not None
    figures = drawn(members[0].teacher, list(SHOWN))
    gap = pooled(differences, 10_000)
    bound = interval(gap.value, gap.spread)
    return {
        "teacher": {name: _figure(name, one) for name, one in figures.items()},
        "teacher_agreement": float(np.mean(agreement)),
        "teacher_difference": bound.model_dump(),
        "margin": MARGIN,
        "not_inferior": bool(bound.low is not None and bound.low > MARGIN),
    }


def _claims(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every student against its control on the primary and the secondary metric, Holm-corrected
    together.
    """
    claims = [
        {
            "student": entry["name"],
            "control": entry["control"],
            "metric": name,
            "difference": entry["difference"][name],
            "p": entry["p"][name],
        }
        for entry in entries
        if entry["control"] is not None
        for name in CLAIMS
    ]
    for claim, adjusted in zip(claims, holm([claim["p"] for claim in claims]), strict=True):
        claim["p_holm"] = adjusted
        claim["holds"] = (
            verdict(adjusted, claim["difference"]["value"] * CLAIMS[claim["metric"]]) == "better"
        )
    return claims
