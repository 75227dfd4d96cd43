"""``mobilekd predict``: photographs in, classes with calibrated probabilities out, or "not
sure".
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mobilekd.data.dataset import some
from mobilekd.formats import guard
from mobilekd.formats.calibration import Quality
from mobilekd.formats.preprocess import readable_suffixes
from mobilekd.inference.predictor import Predictor, open_predictor
from mobilekd.metrics.calibrate import picture_quality
from mobilekd.metrics.conformal import sentence
from mobilekd.metrics.decide import NOT_SURE, OUTSIDE, decisions
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say, track

#: The answer to a file that is no readable photograph.
NOT_READ = "not read"


@dataclass(frozen=True)
class Prediction:
    """The answer for one photograph."""

    image: str
    answer: str  # a class key, "not sure", "outside", or "not read"
    text: str  # the same in words
    sure: bool
    probabilities: dict[str, float]  # by class key, most probable first
    quality: tuple[str, ...]  # what is wrong with the picture: blurred, too dark, too bright
    error: str | None = None  # why the file could not be read
    # not of the kind that the model knows; None where the model cannot say
    outside: bool | None = None
    # keys of the classes that cannot be excluded, likeliest first, and the same in words; None
    # where the photograph is outside, and for a model without sets
    set: tuple[str, ...] | None = None
    set_text: str | None = None


def predict(
    target: str | Path, images: Sequence[Path], *, runs: Path = Path("runs")
) -> list[Prediction]:
    """Ask a run, ``reference:NAME`` or an artifact about photographs, in their order; a folder
    stands for all that lie below it.

    Below the threshold that validation fixed the answer is "not sure". Beside that one word stands
    the set of classes that cannot be excluded, where the model was made with sets; the word is "not
    sure", too, where the set excludes the likeliest class. A photograph that is not like those the
    model knows, by its guard, is answered "outside", whatever the probabilities. A picture beyond
    validation's limits is said to be blurred or badly exposed. A file that cannot be read is
    answered "not read" with the reason in ``error``; ``UserError`` where that is all of them.
    This is a research demonstration, not a diagnosis.
    """
    if not images:
        raise UserError("predict: no photographs; name at least one file or folder")
    files: list[Path] = []
    pictures: dict[int, np.ndarray] = {}
    errors: dict[int, str] = {}
    for image in map(Path, images):
        try:
            files += _files(image)
        except UserError as error:  # the others are answered nevertheless
            errors[len(files)] = str(error)
            files.append(image)
    if not any(os.path.exists(file) and i not in errors for i, file in enumerate(files)):
        more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
        first = errors.get(0) or f"{files[0]}: no such photograph; check the path"
        raise UserError(f"{first}{more}")
    predictor = open_predictor(target, runs)
    for i, file in enumerate(track(files, "reading photographs")):
        if i in errors:
            continue
        try:
            pictures[i] = predictor.preprocess.load(file).transpose(2, 0, 1)
        except UserError as error:
            errors[i] = str(error)
    if not pictures:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise UserError(f"{errors[0]}{more}")
    answered = dict(zip(pictures, _answers(predictor, list(pictures.values())), strict=True))
    return [
        replace(answered[i], image=str(file))
        if i in answered
        else Prediction(str(file), NOT_READ, NOT_READ, False, {}, (), errors[i])
        for i, file in enumerate(files)
    ]


def _files(image: Path) -> list[Path]:
    """The photographs below a folder. Anything else is itself, and reading it tells."""
    if not image.is_dir():
        return [image]
    inside = sorted(path for path in image.rglob("*") if not path.is_dir())
    visible = [
        path for path in inside if not any(p.startswith(".") for p in path.relative_to(image).parts)
    ]
    photographs = [path for path in visible if path.suffix.lower() in readable_suffixes()]
    if not photographs:
        raise UserError(f"{image}: no photographs in this folder; name another")
    kept = frozenset(photographs)
    if others := [path.relative_to(image).as_posix() for path in visible if path not in kept]:
        say(f"{image}: {some(others, 'file')} left out, not readable as photographs")
    return photographs


def _answers(predictor: Predictor, pictures: Sequence[np.ndarray]) -> Iterator[Prediction]:
    """What is said of each picture uint8 ``[3, H, W]``; the file's name comes later."""
    batch = np.stack(pictures)
    complaints = quality_words(batch, predictor.calibration.quality)
    given, labels = predictor.answers(batch), predictor.labels
    texts = {label.key: label.text for label in labels}
    said = decisions(given.probabilities, given.outside, labels, predictor.calibration)
    for row, words, one in zip(given.probabilities, complaints, said, strict=True):
        yield Prediction(
            image="",
            answer=one.answer,
            text=guard.OUTSIDE if one.outside else texts.get(one.answer, one.answer),
            sure=one.answer not in (NOT_SURE, OUTSIDE),
            probabilities={labels[i].key: float(row[i]) for i in np.argsort(-row, kind="stable")},
            quality=words,
            outside=one.outside,
            set=one.set,
            set_text=(
                None if one.set is None else sentence([texts[key] for key in one.set], len(labels))
            ),
        )


def quality_words(pictures: np.ndarray, limits: Quality | None) -> list[tuple[str, ...]]:
    """What is wrong with each of the preprocessed pictures uint8 ``[N, 3, H, W]``; nothing where no
    limits were fitted.
    """
    if limits is None:
        return [()] * len(pictures)
    found = []
    for sharpness, luma in zip(*picture_quality(pictures), strict=True):
        checks = {
            "blurred": sharpness < limits.sharpness_low,
            "too dark": luma < limits.luma_low,
            "too bright": luma > limits.luma_high,
        }
        found.append(tuple(word for word, wrong in checks.items() if wrong))
    return found
