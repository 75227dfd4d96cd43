"""``mobilekd predict``: photographs in, classes with calibrated probabilities out, or "not
sure".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilekd.formats.artifact import Quality
from mobilekd.inference.predictor import open_predictor
from mobilekd.metrics.calibrate import picture_quality
from mobilekd.support.errors import UserError

NOT_SURE = "not sure"


@dataclass(frozen=True)
class Prediction:
    """The answer for one photograph."""

    image: str
    answer: str  # a class key, or "not sure"
    text: str  # the same in words
    sure: bool
    probabilities: dict[str, float]  # by class key, most probable first
    quality: tuple[str, ...]  # what is wrong with the picture: blurred, too dark, too bright


def predict(
    target: str | Path, images: Sequence[Path], *, runs: Path = Path("runs")
) -> list[Prediction]:
    """Ask a run, ``reference:NAME`` or an artifact about photograph files, in their order.

    Below the threshold that validation fixed the answer is "not sure"; a picture beyond
    validation's limits is said to be blurred or badly exposed. An unreadable file is a
    ``UserError``. This is a research demonstration, not a diagnosis.
    """
    if not images:
        raise UserError("predict: no photographs; name at least one file")
    predictor = open_predictor(target, runs)
    # uint8 [N, 3, H, W]
    pictures = np.stack(
        [predictor.preprocess.load(Path(image)).transpose(2, 0, 1) for image in images]
    )
    complaints = quality_words(pictures, predictor.calibration.quality)
    found = []
    for image, row, words in zip(images, predictor.answer(pictures), complaints, strict=True):
        best = int(row.argmax())
        sure = bool(row[best] >= predictor.calibration.threshold)
        label = predictor.labels[best]
        probabilities = {
            predictor.labels[i].key: float(row[i]) for i in np.argsort(-row, kind="stable")
        }
        answer, text = (label.key, label.text) if sure else (NOT_SURE, NOT_SURE)
        found.append(Prediction(str(image), answer, text, sure, probabilities, words))
    return found


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
