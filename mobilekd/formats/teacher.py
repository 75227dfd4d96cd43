"""A teacher's folder, typed: what ``teach`` leaves and students read. No torch.

::

    teacher.json           TeacherRecord; says what the teacher is and what validation says of it
    weights.safetensors    its weights, or in their place
    program.onnx           the program that it is (or program.pt2), or
    logits.npz             its answers to fixed views, where its weights are not shared
    metrics.jsonl          one line for every epoch
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mobilekd.formats.document import Document, read_document
from mobilekd.formats.integrity import check_files, check_seal, file_hashes, write_sealed
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.formats.runs import METRICS, TeacherSummary
from mobilekd.formats.training_tables import TeacherTable
from mobilekd.support.errors import UserError

RECORD = "teacher.json"
WEIGHTS = "weights.safetensors"
LOGITS = "logits.npz"

#: ``teachers.N.model`` of a teacher that is a program, by the kind of its file.
PROGRAMS = ("onnx", "pt2")

#: How files end that hold a finished teacher.
FINISHED = (".onnx", ".pt2", ".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")

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
    data_licence: str = Field(
        "", description="of what it was trained on; empty where nobody stated it"
    )
    recipe_hash: str
    identity: str = Field(description="over all that shapes its weights")
    weights_sha256: str
    finished: bool = Field(
        False, description="taken as it is, not trained here; false in folders made before"
    )
    source: str | None = Field(
        None,
        description=(
            "what its weights began from or, of a finished one, are: hub, random, or the SHA-256 of"
            " the file; none in folders made before"
        ),
    )
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
            data_licence=self.data_licence,
            validation=self.validation,
            seconds=self.seconds,
        )

    @property
    def is_finished(self) -> bool:
        """Whether it was taken as it is; a program always is."""
        return self.finished or self.model in PROGRAMS

    def doubt(self) -> str | None:
        """Why figures of a student that it teaches may be too good; None where ``teach`` trained it
        under the split.
        """
        if not self.is_finished:
            return None
        return (
            f"teacher {self.model}: was trained elsewhere, so it may have seen photographs that"
            " choose and judge here, and figures of it and of its students may be too good; a"
            " teacher that mobilekd teach trains has not seen them"
        )

    def recalls(self) -> list[float]:
        """Recall per class on validation, 0 where validation has none."""
        return [self.validation[f"recall.{label.key}"].value or 0.0 for label in self.labels]


def finished_file(table: TeacherTable) -> Path | None:
    """The file that ``trained`` names; None where it names a folder that ``teach`` wrote, or
    nothing.
    """
    path = Path(table.trained) if table.trained else None
    if path is None or path.is_dir():
        return None
    return path if path.is_file() or path.suffix.lower() in FINISHED else None


def taught_before(table: TeacherTable) -> bool:
    """Whether the teacher is a folder that ``teach`` wrote, and nothing is left to teach."""
    return bool(table.trained) and finished_file(table) is None


def teacher_folder(table: TeacherTable, run: Path, index: int) -> Path:
    """Where teacher ``index`` of the run at ``run`` lies: where its table says, else in the run."""
    if table.trained and taught_before(table):
        return Path(table.trained)
    return run / "teachers" / str(index)


def file_of(model: str) -> str:
    """The file of a teacher's folder that answers: its weights, or the program that it is."""
    return f"program.{model}" if model in PROGRAMS else WEIGHTS


def read_teacher(folder: Path, model: str | None = None) -> TeacherRecord:
    """A teacher's record; a ``UserError`` where there is none, where it is not a ``model``, or
    where a file of the folder is not the one that ``teach`` wrote.
    """
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
    answering = file_of(record.model)
    if (folder / answering).exists() or not (folder / LOGITS).exists():
        hashes[answering] = record.weights_sha256
    else:
        hashes.pop(answering, None)  # its answers lie in their place
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
    files = file_hashes(folder, (file_of(record.model), LOGITS, METRICS))
    document = record.model_copy(update={"files": files}).model_dump(mode="json")
    write_sealed(folder / RECORD, document)
