"""``predictions.csv``: one row per judged photograph, read back by comparisons and reports."""

import csv
import io
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilekd.support.errors import UserError
from mobilekd.support.files import write_text

#: What an evaluation's folder may hold beside ``metrics.json`` and figures.
TABLES = ("predictions.csv", "teacher_predictions.csv", "origins.csv")
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
            return _parsed(csv.reader(file))
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


def _parsed(lines: Iterator[list[str]]) -> Predictions:
    """The rows below the header; ``ValueError`` for the first line that is something else. A row is
    kept as numbers, not as its texts, and a lesion's name once.
    """
    header = next(lines, [])
    keys = tuple(header[3:])
    place = {key: index for index, key in enumerate(keys)}
    ids: dict[str, None] = {}
    names: dict[str, str] = {}
    lesions: list[str] = []
    truth, answers = array("q"), array("d")
    for number, row in enumerate(lines, 2):
        if number == 2:
            _check_header(header)
        if len(row) != len(header):
            raise ValueError(f"line {number} has {len(row)} columns, the header {len(header)}")
        name, lesion, key, *texts = row
        if key not in place:
            raise ValueError(f"line {number}: no class is called {key[:40]!r}")
        if name in ids:
            raise ValueError(f"line {number}: {name[:80]} is there twice")
        ids[name] = None
        lesions.append(names.setdefault(lesion, lesion))
        truth.append(place[key])
        answers.extend(_probabilities(number, texts))
    if not ids:
        raise ValueError(NO_ROWS)
    return Predictions(
        keys,
        tuple(ids),
        tuple(lesions),
        np.array(truth, np.int64),
        np.array(answers).reshape(len(ids), len(keys)),
    )


NO_ROWS = "its columns are not image, lesion, truth and the classes, or it is empty"


def _check_header(header: Sequence[str]) -> None:
    if tuple(header[:3]) != COLUMNS:
        raise ValueError(NO_ROWS)
    keys = header[3:]
    if len(set(keys)) < len(keys) or not all(keys):
        raise ValueError("a class without a name, or two of one name")


def _probabilities(number: int, texts: Sequence[str]) -> list[float]:
    """A row's numbers, known to be probabilities."""
    values = [float(text) for text in texts]
    if not all(0 <= value <= 1 + SLACK for value in values):
        raise ValueError(f"line {number}: {', '.join(texts)[:80]} are no probabilities")
    if abs(sum(values) - 1) > SLACK:
        raise ValueError(f"line {number}: its probabilities sum to {sum(values):.4g}, not to 1")
    return values
