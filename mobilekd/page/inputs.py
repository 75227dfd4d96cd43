"""What a report is made of, in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mobilekd.formats.artifact import Artifact
from mobilekd.formats.comparison import Comparison
from mobilekd.formats.evaluation import Evaluation
from mobilekd.formats.layer_errors import LayerErrors
from mobilekd.formats.measurement import Measurement
from mobilekd.formats.runs import Run
from mobilekd.formats.training_log import Epoch


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run with what it left beside its weights."""

    run: Run
    epochs: tuple[Epoch, ...]
    evaluation: Evaluation | None  # of its own test split

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.info.name


@dataclass(frozen=True, eq=False)
class Inputs:
    """Everything that the page shows, and what it does not."""

    runs: tuple[TrainedRun, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    layer_errors: Mapping[Path, LayerErrors] = field(default_factory=dict)  # by artifact's folder
    measurements: tuple[Measurement, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()  # of artifacts, and of runs on other data
    comparisons: tuple[Comparison, ...] = ()
    ignored: tuple[str, ...] = ()  # names of JSON files that are none of these
    left_out: tuple[str, ...] = ()  # one line each: what is not shown, and why
