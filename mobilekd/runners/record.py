"""The files that measurements leave: what stands in each, and where it lies. An earlier one of the
same name is kept beside it.
"""

import itertools
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from mobilekd.formats.measurement import (
    Conditions,
    Device,
    GoldenCheck,
    Measurement,
    Pipeline,
    read_measurement,
)
from mobilekd.runners.base import Runner
from mobilekd.runners.session import Collected, Plan
from mobilekd.support import provenance
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json
from mobilekd.support.progress import say

#: Where measurements go that nobody named a place for: a folder for each device.
RESULTS = Path("results")


class Stamp:
    """What all measurements of one session share."""

    def __init__(self, runner: Runner, device: Device, plan: Plan, kind: str):
        self.device, self.via = device, runner.via
        self.session, self.started = secrets.token_hex(8), provenance.utc_now()
        self.before: Conditions | None = None
        self.after: Conditions | None = None
        self.versions = provenance.versions()
        self.commit = provenance.commit()
        sweep = f" --threads {','.join(map(str, plan.threads))} --samples {plan.samples}"
        self.options = f"--device {kind} --via {runner.via}{sweep}" + (
            f" --minutes {plan.minutes:g}" if plan.minutes else ""
        )

    def measurement(self, item: Collected) -> Measurement:
        """What is written of one artifact."""
        manifest = item.artifact.manifest
        before = self.before or Conditions(utc=self.started)
        exporter = manifest.provenance.versions.get("executorch")
        parts = ("decode_ns", "resize_ns", "execute_ns", "post_ns")
        pipeline = {
            part: tuple(ns for one in item.pipelines for ns in getattr(one, part)) for part in parts
        }
        return Measurement(
            artifact=item.artifact.title,
            artifact_sha256=manifest.files[manifest.model_file],
            backend=manifest.backend,
            precision=manifest.precision,
            via=self.via,
            device=self.device,
            golden=item.golden or GoldenCheck(passed=False, samples=0, limit=0.0, detail="not run"),
            cold=tuple(item.cold),
            series=tuple(item.series),
            sustained=item.sustained,
            pipeline=Pipeline(**pipeline) if item.pipelines else None,
            memory=item.memory,
            energy=item.energy,
            before=before,
            after=self.after or Conditions(utc=provenance.utc_now()),
            session=self.session,
            started_utc=self.started,
            versions=self.versions | ({"executorch (exporter)": exporter} if exporter else {}),
            commit=self.commit,
            command=f"mobilekd bench {item.artifact.title} {self.options}",
            valid=not item.reasons,
            reasons=tuple(dict.fromkeys(item.reasons)),
        )


def write(
    stamp: Stamp,
    collected: Sequence[Collected],
    output: Path | None = None,
    baseline: Path | None = None,
    *,
    in_folder: bool = False,
) -> tuple[list[Measurement], list[Path]]:
    """One file per artifact that got as far as its golden set.

    Args:
        stamp: what they share.
        collected: what was measured of each.
        output: JSON file, or a folder; ``results/DEVICE`` by default.
        baseline: an earlier measurement that stays where it is.
        in_folder: ``output`` is a folder, whether or not it is there already.
    """
    measurements, files = [], []
    for item in collected:
        if item.golden is None:
            continue
        measurement = stamp.measurement(item)
        path = _free(_place(measurement, output, in_folder), measurement, baseline)
        write_json(path, measurement.model_dump(mode="json"))
        say(
            f"bench: {path}"
            + ("" if measurement.valid else f" (invalid: {measurement.reasons[0]})")
        )
        measurements.append(measurement)
        files.append(path)
    return measurements, files


def _place(measurement: Measurement, output: Path | None, in_folder: bool) -> Path:
    name = measurement.artifact + ("-app" if measurement.via == "app" else "")
    if output is None:
        return RESULTS / measurement.device.id / f"{name}.json"
    return output / f"{name}.json" if in_folder or output.is_dir() else output


def _free(path: Path, measurement: Measurement, baseline: Path | None) -> Path:
    """Where to write: an earlier measurement of that name moves aside, under its own time; a
    baseline stays what it was.
    """
    if not path.exists():
        return path
    if baseline is not None and path.samefile(baseline):
        return _dated(path, measurement.started_utc)
    try:
        earlier = read_measurement(path)
    except UserError:
        return path  # no measurement, or none that anybody can read any more
    aside = _dated(path, earlier.started_utc)
    path.rename(aside)
    say(f"bench: the earlier measurement is kept as {aside}")
    return path


def _dated(path: Path, utc: str) -> Path:
    """``name-20261125T200501Z.json``, or the first of ``-2``, ``-3`` that is free."""
    stem = f"{path.stem}-{re.sub('[^0-9TZ]', '', utc)}"
    ends = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    names = (f"{stem}{end}{path.suffix}" for end in ends)
    return next(place for name in names if not (place := path.with_name(name)).exists())
