"""One schema for every measurement, whatever the device: raw samples, phases, conditions, validity.
No torch.

Times are integers in nanoseconds from a monotonic clock. An invalid run is kept and carries its
reasons.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from mobilekd.formats.document import Document, explain, parse_document
from mobilekd.support.files import read_json
from mobilekd.support.words import counted

#: Version 1 held every inference of a sustained part; it is still read.
MEASUREMENT_VERSION = 2

#: A duration, or an offset from a start; a clock that ran backwards is not monotonic, and its file
#: is refused.
Nanoseconds = Annotated[int, Field(ge=0, lt=2**63)]
#: What one inference took; a clock that stood still measured nothing, and ratios of it would not be
#: numbers.
Latency = Annotated[int, Field(gt=0, lt=2**63)]


def thread_words(count: int) -> str:
    """``1 thread``, ``2 threads``."""
    return counted(count, "thread")


class Device(Document):
    """What was measured on."""

    id: str = Field(description="stable, fit for a folder name")
    kind: Literal["host", "adb", "qemu"]
    maker: str = ""
    model: str = ""
    soc: str = ""
    os: str = ""
    abi: str = ""
    cpu_features: tuple[str, ...] = ()
    cores: int = 0
    memory_bytes: int | None = None
    emulated: bool = Field(
        False, description="an emulated processor's answers count, its times never"
    )


class Conditions(Document):
    """The device's state before or after; null is: the platform does not tell."""

    utc: str
    battery_celsius: float | None = None
    battery_percent: float | None = None
    charging: bool | None = None
    thermal_status: int | None = None
    soc_celsius: float | None = None
    governor: str | None = None
    frequency_khz: tuple[int, ...] = ()
    screen_on: bool | None = None
    load: float | None = None
    charge_uah: int | None = Field(
        None, description="the battery's charge counter in microampere-hours"
    )
    voltage_mv: int | None = None


class GoldenPass(Document):
    """The golden set answered once, by a process of its own."""

    threads: int
    after_load: bool = Field(
        False, description="after the timed runs, when the device is hot; else before them"
    )
    passed: bool
    max_error: float | None = None
    agreement: float | None = None
    detail: str = ""

    @property
    def name(self) -> str:
        """``2 threads``, ``2 threads after the timed runs``."""
        return thread_words(self.threads) + (" after the timed runs" if self.after_load else "")


class GoldenCheck(Document):
    """The golden set on the device, over all passes; where one is wrong, or two differ, there is no
    latency.
    """

    passed: bool
    samples: int
    max_error: float | None = None
    limit: float
    agreement: float | None = None
    detail: str = ""
    passes: tuple[GoldenPass, ...] = Field(
        (), description="in order; none in files from before they were kept apart"
    )
    pass_difference: float | None = Field(
        None, description="largest difference of a probability between two passes"
    )


class Cold(Document):
    """One fresh process: nanoseconds to map the file, to load the method, and of the first
    inference.
    """

    file_load_ns: Nanoseconds
    method_load_ns: Nanoseconds
    first_inference_ns: Nanoseconds
    threads: int | None = None


class Series(Document):
    """Steady samples under one setting."""

    threads_asked: int
    threads_in_effect: int | None = None
    cores: str = Field("all", description="all, or the cores the process was bound to")
    warmup_ns: tuple[Nanoseconds, ...] = Field(
        description="samples before the series was found steady, in order"
    )
    steady_rule: str = Field("", description="how warm-up was decided to be over")
    samples_ns: tuple[Latency, ...]
    order: int = Field(0, description="position in the interleaved session")
    valid: bool = True
    reasons: tuple[str, ...] = ()


class Block(Document):
    """Successive inferences under load, summed up."""

    offset_ns: Nanoseconds = Field(description="start of the first, from the start of the load")
    count: int = Field(ge=1)
    least_ns: Latency
    p10_ns: Latency
    median_ns: Latency
    p90_ns: Latency
    most_ns: Latency


#: Blocks of equal time that a sustained part is cut into: ten to each tenth of it.
BLOCKS = 100


