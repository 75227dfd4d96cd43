"""The artifact: a folder with the model file, ``manifest.json``, a model card and the golden set.
Typed, no torch.

Consumers read the manifest; nobody parses a file name. ``open_artifact`` refuses a folder whose
files do not match the manifest's hashes. Golden set on disk (all little-endian, C order)::

    golden/golden.json         GoldenIndex
    golden/NN.jpg|png          synthetic photographs, preprocessed by every consumer's own code
    golden/inputs.u8           uint8   [N, 3, H, W]  what the preprocess gives, fed as float32
    golden/probabilities.f32   float32 [N, C]        the saved file's answers on the exporting host
    golden/cam.f32             float32 [N, h, w]     only where forward gives a map
    golden/outside.f32         float32 [N]           only where forward gives the guard's score
    golden/decisions.json      list of Decision      what is said of each; not in older artifacts
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    PositiveInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from mobilekd.formats.document import Document, GrownDocument, read_document
from mobilekd.formats.guard import OUTPUT, GuardSummary
from mobilekd.formats.parity_names import GateId, GateName, StageName
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.roles import Role, guess
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_file, write_json
from mobilekd.support.words import html_table

MANIFEST_VERSION = 1
#: The manifest's JSON schema beside this file, for readers in other languages; ``python -m
#: mobilekd.formats.artifact`` writes it again.
SCHEMA = Path(__file__).with_name(f"manifest-v{MANIFEST_VERSION}.schema.json")

#: A stage's and a gate's name: typed in memory, a string on disk.
_TEXT = (PlainSerializer(str, return_type=str), WithJsonSchema({"type": "string"}))
StageField = Annotated[StageName, PlainValidator(StageName.read), *_TEXT]
GateField = Annotated[GateName, PlainValidator(GateName.read), *_TEXT]

#: A golden photograph, which lies in the golden folder itself.
ImageName = Annotated[str, Field(pattern=r"^[\w-][\w.-]*$")]


class Interval(Document):
    """A figure with its 95% interval; ``value`` is null where there is a ``reason``."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


#: Groups of classes that have metrics of their own, with the roles that belong to each.
GROUPS: dict[str, frozenset[str]] = {
    "melanoma": frozenset({"melanoma"}),
    "malignant": frozenset({"melanoma", "malignant"}),
}


class Label(GrownDocument):
    """One class: its key in the data, its name in words, and its role among the diagnoses."""

    later = frozenset({"role"})

    key: str
    text: str
    role: Role | None = Field(
        None, description="melanoma, malignant or benign; null: guessed from the key"
    )

    @property
    def known_role(self) -> Role | None:
        """The role, guessed from the key where it was not given."""
        return self.role or guess(self.key)


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
        known = self.estimate
        if known is None or known.value is None:
            return f"{self.value:.4g}"
        span = ""
        if known.low is not None and known.high is not None:
            digits = 2 if known.high - known.low >= 0.02 else 3
            span = f" ({known.low:.{digits}f} to {known.high:.{digits}f})"
        lost = "loses " if self.name.id is GateId.BALANCED_ACCURACY else ""
        return f"{lost}{known.value:.3f}{span} on {self.samples:,}"

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


class Quality(Document):
    """Limits fitted on validation beyond which the apps say that a photograph is blurred or badly
    exposed.

    Measured on the preprocessed uint8 picture's luma ``(77 R + 150 G + 29 B) >> 8``: ``sharpness``
    is the variance of the 4-neighbour Laplacian over the inner pixels, ``mean`` the mean luma. Both
    limits are 1% quantiles.
    """

    sharpness_low: float
    luma_low: float
    luma_high: float


class Sets(Document):
    """When a class cannot be excluded (:mod:`mobilekd.metrics.conformal`): its probability is at
    least its threshold.
    """

    coverage: float = Field(
        gt=0, lt=1, description="least share of each class whose set was to hold it"
    )
    thresholds: dict[str, float] = Field(description="by class; 0 never excludes it")


class Rescale(Document):
    """What comes after the file, whose own temperature and priors stay inside: its probabilities
    ``p`` become ``softmax(power log(max(p, 1e-12)) + offsets)``.

    Since ``log p`` is the logits over the file's temperature plus its priors, but for a constant,
    this is any other temperature with any other priors, exactly.
    """

    power: float = Field(gt=0, description="the file's temperature divided by the new one")
    offsets: tuple[float, ...] = Field(min_length=2, description="added for each class")


