"""A teacher's folder, typed: what ``teach`` leaves and students read. No torch.

::

    teacher.json           TeacherRecord; says what the teacher is and what validation says of it
    weights.safetensors    its weights, or in their place
    logits.npz             its answers to fixed views, where its weights are not shared
    metrics.jsonl          one line for every epoch
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mobilekd.formats.artifact import Interval, Label
from mobilekd.formats.document import Document, read_document
from mobilekd.formats.integrity import check_files, check_seal, file_hashes, write_sealed
from mobilekd.formats.recipe import TeacherTable
from mobilekd.formats.runs import METRICS, TeacherSummary
from mobilekd.support.errors import UserError

RECORD = "teacher.json"
WEIGHTS = "weights.safetensors"
LOGITS = "logits.npz"

REMEDY = "copy the teacher's folder whole, or teach it again"


class TeacherRecord(Document):
    """``teacher.json``."""

    schema_version: Literal[1] = 1
    model: str
    options: dict[str, Any] = Field(default_factory=dict)
    classes: tuple[str, ...] = Field(
        (), description="keys of a finished teacher's own classes, in the order of its answers"
    )
    code: dict[str, str] = Field(
        default_factory=dict, description="source of an own teacher by file"
    )
    labels: tuple[Label, ...]
    preprocess: dict[str, Any]
    split_hash: str
    split_by: str
    data_hash: str
    recipe_hash: str
    identity: str = Field(description="over all that shapes its weights")
    weights_sha256: str
    validation: dict[str, Interval] = Field(description="its metrics on validation by name")
    seconds: float = Field(description="training time")
    images_per_second: float = 0.0
    created_utc: str
    versions: dict[str, str]
    commit: str | None = None
    files: dict[str, str] = Field(
        default_factory=dict,
        description="SHA-256 of the folder's other files by name; empty in folders made before",
    )
    sha256: str | None = Field(None, description="over the other keys of this document")

    def summary(self) -> TeacherSummary:
        """What a student's run remembers of it."""
        return TeacherSummary(
            model=self.model,
            weights_sha256=self.weights_sha256,
            validation=self.validation,
            seconds=self.seconds,
        )

    def recalls(self) -> list[float]:
        """Recall per class on validation, 0 where validation has none."""
        return [self.validation[f"recall.{label.key}"].value or 0.0 for label in self.labels]


def teacher_folder(table: TeacherTable, run: Path, index: int) -> Path:
    """Where teacher ``index`` of the run at ``run`` lies: where its table says, else in the run."""
    return Path(table.trained) if table.trained else run / "teachers" / str(index)


def read_teacher(folder: Path, model: str | None = None) -> TeacherRecord:
    """A teacher's record; a ``UserError`` where there is none, where it is not a ``model``, or
    where a file of the folder is not the one that ``teach`` wrote.
    """
    if folder.is_file():
        raise UserError(
            f"{folder}: a file, and a folder that teach wrote is meant; to take a checkpoint as it"
            " is, set teachers.N.weights to it and teach.epochs=0, and run mobilekd teach"
        )
    if not (folder / RECORD).exists():
        raise UserError(
            f"{folder}: no trained teacher{f' ({model})' if model else ''}; run mobilekd teach with"
            " the same recipe first"
        )
    record = read_document(folder / RECORD, TeacherRecord, "teacher", REMEDY)
    if model not in (None, record.model):
        raise UserError(
            f"{folder}: holds a {record.model}, the recipe asks for a {model}; use another name, or"
            " remove that folder"
        )
    check_seal(folder / RECORD, "teacher", REMEDY)
    hashes = dict(record.files)
    if (folder / WEIGHTS).exists() or not (folder / LOGITS).exists():
        hashes[WEIGHTS] = record.weights_sha256
    else:
        hashes.pop(WEIGHTS, None)  # its answers lie in their place
    check_files(folder, hashes, REMEDY)
    missing = [
        name
        for name in ("balanced_accuracy", *(f"recall.{label.key}" for label in record.labels))
        if name not in record.validation
    ]
    if missing:
        raise UserError(f"{folder / RECORD}: validation lacks {missing[0]}; {REMEDY}")
    return record


def write_teacher(folder: Path, record: TeacherRecord) -> None:
    """Write ``teacher.json`` with the hashes of the files that are there."""
    files = file_hashes(folder, (WEIGHTS, LOGITS, METRICS))
    document = record.model_copy(update={"files": files}).model_dump(mode="json")
    write_sealed(folder / RECORD, document)
