"""What lets a reference export without data: its quantisation parameters, and the gates that it
passed where the data was.

``recorded_gates.json`` holds per precision: gates, stages, accuracy, data hash and versions.
"""

from typing import Any

from mobilekd.formats.artifact import Gate, Stage
from mobilekd.formats.runs import Run
from mobilekd.support.files import read_json

RECORD = "recorded_gates.json"


def recorded(run: Run, key: str) -> dict[str, Any] | None:
    """The record of one export by its ``<backend>-<precision>``, if the run carries it."""
    path = run.folder / RECORD
    document: dict[str, Any] = read_json(path, "record of gates") if path.exists() else {}
    return document.get(key)


def recorded_results(record: dict[str, Any]) -> tuple[list[Stage], list[Gate]]:
    """Stages and gates that only data can decide, marked as recorded."""
    stages = [Stage.model_validate({**row, "recorded": True}) for row in record["stages"]]
    gates = [Gate.model_validate({**row, "recorded": True}) for row in record["gates"]]
    return stages, gates
