"""Where every figure comes from: versions, commits, hashes, commands, devices."""

from collections.abc import Iterator

from mobilekd.figures.tables import Cell, table
from mobilekd.page.blocks import Block, Notice, Section, Text, section_of
from mobilekd.page.devices import way
from mobilekd.page.inputs import Inputs


def section(inputs: Inputs) -> Section | None:
    """Where everything comes from: versions, commits, hashes, commands, time."""
    rows = [*_runs(inputs), *_artifacts(inputs), *_measurements(inputs), *_evaluations(inputs)]
    header = ("what", "when, UTC", "commit", "versions", "hash", "made by")
    blocks: list[Block | None] = [table("Provenance", header, rows)] if rows else []
    blocks.append(_devices(inputs))
    if inputs.left_out:
        blocks.append(
            Notice(f"Left out: {len(inputs.left_out)}.", ". ".join(inputs.left_out) + ".")
        )
    if inputs.ignored:
        blocks.append(
            Text(
                f"Left aside, because they are none of what a report is made of:"
                f" {', '.join(inputs.ignored)} ({len(inputs.ignored)})."
            )
        )
    return section_of("provenance", "Where every figure comes from", blocks)


def _runs(inputs: Inputs) -> Iterator[list[object]]:
    for one in inputs.runs:
        info = one.run.info
        yield [
            Cell(info.name, "run"),
            info.created_utc,
            _short(info.commit),
            _versions(info.versions),
            f"recipe {info.recipe_hash[:12]}",
            info.command or "–",
        ]


def _artifacts(inputs: Inputs) -> Iterator[list[object]]:
    for artifact in inputs.artifacts:
        manifest = artifact.manifest
        origin = manifest.provenance
        yield [
            Cell(artifact.title, "artifact"),
            origin.created_utc,
            _short(origin.commit),
            _versions(origin.versions),
            f"model {manifest.files.get(manifest.model_file, '')[:12]}",
            f"from {origin.run}",
        ]


def _measurements(inputs: Inputs) -> Iterator[list[object]]:
    for measurement in inputs.measurements:
        yield [
            Cell(measurement.artifact, f"measured on {way(measurement)}"),
            measurement.started_utc,
            _short(measurement.commit),
            _versions(measurement.versions),
            f"model {measurement.artifact_sha256[:12]}",
            measurement.command or "–",
        ]


def _evaluations(inputs: Inputs) -> Iterator[list[object]]:
    for evaluation in inputs.evaluations:
        yield [
            Cell(evaluation.target.name, f"evaluated on {evaluation.data.kind}"),
            evaluation.created_utc,
            _short(evaluation.commit),
            _versions(evaluation.versions),
            f"data {evaluation.data.hash[:12]}",
            "–",
        ]


def _devices(inputs: Inputs) -> Block | None:
    devices = {one.device.id: one.device for one in inputs.measurements}
    rows: list[list[object]] = [
        [
            Cell(device.id, "emulated" if device.emulated else device.kind),
            f"{device.maker} {device.model}".strip() or "–",
            device.soc or "–",
            device.os or "–",
            device.abi or "–",
            str(device.cores or "–"),
            "–" if device.memory_bytes is None else f"{device.memory_bytes / 2**30:.1f} GiB",
            " ".join(device.cpu_features) or "–",
        ]
        for device in devices.values()
    ]
    header = ("device", "model", "processor", "system", "ABI", "cores", "memory", "CPU features")
    return table("Devices", header, rows) if rows else None


def _short(commit: str | None) -> str:
    return "–" if commit is None else commit[:12]


def _versions(versions: dict[str, str]) -> str:
    wanted = ("mobilekd", "torch", "executorch", "coremltools")
    return ", ".join(f"{name} {versions[name]}" for name in wanted if name in versions)
