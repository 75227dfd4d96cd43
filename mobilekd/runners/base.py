"""What every device offers: a small protocol. One file per device implements it; ``bench`` knows
nothing else.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from mobilekd.formats.artifact import Artifact
from mobilekd.formats.document import parse_document
from mobilekd.formats.measurement import (
    Cold,
    Conditions,
    Device,
    Memory,
    Pipeline,
    Series,
    Sustained,
)
from mobilekd.support.errors import UserError

Kind = TypeVar("Kind")


class DeviceError(UserError):
    """The device failed while it was used: one line that names it, what happened and the remedy."""


def parse_answer(values: Any, kind: type[Kind], who: str, remedy: str) -> Kind:
    """Part of a device's answer as a document; what is something else is a ``DeviceError``."""
    try:
        return parse_document(values, kind, who, "measurement", remedy)
    except UserError as error:
        raise DeviceError(str(error)) from None


class BindError(DeviceError):
    """The platform does not let this process choose its cores."""


@dataclass(frozen=True)
class Setting:
    """How one process is to be measured."""

    threads: int
    samples: int
    cores: str = "all"  # or core numbers with commas
    seconds: float = 0.0  # above zero: sustained mode, as many samples as fit


@dataclass(frozen=True)
class Reading:
    """What one process gave."""

    cold: Cold
    series: Series | None = None
    sustained: Sustained | None = None
    pipeline: Pipeline | None = None


class Runner(Protocol):
    """One way onto one device. Everything that can fail raises ``UserError`` with one line."""

    @property
    def via(self) -> Literal["shell", "app"]:
        """How the device is reached; ways are never mixed in one comparison."""

    @property
    def answers_only(self) -> bool:
        """True for emulated processors: their times mean nothing."""

    def describe(self) -> Device:
        """The device, as far as it tells."""

    def conditions(self) -> Conditions:
        """The device's state now."""

    def versions(self) -> dict[str, str]:
        """Versions in effect on the device (runtime, app); asked inside the session."""

    def big_cores(self) -> str:
        """The fastest cores' numbers with commas; empty where all are alike or the process cannot
        be bound.
        """

    def session(self, artifacts: Sequence[Artifact]) -> AbstractContextManager[None]:
        """Bring what is needed onto the device, checked by hash; on the way out remove all of it,
        come what may.
        """

    def answers(self, artifact: Artifact, inputs: np.ndarray, threads: int = 1) -> np.ndarray:
        """Float32 [N, C] for uint8 [N, 3, H, W], from a fresh process."""

    def measure(
        self, artifact: Artifact, setting: Setting, watch: Callable[[], None] | None = None
    ) -> Reading:
        """One fresh process: cold start, warm-up, samples. ``watch`` is called at the start of the
        sustained part.
        """

    def memory(self, artifact: Artifact, threads: int) -> Memory | None:
        """A pass of its own, because watching memory costs time."""
