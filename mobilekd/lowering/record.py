"""What lets a reference export without data: its quantisation parameters, and the gates that it
passed where the data was.

``recorded_gates.json`` holds by ``<backend>-<precision>``: gates, stages, accuracy, data hash and
versions, or why the export was refused.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from mobilekd.backends import Backend, get
from mobilekd.formats.document import Document, read_document
from mobilekd.formats.gates import Gate, Stage
from mobilekd.formats.runs import Run

RECORD = "recorded_gates.json"


class RecordedExport(Document):
    """What one export showed where the data was."""

    data_hash: str
    split_hash: str
    gates: tuple[Gate, ...]
    stages: tuple[Stage, ...]
    accuracy: dict[str, Any]
    versions: dict[str, str]
    refused: str = Field("", description="why the gates refused it there; then no file is made")


def record_key(backend: Backend, precision: str) -> str:
    """Under what name an export is recorded: ``<backend>-<precision>``, and the chip where it is
    another than the backend's default.
    """
    key = f"{backend.name}-{precision}"
    return key if backend.soc == get(backend.name).soc else f"{key}-{backend.soc}"


def read_record(folder: Path) -> dict[str, RecordedExport]:
    """Every export recorded in a run's folder, by its ``<backend>-<precision>``; empty where there
    is none.
    """
    path = folder / RECORD
    if not path.exists():
        return {}
    return read_document(path, dict[str, RecordedExport], "record of gates")


def recorded(run: Run, key: str) -> RecordedExport | None:
    """The record of one export by its ``<backend>-<precision>``, if the run carries it."""
    return read_record(run.folder).get(key)


def recorded_results(record: RecordedExport) -> tuple[list[Stage], list[Gate]]:
    """Stages and gates that only data can decide, marked as recorded."""
    stages = [row.model_copy(update={"recorded": True}) for row in record.stages]
    gates = [row.model_copy(update={"recorded": True}) for row in record.gates]
    return stages, gates
