"""Which stages and gates there are: each has an id, which is what files hold, and a title, which is
what people read.

Ids are frozen: manifests and records written years ago hold them, however they sound. A title may
be reworded at any time; nothing compares one.
"""

import re
from dataclasses import dataclass
from enum import Enum


class Titled(Enum):
    """An enum whose members are ``id`` or ``id, title``; without a title the id is read well
    enough.
    """

    title: str

    def __new__(cls, id: str, title: str = "") -> "Titled":
        """One member; ``value`` is its id."""
        member = object.__new__(cls)
        member._value_ = id
        member.title = title or id
        return member

    @property
    def id(self) -> str:
        """What stands in files."""
        return str(self.value)


class StageId(Titled):
    """What gave the answers that one row of the parity table compares, or compares with."""

    STUDENT = "student, normalised outside"
    EAGER = "eager fp32"
    EAGER_QUANTISED = "eager quantised"
    EAGER_FLOAT16 = "eager with float16 weights"
    EAGER_DECODED = "eager with decoded weights"
    LOWERED_GRAPH = "lowered graph"
    SAVED_FILE = "saved file"
    ARM = "saved file on Arm"
    ARM_SME = "saved file on Arm with SME"
    CORE_ML = "saved file on Core ML"
    CORE_AI = "saved file on Core AI"
    PHONE = "saved file on a phone"
    GOLDEN_SET = "golden set"


class Part(Titled):
    """Which of a stage's answers a row is about."""

    PROBABILITIES = "probabilities"
    MAP = "activation map"
    GUARD = "guard"
    DECISIONS = "decisions"


class GateId(Titled):
    """What a gate judges."""

    PREPROCESSING = "preprocessing"
    ACTIVATION_MAP = "activation map"
    GUARD = "guard"
    LOWERED_GRAPH = "lowered graph"
    MAX_ERROR = "max_error"
    SQNR = "sqnr_db"
    DELEGATED_LAYERS = "delegated layers"
    INT8_LAYERS = "int8 layers"
    TRAINING_REMAINS = "training remains"
    CONSTANTS = "constants that differ"
    AGREEMENT = "agreement"
    BALANCED_ACCURACY = "balanced accuracy"
    GUARD_AGREEMENT = "guard agreement"
    NETWORK = "network unchanged"
    CLINIC_LOSS = "clinic log loss", "log loss that the fit adds"
    GOLDEN_SET = "golden set on"  # a processor follows


#: ``saved file on Arm (cortex-a72), activation map``
_STAGE = re.compile(
    r"(?P<id>.+?)(?: \((?P<processor>[^()]+)\))?"
    rf"(?:, (?P<part>{Part.MAP.id}|{Part.GUARD.id}|{Part.DECISIONS.id}))?"
)


@dataclass(frozen=True)
class StageName:
    """A row of the parity table: the stage, which of its answers, and the emulated processor if
    there is one.
    """

    id: StageId
    part: Part = Part.PROBABILITIES
    processor: str = ""

    def __str__(self) -> str:
        """As files hold it; :meth:`read` is the inverse."""
        return self._joined(self.id.id, self.part.id)

    @property
    def title(self) -> str:
        """As people read it."""
        return self._joined(self.id.title, self.part.title)

    def _joined(self, stage: str, part: str) -> str:
        processor = f" ({self.processor})" if self.processor else ""
        return f"{stage}{processor}" + ("" if self.part is Part.PROBABILITIES else f", {part}")

    @classmethod
    def read(cls, value: object) -> "StageName":
        """From what a file holds, or from a bare id; ``ValueError`` where no stage is called so."""
        if isinstance(value, StageName):
            return value
        if isinstance(value, StageId):
            return cls(value)
        parts = _STAGE.fullmatch(value) if isinstance(value, str) else None
        if parts is None or parts["id"] not in {stage.id for stage in StageId}:
            raise ValueError(f"no stage is called {value!r}")
        part = Part(parts["part"]) if parts["part"] else Part.PROBABILITIES
        return cls(StageId(parts["id"]), part, parts["processor"] or "")


@dataclass(frozen=True)
class GateName:
    """A gate, and the emulated processor that it is about if there is one."""

    id: GateId
    processor: str = ""

    def __str__(self) -> str:
        """As files hold it; :meth:`read` is the inverse."""
        return f"{self.id.id} {self.processor}".rstrip()

    @property
    def title(self) -> str:
        """As people read it."""
        return f"{self.id.title} {self.processor}".rstrip()

    @classmethod
    def read(cls, value: object) -> "GateName":
        """From what a file holds, or from a bare id; ``ValueError`` where no gate is called so."""
        if isinstance(value, GateName):
            return value
        if isinstance(value, GateId):
            return cls(value)
        text = value if isinstance(value, str) else ""
        golden, _, processor = text.partition(f"{GateId.GOLDEN_SET.id} ")
        if processor and not golden:
            return cls(GateId.GOLDEN_SET, processor)
        if text not in {gate.id for gate in GateId if gate is not GateId.GOLDEN_SET}:
            raise ValueError(f"no gate is called {value!r}")
        return cls(GateId(text))
