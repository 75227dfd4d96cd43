"""What lets a reference export without data: its quantisation parameters, and the gates that it passed where the data was.

``recorded_gates.json`` holds per precision: gates, stages, accuracy, data hash and versions.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mobilekd.artifact import Gate, Manifest, Stage
from mobilekd.errors import UserError
from mobilekd.files import read_json, write_json
from mobilekd.quantize import Frozen, read_frozen, write_frozen
from mobilekd.runs import Run, open_run

RECORD = "recorded_gates.json"


def recorded(run: Run, key: str) -> dict[str, Any] | None:
    """The record of one export by its ``<backend>-<precision>``, if the run carries it."""
    path = run.folder / RECORD
    document: dict[str, Any] = read_json(path, "record of gates") if path.exists() else {}
    return document.get(key)


def recall(record: dict[str, Any]) -> tuple[list[Stage], list[Gate]]:
    """Stages and gates that only data can decide, marked as recorded."""
    stages = [Stage.model_validate({**row, "recorded": True}) for row in record["stages"]]
    gates = [Gate.model_validate({**row, "recorded": True}) for row in record["gates"]]
    return stages, gates


def freeze_quantisation(
    name: str | Path,
    precisions: Sequence[str] = ("fp32", "int8"),
    *,
    backend: str = "xnnpack",
    runs: Path = Path("runs"),
    overrides: Sequence[str] = (),
) -> Run:
    """Export each precision with the data at hand and keep in the run's folder what later exports need without it.

    ``overrides`` are ``export``'s. The same run and data give the same parameters, so the files can be made again byte for byte.
    """
    from mobilekd.export import export_with_frozen

    run = open_run(name, runs)
    if run.split is None and run.reference:
        raise UserError(f"{name}: a shipped reference is frozen already; freeze the run that it came from")
    parameters: dict[str, Frozen] = {}
    path = run.folder / RECORD
    record: dict[str, Any] = read_json(path, "record of gates") if path.exists() else {}
    for precision in precisions:
        with tempfile.TemporaryDirectory() as work:
            artifact, frozen = export_with_frozen(run, backend, precision, Path(work) / "artifact", overrides=overrides)
        if frozen is not None:
            parameters[precision] = frozen
        record[f"{backend}-{precision}"] = _summary(artifact.manifest)
    write_frozen(run.folder, {**read_frozen(run.folder), **parameters})
    write_json(path, dict(sorted(record.items())))
    return run


#: Gates that test photographs decide.
DECIDED_BY_DATA = ("agreement", "balanced accuracy")


def _summary(manifest: Manifest) -> dict[str, Any]:
    return {
        "data_hash": manifest.provenance.data_hash,
        "split_hash": manifest.provenance.split_hash,
        "gates": [gate.model_dump(mode="json") for gate in manifest.gates if gate.name in DECIDED_BY_DATA],
        "stages": [stage.model_dump(mode="json") for stage in manifest.parity if stage.accuracy_drop is not None],
        "accuracy": manifest.accuracy,
        "versions": {name: manifest.provenance.versions[name] for name in ("torch", "executorch")},
    }
