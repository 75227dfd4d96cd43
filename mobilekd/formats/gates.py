"""What an export had to hold: its gates, the stages that were compared, what a delegate took."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from mobilekd.formats.document import Document, GrownDocument
from mobilekd.formats.interval import Interval
from mobilekd.formats.parity_names import GateId, GateName, Part, StageName

#: A stage's and a gate's name: typed in memory, a string on disk.
_TEXT = (PlainSerializer(str, return_type=str), WithJsonSchema({"type": "string"}))
StageField = Annotated[StageName, PlainValidator(StageName.read), *_TEXT]
GateField = Annotated[GateName, PlainValidator(GateName.read), *_TEXT]


#: What is said, wherever an artifact is shown, where no photograph judged its decisions.
NOT_DECIDED = "decisions not decided here"


class Gate(GrownDocument):
    """One acceptance check of an export."""

    later = frozenset({"estimate", "samples", "undecided"})

    name: GateField
    value: float
    limit: float
    relation: Literal["<=", ">=", ">"]
    passed: bool
    recorded: bool = Field(
        False, description="taken from the reference's record, because the data is not here"
    )
    estimate: Interval | None = Field(
        None,
        description=(
            "what photographs decide: agreement, or balanced accuracy lost, with its 95% interval"
        ),
    )
    samples: int = Field(0, description="photographs that decided, where photographs do")
    undecided: bool = Field(
        False,
        description=(
            "too few photographs to decide: accepted because the interval reaches the limit"
        ),
    )

    @property
    def measured(self) -> str:
        """The value as people read it: ``0.967 (0.89 to 0.99) on 60`` where photographs decide."""
        known, loss = self.estimate, self.name.id is GateId.BALANCED_ACCURACY
        if known is None or known.value is None:
            return f"{self.value:.4g}"
        span = ""
        if known.low is not None and known.high is not None:
            # a loss is held against a limit of 0.01
            digits = 2 if known.high - known.low >= 0.02 and not loss else 3
            span = f" ({known.low:z.{digits}f} to {known.high:z.{digits}f})"
        lost = "loses " if loss else ""
        return f"{lost}{known.value:z.3f}{span} on {self.samples:,}"

    @property
    def condition(self) -> str:
        """What the value must be, as people read it."""
        if self.name.id is GateId.BALANCED_ACCURACY and self.estimate is not None:
            return f"upper end < {-self.limit:g}"
        return f"{self.relation} {self.limit:g}"

    @property
    def outcome(self) -> str:
        """``passed``, ``failed`` or ``not decided``, and whether that is the reference's record."""
        word = "not decided" if self.undecided else "passed" if self.passed else "failed"
        return f"{word}, recorded" if self.recorded else word


class Stage(Document):
    """One row of the parity table: what was compared with what, where, and how close it came."""

    stage: StageField = Field(
        description=(
            "eager fp32, eager quantised, lowered graph, saved file, saved file on Arm (CPU)"
        )
    )
    against: StageField
    verified: bool
    where: str = Field("", description="the machine or interpreter that ran it")
    reason: str | None = Field(None, description="why it was not verified")
    samples: int = 0
    max_error: float | None = None
    sqnr_db: float | None = None
    agreement: float | None = None
    accuracy_drop: Interval | None = Field(
        None, description="balanced accuracy lost against eager fp32"
    )
    recorded: bool = False
    processors: dict[str, int] = Field(
        default_factory=dict,
        description=(
            "convolutions and linear layers by the processor that Core ML's compute plan prefers;"
            " filled on a Mac"
        ),
    )


class Delegation(Document):
    """Where the operators went."""

    delegated: dict[str, int] = Field(
        default_factory=dict, description="operators inside the delegate by name"
    )
    portable: dict[str, int] = Field(
        default_factory=dict, description="operators left outside by name"
    )
    heavy_total: int = Field(0, description="convolutions and linear layers in the network")
    heavy_delegated: int = 0
    heavy_quantized: int = Field(0, description="of those delegated, the ones with int8 weights")
    partitions: int = 0


def open_rows(stages: Iterable[Stage]) -> list[Stage]:
    """Rows of the parity table that say why no photograph judged the file's decisions."""
    return [row for row in stages if row.stage.part is Part.DECISIONS and not row.verified]
