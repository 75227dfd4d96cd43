"""The guard: what a student knows of the photographs that it was trained on, so that it can say of
another one that it is of no such kind. No torch.

The score is Mahalanobis' distance in early layers (Lee et al., arXiv 1807.03888): mean and standard
deviation of each of their channels over the photograph are centred and whitened by the training
photographs' own covariance, which makes the mean of their squares ``m`` about 1 for photographs
like those. What travels is ``m / (m + 1)``: 0.5 there, near 1 for anything else. Early layers see
textures and colours at several scales, which is what sets skin under a dermoscope apart; the last
one keeps only what tells the classes apart.
"""

from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from mobilekd.formats.document import GrownDocument, read_document

#: The guard's file in a run's folder.
GUARD = "guard.json"

#: The guard's output in a model file.
OUTPUT = "outside"

#: The answer in words.
OUTSIDE = "this does not look like the photographs this model knows"

#: Whitened coordinates further out than this count as this far, so that fp16 holds their squares.
FURTHEST = 100.0


class Guard(GrownDocument):
    """``guard.json``."""

    later = frozenset({"added", "deviations", "clinic"})

    layers: tuple[str, ...] = Field(
        min_length=1, description="the student's modules whose outputs are looked at, like blocks.1"
    )
    deviations: bool = Field(
        False,
        description="each layer gives its channels' means, then their standard deviations; else"
        " means alone",
    )
    centre: tuple[float, ...] = Field(
        min_length=1, description="mean of each of these numbers over the training photographs"
    )
    directions: tuple[tuple[float, ...], ...] = Field(
        min_length=1, description="principal directions, each divided by its standard deviation"
    )
    threshold: float = Field(ge=0, le=1, description="a score above this is outside")
    refused: float = Field(ge=0, le=1, description="share of validation above the threshold")
    photographs: int = Field(ge=1, description="training photographs that it was fitted on")
    added: bool = Field(
        False,
        description="fitted after the student was shipped, whose files stay as they were unless"
        " export --guard puts it into them",
    )
    clinic: int = Field(0, ge=0, description="photographs of a clinic that it knows besides")

    @model_validator(mode="before")
    @classmethod
    def _of_one_layer(cls, value: Any) -> Any:
        """Guards of before looked at one ``layer``."""
        if isinstance(value, dict) and "layer" in value and "layers" not in value:
            value = {("layers" if key == "layer" else key): one for key, one in value.items()}
            value["layers"] = (value["layers"],)
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(len(row) != len(self.centre) for row in self.directions):
            raise ValueError(
                f"directions are not {len(self.centre)} numbers each, as the centre is"
            )
        return self

    def summary(self) -> "GuardSummary":
        """What a manifest says of it."""
        return GuardSummary(threshold=self.threshold, refused=self.refused, clinic=self.clinic)

    def scores(self, seen: np.ndarray) -> np.ndarray:
        """Means and deviations ``[N, D]`` -> scores ``[N]`` in 0..1, in float64."""
        offset = np.asarray(seen, np.float64) - np.asarray(self.centre)
        whitened = (offset @ np.asarray(self.directions).T).clip(-FURTHEST, FURTHEST)
        squares = (whitened**2).mean(1)
        return np.asarray(squares / (squares + 1))


class GuardSummary(GrownDocument):
    """What a manifest says of the guard inside the model file."""

    later = frozenset({"clinic"})

    threshold: float = Field(ge=0, le=1, description="a score above this is outside")
    refused: float = Field(
        ge=0,
        le=1,
        description="share above the threshold of validation, or of the clinic's photographs",
    )
    clinic: int = Field(
        0, ge=0, description="photographs of a clinic that it knows besides those of training"
    )

    def refuses(self, scores: np.ndarray) -> np.ndarray:
        """Whether each photograph is outside, bool ``[N]``, from scores ``[N]`` or ``[N, 1]``. In
        float64, as both apps compare: numpy would round the threshold to float32 scores.
        """
        return np.asarray(np.asarray(scores, np.float64).reshape(-1) > self.threshold)


def read_guard(folder: Path) -> Guard | None:
    """A run's guard; None where it has none."""
    path = folder / GUARD
    return read_document(path, Guard, "guard") if path.is_file() else None
