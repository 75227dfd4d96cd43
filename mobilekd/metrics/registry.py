"""Every metric once: its key in ``metrics.json``, its words, unit and direction, and how it is
computed.

Add here one :class:`Definition`. Evaluations, comparisons, the reference page and the tests that
run over all metrics find it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

import mobilekd.metrics.weighted as weighted
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.labels import GROUPS, Label
from mobilekd.formats.roles import guess
from mobilekd.metrics.weighted import Metric
from mobilekd.support.errors import UserError
from mobilekd.support.words import unknown


@dataclass(frozen=True, eq=False)
class Judged:
    """What a metric may need to know of the photographs, beside truth and probabilities."""

    keys: tuple[str, ...]  # the classes
    groups: Mapping[str, tuple[int, ...]]  # their columns by group
    present: frozenset[int] | None = None  # classes with an example; None where nobody asks
    calibration: Calibration | None = None
    teacher: np.ndarray | None = None  # [N, C], the teacher's answers


#: What computes a metric; or, in words, why nothing can; or None where nobody wants it.
Made = Metric | str | None


@dataclass(frozen=True, eq=False)
class Definition:
    """One metric, or one of each class or group of classes."""

    key: str  # in metrics.json; CLASS or GROUP stands for each of them
    words: str  # in a sentence or table; CLASS or GROUP likewise
    meaning: str
    unit: str
    better: Literal["higher", "lower", ""]
    make: Callable[[Judged, str], Made]  # of the class or group; "" where there is one only
    source: str = ""
    #: Hugging Face's name for the kind of metric; empty where its index has none.
    index: str = ""
    #: Shown where students are compared.
    compared: bool = False
    #: Resampling can only add to it, so its draws are moved by their median's bias.
    centred: bool = False
    #: Of the classes melanoma is what matters most.
    melanoma_first: bool = False

    @property
    def each(self) -> str:
        """``CLASS`` or ``GROUP``, or empty."""
        return next((each for each in ("CLASS", "GROUP") if each in self.key), "")


def _plain(metric: Metric) -> Callable[[Judged, str], Made]:
    """What needs nothing but truth and probabilities."""
    return lambda judged, which: metric


def _meaning(function: Callable[..., object]) -> str:
    return " ".join((function.__doc__ or "").split())


def _auc(judged: Judged, which: str) -> Made:
    if judged.present is not None and len(judged.present) < 2:
        return "needs two classes with an example"
    return weighted.macro_auc


def _recall(judged: Judged, which: str) -> Made:
    index = judged.keys.index(which)
    if judged.present is not None and index not in judged.present:
        return f"no example of {which} in this set"
    return weighted.recall_of(index)


def _of_group(make: Callable[[tuple[int, ...]], Metric]) -> Callable[[Judged, str], Made]:
    def made(judged: Judged, which: str) -> Made:
        return _why_not(judged, which) or make(judged.groups[which])

    return made


def _at_point(make: Callable[[tuple[int, ...], float], Metric]) -> Callable[[Judged, str], Made]:
    def made(judged: Judged, which: str) -> Made:
        points = judged.calibration.operating_points if judged.calibration else {}
        if which not in points:
            return None
        return _why_not(judged, which) or make(judged.groups[which], points[which])

    return made


def _why_not(judged: Judged, group: str) -> str | None:
    indices, present = set(judged.groups[group]), judged.present
    if not indices:
        return f"no class is known to be {group}; [data.roles] of the recipe says which is"
    if present is None:
        return None
    if not present & indices:
        return f"no {group} example in this set"
    return None if present - indices else f"every example in this set is {group}"


def _at_threshold(make: Callable[[float], Metric]) -> Callable[[Judged, str], Made]:
    return lambda judged, which: make(judged.calibration.threshold) if judged.calibration else None


def _least(judged: Judged) -> np.ndarray | None:
    """The least probability with which each class is in a set, ``[C]``; None without sets."""
    sets = judged.calibration.sets if judged.calibration else None
    return None if sets is None else np.array([sets.thresholds[key] for key in judged.keys])


def _in_set(judged: Judged, which: str) -> Made:
    least, index = _least(judged), judged.keys.index(which)
    if least is None:
        return None
    if judged.present is not None and index not in judged.present:
        return f"no example of {which} in this set"
    return weighted.in_set(index, least)


def _of_sets(make: Callable[[np.ndarray], Metric]) -> Callable[[Judged, str], Made]:
    def made(judged: Judged, which: str) -> Made:
        least = _least(judged)
        return None if least is None else make(least)

    return made


def _agreement(judged: Judged, which: str) -> Made:
    if judged.teacher is None:
        return None
    said = judged.teacher.argmax(1)
    return lambda truth, probabilities, weights: weighted.average(
        (probabilities.argmax(1) == said).astype(float), weights
    )


#: Every metric, in the order of ``metrics.json``.
DEFINITIONS = [
    Definition(
        "accuracy",
        "accuracy",
        _meaning(weighted.accuracy),
        "share",
        "higher",
        _plain(weighted.accuracy),
        index="accuracy",
        compared=True,
    ),
    Definition(
        "balanced_accuracy",
        "balanced accuracy",
        _meaning(weighted.balanced_accuracy),
        "share",
        "higher",
        _plain(weighted.balanced_accuracy),
        "scikit-learn `balanced_accuracy_score`",
        index="balanced_accuracy",
        compared=True,
    ),
    Definition(
        "macro_f1",
        "macro F1",
        _meaning(weighted.macro_f1),
        "share",
        "higher",
        _plain(weighted.macro_f1),
        "scikit-learn `f1_score(average='macro')`",
        index="f1",
        compared=True,
    ),
    Definition(
        "macro_auc",
        "macro AUC, one against rest",
        _meaning(weighted.macro_auc),
        "share",
        "higher",
        _auc,
        "scikit-learn `roc_auc_score(multi_class='ovr')`",
        index="roc_auc",
        compared=True,
    ),
    Definition(
        "nll",
        "negative log-likelihood, nats",
        _meaning(weighted.nll),
        "nats",
        "lower",
        _plain(weighted.nll),
        "scikit-learn `log_loss`",
        compared=True,
    ),
    Definition(
        "ece",
        "expected calibration error",
        _meaning(weighted.ece),
        "share",
        "lower",
        _plain(weighted.ece),
        "Guo et al. 2017, arXiv 1706.04599",
        index="ece",
        compared=True,
        centred=True,
    ),
    Definition(
        "brier",
        "Brier score",
        _meaning(weighted.brier),
        "0 to 2",
        "lower",
        _plain(weighted.brier),
        "Brier 1950",
        compared=True,
    ),
    Definition(
        "aurc",
        "area under the risk-coverage curve",
        _meaning(weighted.aurc),
        "error rate",
        "lower",
        _plain(weighted.aurc),
        "Geifman and El-Yaniv 2017, arXiv 1705.08500",
    ),
    Definition(
        "GROUP_sensitivity_at_95_specificity",
        "GROUP's sensitivity at 95% specificity",
        "Sensitivity at the lowest threshold on this set's own curve whose specificity is at least"
        " 95%.",
        "share",
        "higher",
        _of_group(weighted.sensitivity_at_specificity),
        index="recall",
    ),
    Definition(
        "GROUP_sensitivity",
        "GROUP's sensitivity at the threshold of validation",
        "Share of the group's photographs whose score reaches the threshold that validation fixed.",
        "share",
        "higher",
        _at_point(weighted.sensitivity_at),
    ),
    Definition(
        "GROUP_specificity",
        "GROUP's specificity at that threshold",
        "Share of the other photographs whose score stays below the threshold that validation"
        " fixed.",
        "share",
        "higher",
        _at_point(weighted.specificity_at),
    ),
    Definition(
        "recall.CLASS",
        "recall of CLASS",
        "Share found of the photographs of a class.",
        "share",
        "higher",
        _recall,
    ),
    Definition(
        "coverage",
        'share of photographs that are answered, not "not sure"',
        "Share of photographs that get an answer: top probability at or above the threshold of"
        ' "not sure".',
        "share",
        "higher",
        _at_threshold(weighted.coverage_at),
    ),
    Definition(
        "selective_accuracy",
        "accuracy among those",
        _meaning(weighted.selective_accuracy_at),
        "share",
        "higher",
        _at_threshold(weighted.selective_accuracy_at),
    ),
    Definition(
        "set_coverage.CLASS",
        "share of CLASS whose set holds it",
        "Share of the photographs of a class whose set of classes that cannot be excluded holds it."
        " Melanoma's comes first.",
        "share",
        "higher",
        _in_set,
        melanoma_first=True,
    ),
    Definition(
        "set_coverage",
        "share of photographs whose set holds their class",
        _meaning(weighted.in_any_set),
        "share",
        "higher",
        _of_sets(weighted.in_any_set),
    ),
    Definition(
        "set_size",
        "classes in a set, on average",
        _meaning(weighted.set_size),
        "classes",
        "lower",
        _of_sets(weighted.set_size),
    ),
    Definition(
        "set_of_one",
        "share of photographs whose set has one class",
        "Share of photographs for which every other class is excluded.",
        "share",
        "higher",
        _of_sets(lambda least: weighted.set_of(1, least)),
    ),
    Definition(
        "set_empty",
        "share of photographs whose set is empty",
        "Share of photographs for which no class fits.",
        "share",
        "",
        _of_sets(lambda least: weighted.set_of(0, least)),
    ),
    Definition(
        "teacher_agreement",
        "agreement with the teacher",
        "Share of photographs for which student and teacher decide alike.",
        "share",
        "",
        _agreement,
    ),
]


def definition(key: str) -> Definition:
    """The definition behind a key of ``metrics.json``; ``UserError`` where there is none."""
    for one in DEFINITIONS:
        names = GROUPS if one.each == "GROUP" else ()
        if key in (one.key, *(one.key.replace("GROUP", name) for name in names)):
            return one
        if one.each == "CLASS" and key.startswith(one.key.removesuffix("CLASS")):
            return one
    raise UserError(unknown(f"metric {key}", key, [one.key for one in DEFINITIONS]))


def in_words(key: str, texts: Mapping[str, str] | None = None) -> str:
    """A metric's name in a table: ``melanoma's sensitivity at 95% specificity``. A class is named
    by its text where ``texts`` has its key.
    """
    one = definition(key)
    if not one.each:
        return one.words
    before, _, after = one.key.partition(one.each)
    which = key[len(before) : len(key) - len(after)]
    if one.each == "CLASS" and texts is not None:
        which = texts.get(which, which)
    return one.words.replace(one.each, which)


def all_metrics(judged: Judged) -> Iterator[tuple[str, Metric | str]]:
    """Every metric that somebody wants, by its key: what computes it, or why nothing can."""
    members = {"": [""], "CLASS": list(judged.keys), "GROUP": list(judged.groups)}
    melanoma = [judged.keys[index] for index in judged.groups.get("melanoma", ())]
    for (each, first), definitions in groupby(
        DEFINITIONS, lambda one: (one.each, one.melanoma_first)
    ):
        several = list(definitions)
        order = members[each]
        for which in sorted(order, key=lambda key: key not in melanoma) if first else order:
            for one in several:
                made = one.make(judged, which)
                if made is not None:
                    yield (one.key.replace(each, which) if each else one.key), made


def class_groups(classes: Sequence[Label | str]) -> dict[str, tuple[int, ...]]:
    """Columns of the melanoma and of the malignant classes, by their roles; a bare key has the role
    that its name speaks of.
    """
    roles = [guess(label) if isinstance(label, str) else label.known_role for label in classes]
    return {
        name: tuple(i for i, role in enumerate(roles) if role in members)
        for name, members in GROUPS.items()
    }


def keys_of(classes: Sequence[Label | str]) -> tuple[str, ...]:
    """The keys of classes, some of which may be given by their keys alone."""
    return tuple(label if isinstance(label, str) else label.key for label in classes)