class Sustained(Document):
    """Latency against time under load: blocks of equal time, with temperature and frequency where
    told.

    Runners and files of version 1 give every inference (``offsets_ns``, ``samples_ns``, of which
    one in ``every`` was kept); they are summed up when they are read, because minutes of a fast
    model are a million numbers.
    """

    threads: int
    length_ns: Nanoseconds = Field(description="from the first inference's start to the last's end")
    blocks: tuple[Block, ...] = Field(description="in order; without those in which none began")
    celsius: tuple[tuple[Nanoseconds, float], ...] = Field(
        (), description="(offset_ns, temperature)"
    )
    frequency_khz: tuple[tuple[Nanoseconds, int], ...] = Field(
        (), description="(offset_ns, the fastest core's frequency)"
    )
    reasons: tuple[str, ...] = Field(
        (), description="why it did not begin as it should, such as on a phone still hot"
    )

    @model_validator(mode="before")
    @classmethod
    def _sum_up(cls, document: Any) -> Any:
        if not isinstance(document, dict) or "samples_ns" not in document:
            return document
        single = {key: document.get(key) for key in ("offsets_ns", "samples_ns")}
        rest = {key: document[key] for key in document if key not in _Inferences.model_fields}
        try:
            each = _Inferences.model_validate({**single, "every": document.get("every", 1)})
        except ValidationError as error:
            raise ValueError(explain(error.errors()[0], cls)) from None
        return {**rest, **each.blocks()}

    @classmethod
    def of(cls, threads: int, offsets_ns: Sequence[int], samples_ns: Sequence[int]) -> "Sustained":
        """From the start and the duration of every inference, in order."""
        return cls.model_validate(
            {"threads": threads, "offsets_ns": offsets_ns, "samples_ns": samples_ns}
        )

    @property
    def inferences(self) -> int:
        """How many there were, over all blocks."""
        return sum(block.count for block in self.blocks)


class _Inferences(Document):
    """Every inference of a sustained part, or one in ``every``, evenly over the time."""

    offsets_ns: tuple[Nanoseconds, ...]
    samples_ns: tuple[Latency, ...]
    every: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _one_offset_each(self) -> "_Inferences":
        if len(self.offsets_ns) != len(self.samples_ns):
            raise ValueError(f"{len(self.offsets_ns)} offsets for {len(self.samples_ns)} samples")
        return self

    def blocks(self) -> dict[str, Any]:
        """``length_ns`` and ``blocks`` of ``Sustained``."""
        if not self.samples_ns:
            return {"length_ns": 0, "blocks": ()}
        length = max(map(sum, zip(self.offsets_ns, self.samples_ns, strict=True)))
        members: dict[int, list[tuple[int, int]]] = {}
        for offset, sample in sorted(zip(self.offsets_ns, self.samples_ns, strict=True)):
            members.setdefault(offset * BLOCKS // length, []).append((offset, sample))
        return {"length_ns": length, "blocks": tuple(map(self._block, members.values()))}

    def _block(self, members: Sequence[tuple[int, int]]) -> Block:
        samples = sorted(sample for _, sample in members)

        def at(share: float) -> int:
            return samples[round(share * (len(samples) - 1))]

        return Block(
            offset_ns=members[0][0],
            count=len(samples) * self.every,
            least_ns=samples[0],
            p10_ns=at(0.1),
            median_ns=round(median(samples)),
            p90_ns=at(0.9),
            most_ns=samples[-1],
        )


class Pipeline(Document):
    """What a user of the app waits for, per photograph: samples of each part in nanoseconds."""

    decode_ns: tuple[Nanoseconds, ...] = ()
    resize_ns: tuple[Nanoseconds, ...] = ()
    execute_ns: tuple[Nanoseconds, ...] = ()
    post_ns: tuple[Nanoseconds, ...] = ()


class Memory(Document):
    """From a pass of its own."""

    peak_rss_bytes: int | None = None
    pss_bytes: int | None = None
    baseline_rss_bytes: int | None = None


class Energy(Document):
    """What the whole device took during the sustained part, by its own charge counter."""

    joules: float | None = Field(None, description="null: not known, for the reason given")
    reason: str = ""
    joules_per_inference: float | None = None
    seconds: float | None = None
    used_uah: int | None = None
    resolution_uah: int | None = Field(
        None, description="the smallest step that the counter was seen to make"
    )
    scope: str = ""


class Measurement(Document):
    """One artifact on one device under one protocol."""

    schema_version: Literal[2] = 2
    artifact: str
    artifact_sha256: str = Field(description="of the model file")
    backend: str
    precision: str
    via: Literal["shell", "app", "python"]
    device: Device
    golden: GoldenCheck
    cold: tuple[Cold, ...] = ()
    series: tuple[Series, ...] = ()
    sustained: Sustained | None = None
    pipeline: Pipeline | None = None
    memory: Memory | None = None
    energy: Energy | None = Field(None, description="where the device tells it")
    before: Conditions
    after: Conditions
    session: str = Field(description="the same for all that was interleaved in one run")
    started_utc: str
    versions: dict[str, str]
    commit: str | None = None
    command: str = ""
    valid: bool = True
    reasons: tuple[str, ...] = ()

    @property
    def student(self) -> str:
        """The artifact's name without backend, precision and chip."""
        return self.artifact.rpartition(f"-{self.backend}-{self.precision}")[0] or self.artifact


def read_measurement(path: Path) -> Measurement:
    """Read and validate; a wrong file is a ``UserError`` that names the first wrong key, a newer
    one the version to get.
    """
    document = read_json(path, "measurement")
    if isinstance(document, dict) and document.get("schema_version") == 1:
        document["schema_version"] = MEASUREMENT_VERSION
    return parse_document(document, Measurement, str(path), "measurement", "measure again")
