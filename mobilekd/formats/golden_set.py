"""The golden set on disk: photographs, and what every consumer must make of them. All numbers are
little-endian, arrays in C order::

    golden/golden.json         GoldenIndex
    golden/NN.jpg|png          synthetic photographs, preprocessed by every consumer's own code
    golden/inputs.u8           uint8   [N, 3, H, W]  what the preprocess gives, fed as float32
    golden/probabilities.f32   float32 [N, C]        the saved file's answers on the exporting host
    golden/cam.f32             float32 [N, h, w]     only where forward gives a map
    golden/outside.f32         float32 [N]           only where forward gives the guard's score
    golden/decisions.json      list of Decision      what is said of each; not in older artifacts
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from mobilekd.formats.document import Document, read_document
from mobilekd.formats.guard import OUTPUT
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_bytes, write_json, write_text

#: A golden photograph, which lies in the golden folder itself.
ImageName = Annotated[str, Field(pattern=r"^[\w-][\w.-]*$")]


class GoldenIndex(Document):
    """``golden/golden.json``."""

    count: PositiveInt
    height: PositiveInt
    width: PositiveInt
    classes: PositiveInt
    images: tuple[ImageName, ...]
    cam: tuple[PositiveInt, PositiveInt] | None = None
    max_error: float = Field(
        ge=0, description="how far a device's probabilities may lie from these"
    )

    @model_validator(mode="after")
    def _one_image_each(self) -> Self:
        if len(self.images) != self.count:
            raise ValueError(f"{len(self.images)} images, count says {self.count}")
        return self


class Decision(Document):
    """What is said of a photograph (:func:`mobilekd.metrics.decide.decisions`)."""

    answer: str = Field(
        description="a class, which is in the set if there is one, not sure, or outside"
    )
    set: tuple[str, ...] | None = Field(
        description=(
            "the classes that cannot be excluded, likeliest first; null where the photograph is"
            " outside, and for a model without sets"
        )
    )
    outside: bool | None = Field(
        description="of another kind than the model knows; null without a guard"
    )


@dataclass(frozen=True)
class Golden:
    """The golden set in memory."""

    index: GoldenIndex
    inputs: np.ndarray  # uint8 [N, 3, H, W]
    probabilities: np.ndarray  # float32 [N, C]
    cam: np.ndarray | None = None  # float32 [N, h, w]
    outside: np.ndarray | None = None  # float32 [N]
    decisions: tuple[Decision, ...] | None = None  # None in older artifacts

    @property
    def outputs(self) -> list[np.ndarray]:
        """As ``forward`` gives them, in order."""
        return [
            output for output in (self.probabilities, self.cam, self.outside) if output is not None
        ]


def _numbers(path: Path, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The raw array in a file, which must hold just as many finite numbers."""
    size = path.stat().st_size if path.is_file() else None
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if size != expected:
        held = "missing" if size is None else f"{size:,} bytes"
        raise UserError(
            f"{path}: {held}, and golden.json promises {expected:,} bytes; export again or copy the"
            " artifact whole"
        )
    numbers = np.fromfile(path, dtype).reshape(shape)
    if not np.isfinite(numbers).all():
        raise UserError(f"{path}: holds NaN or infinity; export again")
    return numbers


def read_golden(place: Path, size: tuple[int, int], classes: int, outputs: Sequence[str]) -> Golden:
    """The golden set in folder ``place`` of an artifact whose photographs have ``size`` (height,
    width). ``UserError`` where a file does not hold what ``golden.json`` or the manifest says.
    """
    path = place / "golden.json"
    index = read_document(path, GoldenIndex, "golden set", "export again")
    if (index.height, index.width, index.classes) != (*size, classes):
        raise UserError(
            f"{path}: photographs of {index.width} x {index.height} in {index.classes} classes,"
            f" the manifest has {size[1]} x {size[0]} and {classes}; export again"
        )
    if (index.cam is None) == ("cam" in outputs):
        raise UserError(
            f"{path}: its activation maps ({index.cam}) are not what the manifest's outputs say"
            f" ({', '.join(outputs)}); export again"
        )
    shape = (index.count, 3, index.height, index.width)
    return Golden(
        index,
        _numbers(place / "inputs.u8", "u1", shape),
        _numbers(place / "probabilities.f32", "<f4", (index.count, index.classes)),
        _numbers(place / "cam.f32", "<f4", (index.count, *index.cam)) if index.cam else None,
        _numbers(place / "outside.f32", "<f4", (index.count,)) if OUTPUT in outputs else None,
        _decisions(place / "decisions.json", index.count),
    )


def _decisions(path: Path, count: int) -> tuple[Decision, ...] | None:
    """What is said of each golden photograph; None in artifacts made before it was kept."""
    if not path.is_file():
        return None
    said = read_document(path, tuple[Decision, ...], "golden set", "export again")
    if len(said) != count:
        raise UserError(f"{path}: {len(said)} decisions for {count} images; export again")
    return said


def write_golden(
    folder: Path,
    index: GoldenIndex,
    inputs: np.ndarray,
    probabilities: np.ndarray,
    cam: np.ndarray | None,
    outside: np.ndarray | None = None,
    decisions: Sequence[Decision] | None = None,
) -> None:
    """Write the golden set's arrays and index below ``folder/golden`` (its photographs are there
    already).
    """
    place = folder / "golden"
    place.mkdir(exist_ok=True)
    write_bytes(place / "inputs.u8", inputs.astype(np.uint8).tobytes())
    write_bytes(place / "probabilities.f32", probabilities.astype("<f4").tobytes())
    if cam is not None:
        write_bytes(place / "cam.f32", cam.astype("<f4").tobytes())
    if outside is not None:
        write_bytes(place / "outside.f32", outside.astype("<f4").tobytes())
    if decisions is not None:
        said = [one.model_dump(mode="json") for one in decisions]
        write_json(place / "decisions.json", said)
    write_text(place / "golden.json", index.model_dump_json(indent=1) + "\n")
