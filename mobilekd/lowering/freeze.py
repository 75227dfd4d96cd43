"""Freezing: what lets a later export of a run do without its data. Made once, where the data is."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mobilekd.backends import get, names
from mobilekd.formats.artifact import Manifest
from mobilekd.formats.parity_names import GateId
from mobilekd.formats.recipe_file import with_overrides
from mobilekd.formats.runs import Run, open_run
from mobilekd.inference.evaluation_set import open_evaluation_set
from mobilekd.lowering.pipeline import lower_run
from mobilekd.lowering.prepare import frozen_key
from mobilekd.lowering.quantize import Frozen, read_frozen, write_frozen
from mobilekd.lowering.record import RECORD, RecordedExport, read_record, record_key
from mobilekd.support.errors import GateError, UserError
from mobilekd.support.files import write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import versions

#: Gates that test photographs decide.
DECIDED_BY_DATA = (GateId.AGREEMENT, GateId.BALANCED_ACCURACY, GateId.GUARD_AGREEMENT)


def every_row() -> list[tuple[str, str]]:
    """Every backend with each of its precisions; those whose libraries are not here are named and
    left out.
    """
    rows = []
    for name in names():
        try:
            get(name).refuse_missing(get(name).precisions[0])
        except UserError as reason:
            say(f"left out: {reason}")
        else:
            rows += [(name, precision) for precision in get(name).precisions]
    return rows


def freeze_quantisation(
    name: str | Path,
    rows: Sequence[tuple[str, str]] = (("xnnpack", "fp32"), ("xnnpack", "int8")),
    *,
    runs: Path = Path("runs"),
    overrides: Sequence[str] = (),
) -> Run:
    """Export each of ``rows`` (backend, precision) with the data at hand and keep in the run's
    folder what later exports need without it.

    ``overrides`` are ``export``'s. The same run and data give the same parameters, so the files can
    be made again byte for byte; what a reference has frozen already stays. A row that the gates
    refuse is recorded as refused; one whose decisions cannot be judged here has no record.
    """
    run = open_run(name, runs)
    recipe = with_overrides(run.recipe, overrides)
    evaluation_set = open_evaluation_set(recipe, run.info.labels, run.split, run.info.split_hash)
    parameters: dict[str, Frozen] = dict(read_frozen(run.folder))
    record = read_record(run.folder)
    for backend, precision in rows:
        key = record_key(get(backend), precision)
        say(f"recording {run.info.name}: {key}")
        with tempfile.TemporaryDirectory() as work:
            try:
                artifact, frozen = lower_run(
                    run,
                    backend,
                    precision,
                    Path(work) / "artifact",
                    overrides=overrides,
                    retry=False,
                    evaluation_set=evaluation_set,
                )
            except GateError as reason:
                say(f"recording {run.info.name}: {key} is refused: {reason}")
                record[key], frozen = _refused(run, str(reason)), None
            else:
                record.pop(key, None)
                for open_one in artifact.manifest.open_decisions:
                    say(f"recording {run.info.name}: {key} has no record: {open_one}")
                if not artifact.manifest.open_decisions:
                    record[key] = _summary(artifact.manifest)
        if frozen is not None:
            parameters[frozen_key(get(backend), precision)] = frozen
        # after each row, so that what took minutes is not lost with the next
        write_frozen(run.folder, parameters)
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


def _refused(run: Run, reason: str) -> RecordedExport:
    return RecordedExport(
        data_hash=run.info.data_hash,
        split_hash=run.info.split_hash,
        gates=(),
        stages=(),
        accuracy={},
        versions={name: versions()[name] for name in ("torch", "executorch")},
        refused=reason,
    )
