"""``report.json``: the page's figures for a machine."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mobilekd.formats.artifact import Artifact
from mobilekd.formats.measurement import Measurement
from mobilekd.page.chips import by_chip
from mobilekd.page.devices import by_way, chip, processor
from mobilekd.page.inputs import Inputs
from mobilekd.page.latency_ratios import latency_ratios
from mobilekd.page.latency_samples import LatencySamples, latency_samples, spread, timed
from mobilekd.page.sustained_load import drift
from mobilekd.page.tradeoff import placed

PERCENTILES = (50, 90, 95, 99)


def report_json(inputs: Inputs) -> dict[str, Any]:
    """Everything that the page shows, without raw samples: those stay in the measurements."""
    return {
        "schema_version": 1,
        "kind": "report",
        "runs": [
            {
                "run": one.run.info.model_dump(mode="json"),
                "recipe": one.run.recipe.to_dict(),
                "evaluation": one.evaluation and one.evaluation.model_dump(mode="json"),
            }
            for one in inputs.runs
        ],
        "comparisons": [one.model_dump(mode="json") for one in inputs.comparisons],
        "evaluations": [one.model_dump(mode="json") for one in inputs.evaluations],
        "artifacts": [
            {
                "title": one.title,
                "manifest": one.manifest.model_dump(mode="json"),
                "layer_errors": _layer_errors(inputs, one),
            }
            for one in inputs.artifacts
        ],
        "measurements": [_measurement(one) for one in inputs.measurements],
        "by_chip": _by_chip(inputs.measurements),
        "differences": _differences(inputs.measurements),
        "tradeoff": {
            name: [{**vars(one), "accuracy": one.accuracy.model_dump()} for one in points]
            for name, points in placed(inputs).items()
        },
        "ignored": list(inputs.ignored),
        "left_out": list(inputs.left_out),
    }


def _layer_errors(inputs: Inputs, artifact: Artifact) -> dict[str, Any] | None:
    found = inputs.layer_errors.get(artifact.folder)
    return found.model_dump(mode="json") if found else None


def _measurement(one: Measurement) -> dict[str, Any]:
    return {
        "artifact": one.artifact,
        "artifact_sha256": one.artifact_sha256,
        "backend": one.backend,
        "precision": one.precision,
        "via": one.via,
        "device": one.device.model_dump(mode="json"),
        "chip": chip(one.device),
        "processor": processor(one),
        "golden": one.golden.model_dump(mode="json"),
        "valid": one.valid,
        "reasons": list(one.reasons),
        "session": one.session,
        "started_utc": one.started_utc,
        "latency_ms": [_setting(setting) for setting in latency_samples(one)],
        "cold_ms": (
            [
                {
                    key.removesuffix("_ns"): value / 1e6
                    for key, value in cold.model_dump().items()
                    if value is not None
                }
                for cold in one.cold
            ]
            if timed(one)
            else []
        ),
        "pipeline_ms": _pipeline(one),
        "memory": one.memory.model_dump() if one.memory else None,
        "sustained": _sustained(one),
        "energy": one.energy.model_dump() if one.energy and timed(one) else None,
        "before": one.before.model_dump(),
        "after": one.after.model_dump(),
        "versions": one.versions,
    }


def _by_chip(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """The page's files by chip and processor."""
    return [
        {
            "chip": one.chip,
            "processor": one.processor,
            "artifact": one.members[0].artifact,
            "artifact_sha256": one.members[0].artifact_sha256,
            "via": one.members[0].via,
            "devices": [member.device.id for member in one.members],
            "right": one.right,
            "max_error": one.max_error,
            "pass_difference": one.pass_difference,
            "setting": one.medians[0],
            "p50_ms": one.medians[1],
        }
        for one in by_chip(measurements)
    ]


def _pipeline(one: Measurement) -> dict[str, float] | None:
    """Medians of what a user of the app waits for."""
    if one.pipeline is None or not timed(one):
        return None
    parts = one.pipeline.model_dump().items()
    return {
        name.removesuffix("_ns"): float(np.median(times)) / 1e6 for name, times in parts if times
    }


def _sustained(one: Measurement) -> dict[str, Any] | None:
    load, found = one.sustained, drift(one.sustained)
    if load is None or found is None or not timed(one):
        return None
    ends = {
        "seconds": found.seconds,
        "first_tenth_ms": found.first,
        "last_tenth_ms": found.last,
        "change": found.change,
    }
    return {
        "threads": load.threads,
        **ends,
        "celsius": load.celsius,
        "frequency_khz": load.frequency_khz,
        "reasons": list(load.reasons),
    }


def _setting(setting: LatencySamples) -> dict[str, Any]:
    return {
        "threads": setting.threads,
        "cores": setting.cores,
        "samples": len(setting.samples),
        "processes": len(setting.processes),
        "reasons": list(setting.reasons),
        **{f"p{q}": setting.percentile(q).model_dump() for q in PERCENTILES},
        **spread(setting.samples),
    }


def _differences(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """The page's differences: ratio of medians, new over old."""
    return [
        {
            "way": name,
            "new": one.new.artifact,
            "old": one.old.artifact,
            "threads": one.ours.threads,
            "cores": one.ours.cores,
            "interleaved": one.interleaved,
            "ratio": one.ratio.model_dump(),
            "p": {"slower": one.slower, "faster": one.faster},
            "verdict": one.verdict,
            "medians_ms": [
                float(np.median(one.ours.samples)),
                float(np.median(one.theirs.samples)),
            ],
        }
        for name, members in by_way(measurements).items()
        for one in latency_ratios(members)
    ]
