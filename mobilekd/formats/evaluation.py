"""``metrics.json``: what ``evaluate`` found about one student or artifact on one set of
photographs. No torch.

Every metric is an ``Interval`` by its key: ``balanced_accuracy``, ``recall.mel``, ... A key that an
older mobilekd did not write has a default, so every file written before is still read.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.document import Document, parse_document, read_document
from mobilekd.formats.integrity import check_seal
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.formats.sparse import Sparse

REMEDY = "copy it whole, or run mobilekd evaluate again"


class Target(Sparse):
    """What was evaluated."""

    name: str
    kind: str = Field(description="run, reference or artifact")
    backend: str
    precision: str
    model: str
    parameters: int
    macs: int
    bytes: int
    is_control: bool | None = Field(None, description="of a run: whether it had no teacher")
    sha256: str | None = Field(None, description="of an artifact's model file")
    run: str | None = Field(None, description="the run that an artifact was exported from")


class LeftOut(Sparse):
    """How many photographs of the data do not count, by reason."""

    unlabelled: NonNegativeInt = 0
    unmapped: dict[str, NonNegativeInt] = Field(
        default_factory=dict, description="by their class, which has no place among the student's"
    )
    overlap: NonNegativeInt | None = Field(
        None,
        description=(
            "seen in training, by pixels and by names that mean the same everywhere; null where"
            " that is not known"
        ),
    )
    overlap_by_name: NonNegativeInt | None = Field(
        None, description="where the overlap is not known: called as a photograph of training"
    )
    called_alike: NonNegativeInt | None = Field(
        None,
        description=(
            "not left out: with class and name of a photograph of training and other pixels, as"
            " when it was saved again"
        ),
    )
    reason: str | None = Field(None, description="why the overlap is not known")


class EvaluatedData(Sparse):
    """The photographs that count."""

    kind: str
    role: Literal["test", "all"]
    photographs: PositiveInt
    lesions: NonNegativeInt
    by_class: dict[str, NonNegativeInt]
    left_out: LeftOut
    split_by: str
    split_hash: str
    folds: PositiveInt | None = Field(
        None, description="of so many folds, of which each judges once, these photographs are one"
    )
    fold: NonNegativeInt | None = Field(None, description="which of them")
    test_origin: str | None = Field(
        None, description="all photographs of this origin judge, and none of them trained"
    )
    leaky: bool | None = Field(
        description="whether lesions of training are among them; null where that is not known"
    )
    hash: str
    licence: str = ""
    confirmed: dict[str, dict[str, NonNegativeInt]] = Field(
        default_factory=dict,
        description=(
            "photographs by class and by how the diagnosis was confirmed (histology, ...; empty"
            " where that is not known); empty where the data do not say it"
        ),
    )
    notes: tuple[str, ...] = Field(
        (), description="what was left out, joined or not matched, as it was said"
    )


class Subgroup(Document):
    """Photographs of one age, sex, site or skin tone; small ones have counts and no figures."""

    group: str
    n: NonNegativeInt
    lesions: NonNegativeInt
    classes: NonNegativeInt
    accuracy: Interval
    balanced_accuracy: Interval


class OriginFigures(Document):
    """The photographs of one origin: every metric; a handful have counts and no figures."""

    photographs: PositiveInt
    lesions: PositiveInt
    by_class: dict[str, NonNegativeInt]
    metrics: dict[str, Interval]


class ReliabilityBin(Document):
    """One bin of the calibration error: mean confidence, share of right answers, photographs."""

    confidence: float
    accuracy: float
    n: PositiveInt


class TeacherMetrics(Document):
    """The teacher's figures on the same photographs."""

    metrics: dict[str, Interval]


class Evaluation(Sparse):
    """``metrics.json``."""

    schema_version: Literal[1] = 1
    kind: Literal["evaluation"]
    target: Target
    data: EvaluatedData
    labels: tuple[Label, ...] = Field(min_length=1)
    calibration: Calibration
    metrics: dict[str, Interval]
    coverage_by_class: dict[str, float]
    subgroups: dict[str, tuple[Subgroup, ...]]
    origins: dict[str, OriginFigures] = Field(
        default_factory=dict, description="by origin, where the data say it"
    )
    confusion: tuple[tuple[NonNegativeInt, ...], ...] = Field(description="counts [truth][answer]")
    reliability: tuple[ReliabilityBin, ...]
    risk_coverage: tuple[tuple[float, float], ...] = Field(
        min_length=1, description="(share answered, error rate among those), surest first"
    )
    created_utc: str
    commit: str | None = None
    versions: dict[str, str]
    teacher: TeacherMetrics | None = None
    files: dict[str, str] = Field(
        default_factory=dict,
        description="SHA-256 of the tables of answers beside it; empty in evaluations made before",
    )
    sha256: str | None = Field(None, description="over the other keys of this document")

    def worst_first(self) -> list[tuple[str, Subgroup]]:
        """Every sub-group with its kind, the worst served first: by balanced accuracy, and those
        without a figure last.
        """
        found = [(kind, one) for kind, groups in self.subgroups.items() for one in groups]
        return sorted(
            found,
            key=lambda pair: (
                2.0 if pair[1].balanced_accuracy.value is None else pair[1].balanced_accuracy.value
            ),
        )

    def metric(self, name: str) -> Interval:
        """A metric by its key; one that the file does not have says so."""
        return self.metrics.get(name, Interval(value=None, reason="not in this evaluation"))


def read_evaluation(path: Path) -> Evaluation:
    """Read and validate; a wrong file is a ``UserError``."""
    evaluation = read_document(path, Evaluation, "evaluation", REMEDY)
    check_seal(path, "evaluation", REMEDY)
    return evaluation


def parse_evaluation(document: Any, where: str) -> Evaluation:
    """A document in memory as an evaluation; ``where`` names it in the message if it is not."""
    return parse_document(document, Evaluation, where, "evaluation", REMEDY)