class Calibration(GrownDocument):
    """What validation fixed: ``probabilities = softmax(logits / temperature + bias)``, and when to
    say "not sure".
    """

    later = frozenset({"sets", "rescale", "shares"})

    temperature: float = 1.0
    bias: tuple[float, ...] | None = Field(
        None, description="prior adjustment per class, if the decision uses one"
    )
    threshold: float = Field(0.0, description="below this top probability the answer is: not sure")
    coverage: float = Field(0.9, description="share of validation that the threshold keeps")
    coverage_by_class: dict[str, float] = Field(default_factory=dict)
    operating_points: dict[str, float] = Field(
        default_factory=dict, description="melanoma and malignant thresholds"
    )
    quality: Quality | None = None
    sets: Sets | None = Field(
        None, description="of classes that cannot be excluded; null before there were any"
    )
    rescale: Rescale | None = Field(
        None, description="of an artifact that was fitted to a clinic; temperature and bias stay"
    )
    shares: dict[str, float] = Field(
        default_factory=dict,
        description="of each class among the photographs that it was fitted on",
    )


class Student(Document):
    """The network inside."""

    model: str
    parameters: int
    macs: int
    options: dict[str, Any] = Field(default_factory=dict)


class Provenance(Document):
    """Where the artifact comes from."""

    run: str
    recipe: dict[str, Any]
    recipe_hash: str
    data_hash: str
    split_hash: str
    split_by: str
    data_licence: str = ""
    created_utc: str
    commit: str | None = None
    versions: dict[str, str]
    source_sha256: str = Field("", description="of the student's weights")


class ClinicFit(Document):
    """What an artifact was fitted to after it was exported, and what that changed."""

    source_sha256: str = Field(description="of the model file that it was fitted from")
    data: str = Field(description="kind of the photographs' data set")
    data_hash: str
    photographs: PositiveInt
    lesions: PositiveInt
    by_class: dict[str, int]
    before: dict[str, Interval] = Field(description="figures of these photographs, as it was")
    after: dict[str, Interval] = Field(description="the same by cross-fitting")
    enough: PositiveInt = Field(
        description="photographs of a class that fix its set's coverage to 5 points either way"
    )
    span: dict[str, tuple[float, float]] = Field(
        description="95% interval of the coverage that a class's sets will have, by class"
    )
    guard_refused_before: float | None = Field(
        None, description="share of these photographs that the guard refused"
    )
    created_utc: str
    versions: dict[str, str]


class Manifest(Document):
    """``manifest.json``."""

    schema_version: Literal[1] = 1
    name: str
    backend: str
    precision: str
    model_file: str
    files: dict[str, str] = Field(
        description="SHA-256 by path inside the artifact; a folder's is over its files"
    )
    bytes: int
    student: Student
    preprocess: Preprocess
    labels: tuple[Label, ...]
    outputs: tuple[str, ...] = ("probabilities",)
    calibration: Calibration
    guard: GuardSummary | None = Field(
        None, description="of the guard inside; null for a file made before there was one"
    )
    delegation: Delegation | None = None
    parity: tuple[Stage, ...] = ()
    gates: tuple[Gate, ...] = ()
    memory: dict[str, int] = Field(
        default_factory=dict, description="bytes: weights, program, planned"
    )
    least_ios: int | None = Field(
        None, description="least iOS that loads a Core ML file of this precision"
    )
    accuracy: dict[str, Any] = Field(
        default_factory=dict, description="the run's test metrics, each an Interval"
    )
    clinic: ClinicFit | None = Field(
        None, description="of an artifact that was fitted to a clinic; null for one as exported"
    )
    notes: tuple[str, ...] = Field(
        (), description="what hard-swish and the like cost, least iOS, what is unverified"
    )
    provenance: Provenance

    @field_validator("accuracy")
    @classmethod
    def _figures(cls, accuracy: dict[str, Any]) -> dict[str, Any]:
        """The count ``n``, and figures that are Intervals; kept as they were written."""
        for name, figure in accuracy.items():
            if name != "n":
                Interval.model_validate(figure)
            elif type(figure) is not int:
                raise ValueError(f"n: not a count of photographs (given: {figure!r})")
        return accuracy


class LayerCost(Document):
    """One row of ``layers.json``: a convolution or linear layer, in the order of execution."""

    layer: str
    kind: str
    output: tuple[int, ...] = Field(description="its output's shape without the batch")
    macs: int = Field(ge=0, description="multiply-adds")
    parameters: int = Field(ge=0)


class LayerSensitivity(Document):
    """One row of ``sensitivity.json``: what rounding this layer alone costs."""

    layer: str
    sqnr_db: float = Field(description="of the probabilities")
    agreement: float = Field(description="top-1, with floating point")
    accuracy_loss: float = Field(description="of balanced accuracy")
    left_in_float: bool


