"""A run folder, typed: what a finished ``distill`` leaves and everything later reads. No torch.

::

    run.json                       RunInfo, written last: it says that the run is whole
    recipe.json                    the resolved recipe
    split.json                     Split
    student.safetensors            weights (a reference ships fp16)
    calibration.json               Calibration, fitted on validation
    guard.json                     Guard, fitted on training and validation; not in older runs
    metrics.jsonl                  one line for every epoch
    teacher_logits.safetensors     the teachers' answers to the test split
    teachers/<i>/                  see formats/teacher.py
    evaluation/                    metrics.json, predictions.csv, figures
"""

import os
import shlex
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field

from mobilekd.formats import recipe as recipes
from mobilekd.formats.artifact import ARTIFACTS
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.document import Document, read_document
from mobilekd.formats.guard import GUARD, Guard, read_guard
from mobilekd.formats.integrity import check_files, check_seal, file_hashes, write_sealed
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.formats.recipe_file import from_dict
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json, sha256_json
from mobilekd.support.lock import locked
from mobilekd.support.words import choices, counted, html_table, unknown

#: What a part of a split is for.
Role = Literal["train", "validation", "test"]

#: A run's split, below its folder.
SPLIT = "split.json"

#: What a split by lesion is called where no lesion is known: photographs are dealt one by one.
NO_LESIONS = "photograph, no lesion ids"

#: One line of JSON for every epoch, of a run and of a teacher.
METRICS = "metrics.jsonl"

#: What a run consists of, beside ``run.json`` and the teachers, which carry hashes of their own.
PARTS = (
    "recipe.json",
    SPLIT,
    "student.safetensors",
    "calibration.json",
    GUARD,
    METRICS,
    "teacher_logits.safetensors",
    "training_hashes.json",
    "metrics.json",  # from here on what a shipped reference has beside
    "quantization.json",
    "recorded_gates.json",
)

#: Where commands look for runs, and leave them.
RUNS = Path("runs")

REMEDY = "copy the run's folder whole, or distil it again"


def control_name(name: str) -> str:
    """What the control of the run ``name`` is called."""
    return f"{name}-control"


class Split(Document):
    """Photograph ids by role. ``hash`` covers them all, so two runs can prove that they were judged
    alike.
    """

    by: Literal["lesion", "photograph", "lists"]
    seed: int
    data_hash: str = Field(description="over ids, labels, lesions and file sizes")
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    pixels: dict[Role, str] = Field(
        default_factory=dict,
        description=(
            "over the decoded photographs of each role, in order; empty in splits made before it"
            " was kept"
        ),
    )

    @property
    def leaky(self) -> bool:
        """Photographs of one lesion may sit on both sides."""
        return self.by == "photograph"

    def hash(self) -> str:
        """Hex SHA-256 over roles and ids."""
        return sha256_json(
            {
                "train": sorted(self.train),
                "validation": sorted(self.validation),
                "test": sorted(self.test),
            }
        )


class TeacherSummary(Document):
    """What a run remembers of one of its teachers."""

    model: str
    weights_sha256: str
    data_licence: str = Field(
        "", description="of what it was trained on; empty where nobody stated it"
    )
    validation: dict[str, Interval] = Field(description="its metrics on validation by name")
    seconds: float = Field(description="training time")


