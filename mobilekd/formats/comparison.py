"""``comparison.json``: students beside controls and teachers, as ``compare`` found them. No torch.

A group is one recipe with all of its seeds. A key that an older mobilekd did not write has a
default, so every file written before is still read.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from mobilekd.formats.document import Document, parse_document, read_document
from mobilekd.formats.interval import Interval
from mobilekd.formats.sparse import Sparse

REMEDY = "copy it whole, or run mobilekd compare again"


class Loss(Document):
    """One term of the objective."""

    name: str
    weight: float


class Facts(Sparse):
    """What a group's students are."""

    model: str = ""
    width: float | None = None
    parameters: int | None = None
    macs: int | None = None
    losses: tuple[Loss, ...] = ()


class SeedScores(Document):
    """One run of a group."""

    run: str
    seed: int
    balanced_accuracy: float
    accuracy: float
    nll: float


class Group(Sparse):
    """One recipe; its figures are the mean over its seeds."""

    name: str
    is_control: bool
    facts: Facts = Facts()
    seeds: tuple[SeedScores, ...]
    metrics: dict[str, Interval]
    control: str | None = Field(None, description="the group without a teacher, if it is here")
    difference: dict[str, Interval] = Field(
        default_factory=dict, description="every metric minus the control's, paired"
    )
    p: dict[str, float] = Field(default_factory=dict, description="before Holm's correction")
    teacher: dict[str, Interval] | None = Field(None, description="the first seed's teacher")
    teacher_agreement: float | None = None
    teacher_difference: Interval | None = Field(None, description="balanced accuracy, paired")
    margin: float | None = Field(None, description="of non-inferiority, below zero")
    not_inferior: bool | None = None

    origins: dict[str, dict[str, Interval]] = Field(
        default_factory=dict, description="metrics of each origin's photographs alone"
    )
    origin_difference: dict[str, Interval] = Field(
        default_factory=dict,
        description="by origin: balanced accuracy minus the control's, paired, not corrected",
    )

    @property
    def kind(self) -> Literal["student", "control"]:
        """Whether it was taught."""
        return "control" if self.is_control else "student"


class OriginCounts(Document):
    """The judged photographs of one origin."""

    photographs: PositiveInt
    lesions: PositiveInt
    classes: PositiveInt


class Claim(Document):
    """A student against its control on one metric."""

    student: str
    control: str
    metric: str
    difference: Interval
    p: float
    p_holm: float = Field(description="corrected over all claims of the comparison")
    holds: bool


class Comparison(Sparse):
    """``comparison.json``."""

    schema_version: Literal[1] = 1
    kind: Literal["comparison"]
    split_hash: str
    leaky: bool
    photographs: PositiveInt
    lesions: NonNegativeInt
    draws: PositiveInt
    labels: tuple[str, ...]
    class_names: dict[str, str] = Field(
        default_factory=dict, description="the classes in words, by key"
    )
    folds: PositiveInt | None = Field(
        None, description="so many folds are pooled: each photograph answered once, out of fold"
    )
    test_origin: str | None = Field(None, description="the origin that was left out of training")
    origins: dict[str, OriginCounts] = Field(default_factory=dict)
    groups: tuple[Group, ...] = Field(min_length=1)
    claims: tuple[Claim, ...]
    created_utc: str | None = None
    commit: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    what: str | None = Field(None, description="a remark of whoever kept the file")
    command: str | None = Field(None, description="what made it, where somebody wrote that down")

    @property
    def chance(self) -> float:
        """Balanced accuracy, and mean recall, of guessing."""
        return 1 / len(self.labels)

    def in_words(self, key: str) -> str:
        """A class's name; its key where an older mobilekd kept no other."""
        return self.class_names.get(key, key)


def read_comparison(path: Path) -> Comparison:
    """Read and validate; a wrong file is a ``UserError``."""
    return read_document(path, Comparison, "comparison", REMEDY)


def parse_comparison(document: Any, where: str) -> Comparison:
    """A document in memory as a comparison; ``where`` names it in the message if it is not."""
    return parse_document(document, Comparison, where, "comparison", REMEDY)
