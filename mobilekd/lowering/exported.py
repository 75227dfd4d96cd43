"""One export that is judged, and what is found of it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from mobilekd.backends import Backend, Lowered
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.constants import Constants
from mobilekd.formats.gates import Gate, Stage
from mobilekd.formats.guard import Guard
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import GatesTable
from mobilekd.inference.evaluation_set import EvaluationSet


@dataclass
class ParityReport:
    """The parity table and the gates of one export, filled as it is checked."""

    stages: list[Stage] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    # outputs on the golden set: the file's, else the eager reference's
    golden: list[np.ndarray] = field(default_factory=list)
    ran: bool = True  # the file itself answered
    wrong_constants: tuple[str, ...] = ()
    accuracy: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Export:
    """One export to be judged."""

    student: nn.Module
    calibration: Calibration
    preprocess: Preprocess
    backend: Backend
    precision: str
    lowered: Lowered
    plain: torch.fx.GraphModule  # the deployable as a graph, before anything was rounded
    constants: Constants
    golden: np.ndarray  # uint8 [N, 3, H, W]
    gates: GatesTable
    evaluation_set: EvaluationSet | None
    float_layers: frozenset[str]
    target: str  # how the user names the run
    guard: Guard | None = None
    clinic: np.ndarray | None = None  # uint8 [N, 3, H, W], which the guard knows besides

    @property
    def threshold(self) -> float | None:
        """The guard's, whose score comes last; None where there is none."""
        return self.guard.threshold if self.guard else None

    @property
    def cam(self) -> bool:
        """A class activation map comes second."""
        outputs = self.constants["outputs"]
        return isinstance(outputs, list) and "cam" in outputs

    @property
    def rounded(self) -> bool:
        """The file computes in int8, or holds int8 weights."""
        return "int8" in self.precision or self.precision == "mixed"

    @property
    def max_error(self) -> float:
        """How far the file may be from its eager source; what is left in floating point may round
        otherwise before an int8 layer.
        """
        return self.gates.max_error if self.precision == "fp32" else self.gates.max_error_quantized

    def golden_error(self, ran: bool) -> float:
        """How far a device may be from the golden answers: other kernels than those that gave them
        may round as int8's do.
        """
        alike = ran and self.backend.rounds_alike
        return self.gates.max_error if alike else self.max_error
