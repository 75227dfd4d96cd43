"""The golden set answered several times: at each thread count, and once more on the hot device.

Some processors answer one input differently from pass to pass (pytorch/executorch#21938: a
convolution on Adreno), so one right pass proves little. Each pass is a process of its own.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from mobilekd.formats.artifact import Artifact
from mobilekd.formats.measurement import GoldenCheck, GoldenPass
from mobilekd.runners.base import Runner
from mobilekd.support.words import counted

#: A probability may differ so much from pass to pass: what float32 sums in another order come to,
#: where threads share the work otherwise. A level of int8 or a step of fp16 is far more.
REPEATS = 1e-5
#: Passes that a message names before it counts the others.
NAMED = 3


class GoldenPasses:
    """What one device has answered so far to one artifact's golden set."""

    def __init__(self, artifact: Artifact):
        golden = artifact.golden()
        self.artifact, self._inputs = artifact, golden.inputs
        self._expected, self._limit = golden.probabilities, golden.index.max_error
        self._labels = [label.key for label in artifact.manifest.labels]
        self._passes: list[GoldenPass] = []
        self._answers: list[np.ndarray] = []

    def take(self, runner: Runner, threads: int, *, after_load: bool = False) -> GoldenCheck:
        """One more pass; the check over all so far."""
        answers = runner.answers(self.artifact, self._inputs, threads)
        check = compare_golden(answers, self._expected, self._limit, self._labels)
        found = check.model_dump(include={"passed", "max_error", "agreement", "detail"})
        self._passes.append(GoldenPass(threads=threads, after_load=after_load, **found))
        self._answers.append(answers)
        return self._check()

    def _check(self) -> GoldenCheck:
        difference, words = self._difference()
        errors = [one.max_error for one in self._passes if one.max_error is not None]
        agreements = [one.agreement for one in self._passes if one.agreement is not None]
        details = [self._wrong(), words]
        return GoldenCheck(
            passed=not any(details),
            samples=len(self._expected),
            max_error=max(errors) if len(errors) == len(self._passes) else None,
            limit=self._limit,
            agreement=min(agreements, default=None),
            detail="; ".join(filter(None, details)),
            passes=tuple(self._passes),
            pass_difference=difference,
        )

    def _wrong(self) -> str:
        """What is wrong in which passes; without their names where it is the same in all."""
        by_detail: dict[str, list[str]] = {}
        for one in self._passes:
            if not one.passed:
                by_detail.setdefault(one.detail, []).append(one.name)
        if len(self._passes) in map(len, by_detail.values()):
            return next(iter(by_detail))
        words = [f"{detail} (with {_named(names)})" for detail, names in by_detail.items()]
        return "; ".join(words[:NAMED])

    def _difference(self) -> tuple[float | None, str]:
        """The largest difference between two passes, and where it is if it is no rounding. What is
        no number, or has another shape, is wrong by itself and left out here.
        """
        whole = [
            (one.name, answers.astype(np.float64))
            for one, answers in zip(self._passes, self._answers, strict=True)
            if answers.shape == self._expected.shape and np.isfinite(answers).all()
        ]
        pairs = list(combinations(whole, 2))
        if not pairs:
            return None, ""
        gaps = [np.abs(second - first) for (_, first), (_, second) in pairs]
        worst = max(range(len(pairs)), key=lambda place: float(gaps[place].max()))
        gap, ((name, first), (other, second)) = gaps[worst], pairs[worst]
        largest = float(gap.max())
        if largest <= REPEATS:
            return largest, ""
        row, column = np.unravel_index(int(gap.argmax()), gap.shape)
        count = int((np.max([one.max(1) for one in gaps], axis=0) > REPEATS).sum())
        return largest, (
            f"the device answers differently from pass to pass: picture {row}, class"
            f" {self._labels[int(column)]}: {first[row, column]:.6g} with {name},"
            f" {second[row, column]:.6g} with {other}; {count} of {len(gap)} pictures differ"
        )


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def compare_golden(
    answers: np.ndarray, expected: np.ndarray, limit: float, labels: Sequence[str]
) -> GoldenCheck:
    """Passed where every float32 [N, C] answer is finite and within ``limit``; ``detail`` names the
    worst place.
    """
    count = len(expected)
    if answers.shape != expected.shape:
        detail = (
            f"{counted(answers.shape[0], 'answer')} of {counted(answers.shape[1], 'class')} instead"
            f" of {count} of {expected.shape[1]}"
        )
        return GoldenCheck(passed=False, samples=count, limit=limit, detail=detail)
    agreement = float((answers.argmax(1) == expected.argmax(1)).mean())
    error = np.abs(answers.astype(np.float64) - expected)
    if not np.isfinite(answers).all():
        first = int(np.flatnonzero(~np.isfinite(answers).all(1))[0])
        return GoldenCheck(
            passed=False,
            samples=count,
            limit=limit,
            agreement=agreement,
            detail=f"picture {first}: not a finite number",
        )
    worst = float(error.max())
    if worst <= limit:
        return GoldenCheck(
            passed=True, samples=count, max_error=worst, limit=limit, agreement=agreement
        )
    row, column = np.unravel_index(int(error.argmax()), error.shape)
    detail = (
        f"picture {row}, class {labels[int(column)]}: {answers[row, column]:.4f} instead of"
        f" {expected[row, column]:.4f}; {int((error.max(1) > limit).sum())} of {count} pictures"
        " beyond the limit"
    )
    return GoldenCheck(
        passed=False,
        samples=count,
        max_error=worst,
        limit=limit,
        agreement=agreement,
        detail=detail,
    )
