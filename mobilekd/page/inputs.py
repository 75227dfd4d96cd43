"""What a report is made of, in memory."""

from dataclasses import dataclass, field
from typing import Any

from mobilekd.formats.artifact import Artifact
from mobilekd.formats.comparison import Comparison
from mobilekd.formats.evaluation import Evaluation
from mobilekd.formats.measurement import Measurement
from mobilekd.formats.runs import Run


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run with what it left beside its weights."""

    run: Run
    epochs: tuple[dict[str, Any], ...]  # lines of metrics.jsonl
    evaluation: Evaluation | None  # of its own test split

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.info.name


@dataclass(eq=False)
class Inputs:
    """Everything found."""

    runs: list[TrainedRun] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    # of artifacts, and of runs on other data
    evaluations: list[Evaluation] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)  # files that are none of these

    def empty(self) -> bool:
        """Nothing to report."""
        return not (
            self.runs or self.artifacts or self.measurements or self.evaluations or self.comparisons
        )