class RunInfo(Document):
    """``run.json``."""

    schema_version: Literal[1] = 1
    name: str
    recipe_hash: str
    split_hash: str
    split_by: str = Field(
        description=f"lesion, photograph (leaky), lists, or '{NO_LESIONS}' where none is known"
    )
    data_hash: str
    data_licence: str = ""
    confirmed: dict[str, dict[str, int]] = Field(
        default_factory=dict,
        description=(
            "photographs by class and by how the diagnosis was confirmed (histology, ...; empty"
            " where that is not known); empty where the data do not say it"
        ),
    )
    labels: tuple[Label, ...]
    control: str | None = Field(
        None, description="name of the run without a teacher that this one stands beside"
    )
    is_control: bool = False
    parameters: int
    macs: int
    epochs: int
    seconds: float = Field(description="training time, resumed stretches added up")
    images_per_second: float = 0.0
    teachers: tuple[TeacherSummary, ...] = ()
    created_utc: str
    versions: dict[str, str]
    commit: str | None = None
    command: str = ""
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = Field(
        (),
        description=(
            "those of the notes that say why figures on its test photographs may be too good; empty"
            " in runs made before"
        ),
    )
    validation: dict[str, Interval] = Field(
        default_factory=dict,
        description="its metrics on validation by name; empty in runs made before they were kept",
    )
    identity: str | None = Field(
        None, description="over all that shaped the weights, wherever the files lay"
    )
    pixels: dict[Role, str] = Field(
        default_factory=dict,
        description="as in split.json, of a run that ships without it; empty in others",
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        description="SHA-256 of the run's other files by name; empty in runs made before",
    )
    sha256: str | None = Field(None, description="over the other keys of this document")


@dataclass(frozen=True)
class Run:
    """An opened run folder."""

    folder: Path
    info: RunInfo
    reference: bool = False

    def __repr__(self) -> str:
        name = f"reference:{self.folder.name}" if self.reference else str(self.folder)
        return f"<run {name}: {self.title}, {self.info.parameters:,} parameters>"

    def _repr_html_(self) -> str:
        """A table for a notebook."""
        info = self.info
        rows = {
            "run": f"reference:{self.folder.name}" if self.reference else str(self.folder),
            "student": self.title,
            "size": f"{info.parameters:,} parameters, {info.macs:,} multiply-adds",
            "training": f"{counted(info.epochs, 'epoch')}, {info.seconds:.0f} s",
            "classes": ", ".join(label.text for label in info.labels),
            "control": info.control or ("it is one" if info.is_control else "none"),
        }
        return html_table([(key, value) for key, value in rows.items() if value])

    @property
    def recipe(self) -> recipes.Recipe:
        """The resolved recipe."""
        path = self.folder / "recipe.json"
        return from_dict(read_json(path, "recipe"), str(path))

    @property
    def name(self) -> str:
        """What ``open_run`` opens it by, wherever the runs lie."""
        return f"reference:{self.folder.name}" if self.reference else str(self.folder)

    @property
    def title(self) -> str:
        """What it is, from what happened: the recipe's own title may name teachers that an override
        replaced.
        """
        recipe = self.recipe
        names = ", ".join(teacher.model for teacher in self.info.teachers)
        taught = f"taught by {names}" if names else "without a teacher"
        return f"{recipe.student.title} on {recipe.data.title}, {taught}"

    @property
    def split(self) -> Split | None:
        """The split; a reference ships only its hash."""
        path = self.folder / SPLIT
        return read_split(path) if path.exists() else None

    @property
    def calibration(self) -> Calibration:
        """Temperature, threshold and quality limits."""
        return read_document(self.folder / "calibration.json", Calibration, "calibration")

    @property
    def guard(self) -> Guard | None:
        """What refuses photographs of another kind; None in runs made before there was one."""
        return read_guard(self.folder)

    @property
    def evaluation_folder(self) -> Path:
        """Where ``evaluate`` puts its judgement of the run's own test split."""
        if self.reference:
            return Path("results") / "evaluations" / self.folder.name
        return self.folder / "evaluation"

    @property
    def weights(self) -> Path:
        """The student's weights."""
        return self.folder / "student.safetensors"


#: What ``export`` takes where there is no run: the student that holds best in other clinics.
DEFAULT_REFERENCE = "dermoscopy-mobilenetv2-035"


def references() -> list[str]:
    """Names of the shipped students."""
    place = Path(str(files("mobilekd"))) / "reference"
    return sorted(path.parent.name for path in place.glob("*/run.json"))


