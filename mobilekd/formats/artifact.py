"""The artifact: a folder with the model file, ``manifest.json``, a model card and the golden set.
Typed, no torch.

Consumers read the manifest; nobody parses a file name. ``open_artifact`` refuses a folder whose
files do not match the manifest's hashes.
"""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.chip import Chip
from mobilekd.formats.document import Document, read_document
from mobilekd.formats.gates import NOT_DECIDED, Delegation, Gate, Stage, open_rows
from mobilekd.formats.golden_set import Golden, read_golden
from mobilekd.formats.guard import GuardSummary
from mobilekd.formats.integrity import check_seal, write_sealed
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.formats.preprocess import Preprocess
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_file
from mobilekd.support.words import html_table

MANIFEST_VERSION = 1
#: The manifest's JSON schema beside this file, for readers in other languages; ``python -m
#: mobilekd.formats.artifact`` writes it again.
SCHEMA = Path(__file__).with_name(f"manifest-v{MANIFEST_VERSION}.schema.json")


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
    lesions_by_class: dict[str, int] = Field(default_factory=dict)
    before: dict[str, Interval] = Field(description="figures of these photographs, as it was")
    after: dict[str, Interval] = Field(description="the same by cross-fitting")
    enough: PositiveInt = Field(
        description="lesions of a class that fix its set's coverage to 5 points either way"
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
    chip: Chip | None = Field(
        None, description="the one that the file is compiled for; null for a file for any"
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
    sha256: str | None = Field(None, description="over the other keys of this document")

    @property
    def open_decisions(self) -> tuple[str, ...]:
        """Why no test photograph judged its decisions, in sentences that begin with
        ``NOT_DECIDED``; empty where they were judged, here or where the data was.
        """
        return tuple(row.reason or NOT_DECIDED for row in open_rows(self.parity))

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


@dataclass(frozen=True)
class Artifact:
    """An opened artifact folder."""

    folder: Path
    manifest: Manifest

    def __repr__(self) -> str:
        manifest = self.manifest
        return (
            f"<artifact {self.folder}: {manifest.student.model} for {manifest.backend},"
            f" {manifest.precision}, {manifest.bytes:,} bytes, {len(manifest.gates)} gates passed"
            f"{f', {NOT_DECIDED}' if manifest.open_decisions else ''}>"
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
                    (
                        gate.name.title,
                        f"{gate.value:.4g}, must be {gate.relation} {gate.limit:g}"
                        f"{' (recorded)' if gate.recorded else ''}",
                    )
                    for gate in manifest.gates
                ),
                *(("decisions", reason) for reason in manifest.open_decisions),
            ]
        )

    @property
    def title(self) -> str:
        """The artifact's full name, as its measurements call it."""
        manifest = self.manifest
        chip = f"-{manifest.chip.soc}" if manifest.chip else ""
        return f"{manifest.name}-{manifest.backend}-{manifest.precision}{chip}"

    @property
    def model(self) -> Path:
        """The model file (a folder for Core ML)."""
        return self.folder / self.manifest.model_file

    def golden(self) -> Golden:
        """Read the golden set; its files' hashes were checked when the artifact was opened.

        A file that does not hold what ``golden.json`` says is a ``UserError``.
        """
        manifest = self.manifest
        size = (manifest.preprocess.height, manifest.preprocess.width)
        return read_golden(self.folder / "golden", size, len(manifest.labels), manifest.outputs)


def _leaves_the_folder(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or not path.parts or ".." in path.parts


def _lies_there(folder: Path) -> bool:
    """Whether an artifact called like this is where ``export`` puts them."""
    return (ARTIFACTS / folder.name / "manifest.json").is_file()


def write_manifest(folder: Path, manifest: "Manifest") -> None:
    """Write ``manifest.json`` with the hashes of the files that are there, last of all."""
    document = manifest.model_copy(update={"files": hashes(folder)}).model_dump(mode="json")
    write_sealed(folder / "manifest.json", document)


def open_artifact(folder: Path) -> Artifact:
    """Open an artifact and check every file against the manifest."""
    if not folder.exists():
        raise UserError(
            f"{folder}: no such artifact; mobilekd export makes one"
            + (f", and {folder.name} lies in {ARTIFACTS}" if _lies_there(folder) else "")
        )
    if (folder / "run.json").is_file():
        raise UserError(
            f"{folder}: a run, and an artifact is wanted; mobilekd export"
            f" {shlex.quote(str(folder))} makes one"
        )
    if folder.is_file() and folder.suffix != ".json":
        around = folder.parent if (folder.parent / "manifest.json").is_file() else None
        raise UserError(
            f"{folder}: a file, and an artifact is a folder; give"
            f" {around or 'the one that mobilekd export made'}"
        )
    if folder.is_dir() and not (folder / "manifest.json").is_file():
        # no deeper: the folder may be a whole disk
        near = (*folder.glob("*/manifest.json"), *folder.glob("*/*/manifest.json"))
        inside = min(near, default=None)
        raise UserError(
            f"{folder}: no artifact, as it has no manifest.json; give"
            f" {inside.parent if inside else 'the folder that mobilekd export made'}"
        )
    manifest_file = folder / "manifest.json" if folder.is_dir() else folder
    folder = manifest_file.parent
    manifest = read_document(manifest_file, Manifest, "artifact manifest", "export again")
    check_seal(manifest_file, "artifact manifest", "export again or copy it whole")
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


def newest_artifact(
    root: Path = ARTIFACTS, fits: Callable[["Manifest"], bool] = lambda _: True
) -> Path:
    """The folder of the newest artifact below ``root`` that ``fits``; of the newest where none
    does, so that the reason is told of it.
    """
    found = sorted(root.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    for path in reversed(found):
        if fits(read_document(path, Manifest, "artifact manifest", "export again")):
            return path.parent
    if not found:
        raise UserError(
            f"{root}: no artifact here; name one, or make one: mobilekd export --backend xnnpack"
        )
    return found[-1].parent


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
