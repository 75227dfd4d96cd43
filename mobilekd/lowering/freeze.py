"""Freezing: what lets a later export of a run do without its data. Made once, where the data is."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mobilekd.formats.artifact import Manifest
from mobilekd.formats.parity_names import GateId
from mobilekd.formats.runs import Run, open_run
from mobilekd.lowering.pipeline import lower_run
from mobilekd.lowering.quantize import Frozen, read_frozen, write_frozen
from mobilekd.lowering.record import RECORD, RecordedExport, read_record
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json

#: Gates that test photographs decide.
DECIDED_BY_DATA = (GateId.AGREEMENT, GateId.BALANCED_ACCURACY)


def freeze_quantisation(
    name: str | Path,
    precisions: Sequence[str] = ("fp32", "int8"),
    *,
    backend: str = "xnnpack",
    runs: Path = Path("runs"),
    overrides: Sequence[str] = (),
) -> Run:
    """Export each precision with the data at hand and keep in the run's folder what later exports
    need without it.

    ``overrides`` are ``export``'s. The same run and data give the same parameters, so the files can
    be made again byte for byte.
    """
    run = open_run(name, runs)
    if run.split is None and run.reference:
        raise UserError(
            f"{name}: a shipped reference is frozen already; freeze the run that it came from"
        )
    parameters: dict[str, Frozen] = {}
    record = read_record(run.folder)
    for precision in precisions:
        with tempfile.TemporaryDirectory() as work:
            artifact, frozen = lower_run(
                run, backend, precision, Path(work) / "artifact", overrides=overrides
            )
        if frozen is not None:
            parameters[precision] = frozen
        record[f"{backend}-{precision}"] = _summary(artifact.manifest)
    write_frozen(run.folder, {**read_frozen(run.folder), **parameters})
    document = {key: made.model_dump(mode="json") for key, made in sorted(record.items())}
    write_json(run.folder / RECORD, document)
    return run


def _summary(manifest: Manifest) -> RecordedExport:
    return RecordedExport(
        data_hash=manifest.provenance.data_hash,
        split_hash=manifest.provenance.split_hash,
        gates=tuple(gate for gate in manifest.gates if gate.name.id in DECIDED_BY_DATA),
        stages=tuple(stage for stage in manifest.parity if stage.accuracy_drop is not None),
        accuracy=manifest.accuracy,
        versions={name: manifest.provenance.versions[name] for name in ("torch", "executorch")},
    )