def open_run(name: str | Path, root: Path = Path("runs")) -> Run:
    """Open ``reference:NAME``, a run's folder, or a run's name below ``root``."""
    text = str(name)
    if text.startswith("~"):
        name = text = os.path.expanduser(text)
    if text.startswith("reference:"):
        wanted = text.removeprefix("reference:")
        if wanted not in references():
            raise UserError(unknown(text, wanted, references()))
        return _open(Path(str(files("mobilekd"))) / "reference" / wanted, reference=True)
    for folder in (Path(name), root / text):
        if (folder / "run.json").exists():
            return _open(folder)
        if (folder / "checkpoint.pt").exists():
            raise UserError(
                f"{folder}: the run is not finished; go on with mobilekd distill"
                f" {on_command_line(folder)} --resume"
            )
    raise UserError(f"{text}: {_no_run(text, root)}")


def _no_run(text: str, root: Path) -> str:
    """Why a name opens no run, and what to do about it."""
    if (Path(text) / "manifest.json").is_file():
        return "an artifact, and a run is wanted; give the run that it was made from"
    if Path(text).parent == ARTIFACTS or (ARTIFACTS / text).is_dir():
        if (ARTIFACTS / Path(text).name / "manifest.json").is_file():
            return f"no such run; an artifact of that name lies in {ARTIFACTS}"
        return "no such artifact; mobilekd export makes one"
    names = sorted(path.parent.name for path in root.glob("*/run.json"))
    here = f"{choices(Path(text).name, names)}; " if names else ""
    return (
        f"no such run; {here}mobilekd distill RECIPE makes one, reference:{DEFAULT_REFERENCE} is a"
        " shipped one"
    )


def newest_run(root: Path = Path("runs")) -> Run:
    """The newest finished run below ``root`` that is no control, else the default reference."""
    found = sorted(root.glob("*/run.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found:
        run = _open(path.parent)
        if not run.info.is_control:
            return run
    if DEFAULT_REFERENCE in references():
        return open_run(f"reference:{DEFAULT_REFERENCE}")
    raise UserError(f"{root}: no finished run and no shipped reference; mobilekd demo makes one")


def on_command_line(folder: Path) -> str:
    """A run's folder as commands that train take it: its name, and the folder of its runs where
    that is another than the usual one.
    """
    place = "" if folder.parent == RUNS else f" --runs {shlex.quote(str(folder.parent))}"
    return f"{shlex.quote(folder.name)}{place}"


def reading(run: Run, command: str) -> AbstractContextManager[None]:
    """Hold a run for a command that only reads it: others may read too, and nobody trains in it.
    Nobody writes a reference.
    """
    return nullcontext() if run.reference else locked(run.folder, command, shared=True)


def read_split(path: Path) -> Split:
    """A run's split; a file that is something else is a ``UserError``."""
    return read_document(path, Split, "split")


def write_run_info(folder: Path, info: RunInfo) -> None:
    """Write ``run.json`` with the hashes of the files that are there, last of all."""
    document = info.model_copy(update={"files": file_hashes(folder, PARTS)})
    write_sealed(folder / "run.json", document.model_dump(mode="json"))


def _open(folder: Path, *, reference: bool = False) -> Run:
    """A run whose parts belong together; a ``UserError`` names the first that does not."""
    run = Run(folder, read_document(folder / "run.json", RunInfo, "run"), reference)
    check_seal(folder / "run.json", "run", REMEDY)
    check_files(folder, run.info.files, REMEDY)
    if not run.info.files:
        _compare_split(run)
    return run


def _compare_split(run: Run) -> None:
    """What a run from before hashes of files were kept says of its split."""
    split = run.split
    if split and (split.hash(), split.data_hash) != (run.info.split_hash, run.info.data_hash):
        raise UserError(
            f"{run.folder / SPLIT}: is not the split that run.json was written for; {REMEDY}"
        )
