"""``predictions.csv``: one row per judged photograph, read back by comparisons and reports."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilekd.support.errors import UserError
from mobilekd.support.files import write_text

COLUMNS = ("image", "lesion", "truth")
#: How far a row's probabilities may sum from 1: quantised models answer in steps of 1/256.
SLACK = 0.05


@dataclass(frozen=True, eq=False)
class Predictions:
    """What was answered for which photograph."""

    keys: tuple[str, ...]  # class keys in column order
    ids: tuple[str, ...]
    lesions: tuple[str, ...]
    truth: np.ndarray  # int64 [N], index into keys
    probabilities: np.ndarray  # float64 [N, C]

    def aligned(self, ids: Sequence[str]) -> "Predictions":
        """The rows of ``ids`` in their order; all of them must be here."""
        place = {name: i for i, name in enumerate(self.ids)}
        rows = [place[name] for name in ids]
        lesions = tuple(self.lesions[row] for row in rows)
        return Predictions(
            self.keys, tuple(ids), lesions, self.truth[rows], self.probabilities[rows]
        )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """CSV with image, lesion, truth and one probability per class; nine digits hold a float32
    exactly.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *predictions.keys])
    for name, lesion, truth, row in zip(
        predictions.ids,
        predictions.lesions,
        predictions.truth,
        predictions.probabilities,
        strict=True,
    ):
        writer.writerow([name, lesion, predictions.keys[truth], *(f"{value:.9g}" for value in row)])
    write_text(path, text.getvalue())


def read_predictions(path: Path) -> Predictions:
    """The inverse of :func:`write_predictions`; a file of another form is a ``UserError`` that
    names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        return _parsed(lines)
    except FileNotFoundError:
        raise UserError(f"{path}: no such predictions; run mobilekd evaluate first") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a predictions file ({error}); evaluate again") from None


def write_origins(path: Path, ids: Sequence[str], origins: Sequence[str]) -> None:
    """CSV with image and origin, beside the predictions of photographs whose origin is known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("image", "origin"), *zip(ids, origins, strict=True)])
    write_text(path, text.getvalue())


def read_origins(path: Path, ids: Sequence[str]) -> tuple[str, ...]:
    """The origins of ``ids`` from what :func:`write_origins` wrote, "" where it says none or there
    is no such file; a file of another form is a ``UserError``.
    """
    if not path.exists():
        return ("",) * len(ids)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        if not lines or lines[0] != ["image", "origin"]:
            raise ValueError("its columns are not image and origin")
        origin_of = dict(lines[1:])
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a file of origins ({error}); evaluate again") from None
    return tuple(origin_of.get(name, "") for name in ids)


def _parsed(lines: Sequence[Sequence[str]]) -> Predictions:
    """The rows below the header; ``ValueError`` for the first line that is something else."""
    if len(lines) < 2 or tuple(lines[0][:3]) != COLUMNS:
        raise ValueError("its columns are not image, lesion, truth and the classes, or it is empty")
    keys, rows = tuple(lines[0][3:]), lines[1:]
    if len(set(keys)) < len(keys) or not all(keys):
        raise ValueError("a class without a name, or two of one name")
    seen: set[str] = set()
    for number, row in enumerate(rows, 2):
        if len(row) != len(lines[0]):
            raise ValueError(f"line {number} has {len(row)} columns, the header {len(lines[0])}")
        if row[2] not in keys:
            raise ValueError(f"line {number}: no class is called {row[2][:40]!r}")
        if row[0] in seen:
            raise ValueError(f"line {number}: {row[0][:80]} is there twice")
        seen.add(row[0])
        _check_probabilities(number, row[3:])
    return Predictions(
        keys,
        tuple(row[0] for row in rows),
        tuple(row[1] for row in rows),
        np.array([keys.index(row[2]) for row in rows], np.int64),
        np.array([[float(value) for value in row[3:]] for row in rows]),
    )


def _check_probabilities(number: int, texts: Sequence[str]) -> None:
    values = [float(text) for text in texts]
    if not all(0 <= value <= 1 + SLACK for value in values):
        raise ValueError(f"line {number}: {', '.join(texts)[:80]} are no probabilities")
    if abs(sum(values) - 1) > SLACK:
        raise ValueError(f"line {number}: its probabilities sum to {sum(values):.4g}, not to 1")
