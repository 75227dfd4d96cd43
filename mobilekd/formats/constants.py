"""What travels inside a ``.pte`` as constant methods: names, types and meaning, in one place. No
torch.

A list comes back from the runtime as that many outputs, in order. Core ML carries the same in its
metadata fields. Each line: the method, its outputs, what they mean.

::

    schema_version   1 int         of this table: 2 where "rescale" has to be obeyed, else 1
    name             1 string      the run's name
    backend          1 string      what the file was lowered for
    precision        1 string      fp32, int8, int8-qat, mixed, fp16, palette,
                                   w8a8, w8a16
    labels           C strings     keys of the classes, in the order of the probabilities
    label_texts      C strings     the same in words
    input_height     1 int         pixels
    input_width      1 int         pixels
    color            1 string      RGB: order of the input's planes, values 0..255
    crop             1 string      center: the largest centred box with the input's aspect ratio
    resize           1 string      pillow-bilinear: antialiased triangle filter
    mean             3 doubles     subtracted inside the graph from value / 255; for information
    std              3 doubles     divided by inside the graph; for information
    temperature      1 double      divides the logits inside the graph; for information
    threshold        1 double      a top probability below this means "not sure"
    quality          3 doubles     sharpness_low, luma_low, luma_high (``artifact.Quality``);
                                   0, 0, 255 warn of nothing
    decision         1 string      how the answer follows from the probabilities
    outputs          1..3 strings  probabilities, then cam and outside where forward gives them
    card             1 string      the model card's short text, for the app's screen
    student          1 string      SHA-256 of the student's weights
    versions         n strings     package=version of what exported it
    guard_threshold  1 double      an output "outside" above this is of another kind than the
                                   model knows; only with such an output
    set_coverage     1 double      share of each class whose set was to hold it; only with sets
    set_thresholds   C doubles     a class whose probability is at least this cannot be excluded;
                                   only with sets
    soc              1 string      the one chip that the file is compiled for, as ro.soc.model names
                                   it; only in a file for one chip
    rescale          1 + C doubles a power and an offset for each class: the probabilities p that
                                   forward gives are to become
                                   softmax(power log(max(p, 1e-12)) + offsets); only in a file that
                                   was fitted to a clinic
"""

import json
from collections.abc import Mapping, Sequence

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.guard import GuardSummary
from mobilekd.formats.labels import Label
from mobilekd.formats.preprocess import Preprocess
from mobilekd.support.errors import UserError

CONSTANTS_VERSION = 1

#: Of a file whose probabilities are not final: who does not know "rescale" must refuse it.
RESCALED_VERSION = 2

#: Names a reader may rely on.
NAMES = (
    "schema_version",
    "name",
    "backend",
    "precision",
    "labels",
    "label_texts",
    "input_height",
    "input_width",
    "color",
    "crop",
    "resize",
    "mean",
    "std",
    "temperature",
    "threshold",
    "quality",
    "decision",
    "outputs",
    "card",
    "student",
    "versions",
)

#: Names that only some files have.
OPTIONAL = ("guard_threshold", "set_coverage", "set_thresholds", "rescale", "soc")

#: Those that come back as a list even when it holds one value.
LISTS = (
    "labels",
    "label_texts",
    "mean",
    "std",
    "quality",
    "outputs",
    "versions",
    "set_thresholds",
    "rescale",
)

Constants = dict[str, int | float | str | list[str] | list[float]]


def constants(
    *,
    name: str,
    backend: str,
    precision: str,
    labels: Sequence[Label],
    preprocess: Preprocess,
    calibration: Calibration,
    outputs: Sequence[str],
    card: str,
    student: str,
    versions: dict[str, str],
    guard: GuardSummary | None = None,
    soc: str | None = None,
) -> Constants:
    """The table above, filled; ``guard_threshold`` only where there is a guard, what is said of
    sets only where there are any.
    """
    quality = calibration.quality
    said: Constants = {
        "schema_version": CONSTANTS_VERSION,
        "name": name,
        "backend": backend,
        "precision": precision,
        "labels": [label.key for label in labels],
        "label_texts": [label.text for label in labels],
        "input_height": preprocess.height,
        "input_width": preprocess.width,
        "color": preprocess.color,
        "crop": preprocess.crop,
        "resize": preprocess.resize,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "temperature": calibration.temperature,
        "threshold": calibration.threshold,
        "quality": (
            [quality.sharpness_low, quality.luma_low, quality.luma_high]
            if quality
            else [0.0, 0.0, 255.0]
        ),
        "decision": _decision(calibration),
        "outputs": list(outputs),
        "card": card,
        "student": student,
        "versions": [f"{package}={version}" for package, version in versions.items()],
    }
    if guard:
        said["guard_threshold"] = guard.threshold
    if soc:
        said["soc"] = soc
    return said | decided_by(calibration, labels)


def _decision(calibration: Calibration) -> str:
    """How the answer follows from the probabilities, with whatever priors are in them."""
    if calibration.rescale:
        return "The likeliest class, adjusted for how often one clinic sees each"
    if calibration.bias:
        return "The likeliest class, adjusted for how often each is seen"
    return "The likeliest class"


def decided_by(calibration: Calibration, labels: Sequence[Label]) -> Constants:
    """What is said of sets and of rescaling, and the version that goes with it; empty without."""
    said: Constants = {}
    if sets := calibration.sets:
        said["set_coverage"] = sets.coverage
        said["set_thresholds"] = [sets.thresholds[label.key] for label in labels]
    if rescale := calibration.rescale:
        said["schema_version"] = RESCALED_VERSION
        said["rescale"] = [rescale.power, *rescale.offsets]
    return said


#: In front of every name, where a file's metadata hold texts by name (Core ML, ONNX).
PREFIX = "mobilekd."


def to_texts(constants: Constants) -> dict[str, str]:
    """Each constant as a JSON text, by its name behind ``PREFIX``."""
    return {
        PREFIX + name: json.dumps(value, ensure_ascii=False) for name, value in constants.items()
    }


def from_texts(fields: Mapping[str, str], who: str) -> Constants:
    """The inverse of :func:`to_texts` on a file's metadata, other fields aside; ``who`` names the
    file in a ``UserError``.
    """
    try:
        return {
            name.removeprefix(PREFIX): json.loads(text)
            for name, text in fields.items()
            if name.startswith(PREFIX)
        }
    except ValueError as error:
        raise UserError(f"{who}: metadata not readable ({error}); export again") from None