class TrainingHashes(Document):
    """``training_hashes.json`` of a run or an artifact: what it was trained on, by salted hashes of
    photographs.
    """

    salt: str
    hashes: tuple[str, ...]


class GoldenIndex(Document):
    """``golden/golden.json``."""

    count: PositiveInt
    height: PositiveInt
    width: PositiveInt
    classes: PositiveInt
    images: tuple[ImageName, ...]
    cam: tuple[PositiveInt, PositiveInt] | None = None
    max_error: float = Field(
        ge=0, description="how far a device's probabilities may lie from these"
    )

    @model_validator(mode="after")
    def _one_image_each(self) -> Self:
        if len(self.images) != self.count:
            raise ValueError(f"{len(self.images)} images, count says {self.count}")
        return self


class Decision(Document):
    """What is said of a photograph (:func:`mobilekd.metrics.decide.decisions`)."""

    answer: str = Field(description="a class, not sure, or outside")
    set: tuple[str, ...] | None = Field(
        description=(
            "the classes that cannot be excluded, likeliest first; null where the photograph is"
            " outside, and for a model without sets"
        )
    )
    outside: bool | None = Field(
        description="of another kind than the model knows; null without a guard"
    )


@dataclass(frozen=True)
class Golden:
    """The golden set in memory."""

    index: GoldenIndex
    inputs: np.ndarray  # uint8 [N, 3, H, W]
    probabilities: np.ndarray  # float32 [N, C]
    cam: np.ndarray | None = None  # float32 [N, h, w]
    outside: np.ndarray | None = None  # float32 [N]
    decisions: tuple[Decision, ...] | None = None  # None in older artifacts

    @property
    def outputs(self) -> list[np.ndarray]:
        """As ``forward`` gives them, in order."""
        return [
            output for output in (self.probabilities, self.cam, self.outside) if output is not None
        ]


@dataclass(frozen=True)
class Artifact:
    """An opened artifact folder."""

    folder: Path
    manifest: Manifest

    def __repr__(self) -> str:
        manifest = self.manifest
        return (
            f"<artifact {self.folder}: {manifest.student.model} for {manifest.backend},"
            f" {manifest.precision}, {manifest.bytes:,} bytes, {len(manifest.gates)} gates passed>"
        )

    def _repr_html_(self) -> str:
        """A table of what it is and of its gates, for a notebook."""
        manifest = self.manifest
        what = f"{manifest.student.model} for {manifest.backend}, {manifest.precision}"
        return html_table(
            [
                ("artifact", str(self.folder)),
                ("network", what),
                ("file", f"{manifest.bytes:,} bytes"),
                *(
                    (gate.name.title, f"{gate.value:.4g}, must be {gate.relation} {gate.limit:g}")
                    for gate in manifest.gates
                ),
            ]
        )

    @property
    def title(self) -> str:
        """The artifact's full name, as its measurements call it."""
        return f"{self.manifest.name}-{self.manifest.backend}-{self.manifest.precision}"

    @property
    def model(self) -> Path:
        """The model file (a folder for Core ML)."""
        return self.folder / self.manifest.model_file

    def golden(self) -> Golden:
        """Read the golden set; its files' hashes were checked when the artifact was opened.

        A file that does not hold what ``golden.json`` says is a ``UserError``.
        """
        place = self.folder / "golden"
        path, manifest = place / "golden.json", self.manifest
        index = read_document(path, GoldenIndex, "golden set", "export again")
        size = (manifest.preprocess.height, manifest.preprocess.width)
        if (index.height, index.width, index.classes) != (*size, len(manifest.labels)):
            raise UserError(
                f"{path}: photographs of {index.width} x {index.height} in {index.classes} classes,"
                f" the manifest has {size[1]} x {size[0]} and {len(manifest.labels)}; export again"
            )
        if (index.cam is None) == ("cam" in manifest.outputs):
            raise UserError(
                f"{path}: its activation maps ({index.cam}) are not what the manifest's outputs say"
                f" ({', '.join(manifest.outputs)}); export again"
            )
        shape = (index.count, 3, index.height, index.width)
        return Golden(
            index,
            _numbers(place / "inputs.u8", "u1", shape),
            _numbers(place / "probabilities.f32", "<f4", (index.count, index.classes)),
            _numbers(place / "cam.f32", "<f4", (index.count, *index.cam)) if index.cam else None,
            _numbers(place / "outside.f32", "<f4", (index.count,))
            if OUTPUT in manifest.outputs
            else None,
            self._decisions(place / "decisions.json", index.count),
        )

    def _decisions(self, path: Path, count: int) -> tuple[Decision, ...] | None:
        """What is said of each golden photograph; None in artifacts made before it was kept."""
        if not path.is_file():
            return None
        said = read_document(path, tuple[Decision, ...], "golden set", "export again")
        if len(said) != count:
            raise UserError(f"{path}: {len(said)} decisions for {count} images; export again")
        return said


def _numbers(path: Path, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The raw array in a file, which must hold just as many finite numbers."""
    size = path.stat().st_size if path.is_file() else None
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if size != expected:
        held = "missing" if size is None else f"{size:,} bytes"
        raise UserError(
            f"{path}: {held}, and golden.json promises {expected:,} bytes; export again or copy the"
            " artifact whole"
        )
    numbers = np.fromfile(path, dtype).reshape(shape)
    if not np.isfinite(numbers).all():
        raise UserError(f"{path}: holds NaN or infinity; export again")
    return numbers


def _leaves_the_folder(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or not path.parts or ".." in path.parts


def _lies_there(folder: Path) -> bool:
    """Whether an artifact called like this is where ``export`` puts them."""
    return (ARTIFACTS / folder.name / "manifest.json").is_file()


def open_artifact(folder: Path) -> Artifact:
    """Open an artifact and check every file against the manifest."""
    if not folder.exists():
        raise UserError(
            f"{folder}: no such artifact; mobilekd export makes one"
            + (f", and {folder.name} lies in {ARTIFACTS}" if _lies_there(folder) else "")
        )
    if (folder / "run.json").is_file():
        raise UserError(
            f"{folder}: a run, and an artifact is wanted; mobilekd export {folder} makes one"
        )
    if folder.is_file() and folder.suffix != ".json":
        around = folder.parent if (folder.parent / "manifest.json").is_file() else None
        raise UserError(
            f"{folder}: a file, and an artifact is a folder; give"
            f" {around or 'the one that mobilekd export made'}"
        )
    manifest_file = folder / "manifest.json" if folder.is_dir() else folder
    folder = manifest_file.parent
    manifest = read_document(manifest_file, Manifest, "artifact manifest", "export again")
    listed = [*manifest.files, manifest.model_file]
    if outside := [name for name in listed if _leaves_the_folder(name)]:
        raise UserError(f"{manifest_file}: {outside[0]!r} lies outside the artifact; export again")
    model = manifest.model_file
    if not any(name == model or name.startswith(f"{model}/") for name in manifest.files):
        raise UserError(f"{manifest_file}: no hash of its model file {model}; export again")
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: missing from the artifact; export again or copy it whole")
        if sha256_file(path) != expected:
            raise UserError(
                f"{path}: does not match its hash in the manifest (truncated or changed); export"
                " again or copy it whole"
            )
    # a Core ML model is a folder; nothing may have come into it
    for path in sorted((folder / manifest.model_file).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in manifest.files and not path.name.startswith("."):
            raise UserError(
                f"{path}: not in the manifest, so it came in later; take it out or export again"
            )
    return Artifact(folder, manifest)


#: Where ``export`` puts artifacts unless told otherwise.
ARTIFACTS = Path("artifacts")


def newest_artifact(root: Path = ARTIFACTS) -> Path:
    """The folder of the newest artifact below ``root``."""
    found = sorted(root.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(
            f"{root}: no artifact here; name one, or make one: mobilekd export --backend xnnpack"
        )
    return found[-1].parent


def write_golden(
    folder: Path,
    index: GoldenIndex,
    inputs: np.ndarray,
    probabilities: np.ndarray,
    cam: np.ndarray | None,
    outside: np.ndarray | None = None,
    decisions: Sequence[Decision] | None = None,
) -> None:
    """Write the golden set's arrays and index below ``folder/golden`` (its photographs are there
    already).
    """
    place = folder / "golden"
    place.mkdir(exist_ok=True)
    inputs.astype(np.uint8).tofile(place / "inputs.u8")
    probabilities.astype("<f4").tofile(place / "probabilities.f32")
    if cam is not None:
        cam.astype("<f4").tofile(place / "cam.f32")
    if outside is not None:
        outside.astype("<f4").tofile(place / "outside.f32")
    if decisions is not None:
        said = [one.model_dump(mode="json") for one in decisions]
        write_json(place / "decisions.json", said)
    (place / "golden.json").write_text(index.model_dump_json(indent=1) + "\n", encoding="utf-8")


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder`` but the manifest, by relative path."""
    found = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"
    )
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in found}


def schema() -> str:
    """The manifest's JSON schema as text, as it stands in ``SCHEMA``."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Manifest.model_json_schema(),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
