"""What each chip and processor makes of each file, on one phone or several."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from mobilekd.figures.tables import Cell, between, milliseconds, table
from mobilekd.formats.measurement import Measurement
from mobilekd.page.blocks import Section, Text, section_of
from mobilekd.page.devices import chip, processor
from mobilekd.page.inputs import Inputs
from mobilekd.page.latency_samples import LatencySamples, latency_samples


@dataclass(frozen=True, eq=False)
class OnChip:
    """One file on one chip's processor by one way: the latest measurement of each device, a valid
    one where there is one.
    """

    chip: str
    processor: str
    members: tuple[Measurement, ...]

    @property
    def right(self) -> int:
        """Devices that answered the golden set rightly in every pass."""
        return sum(one.golden.passed for one in self.members)

    @property
    def max_error(self) -> float | None:
        """The largest over the devices; None where one gave no numbers."""
        errors = [one.golden.max_error for one in self.members]
        return None if None in errors else max(one for one in errors if one is not None)

    @property
    def pass_difference(self) -> float | None:
        """The largest of the devices of which it is known."""
        known = [one.golden.pass_difference for one in self.members]
        return max((one for one in known if one is not None), default=None)

    @property
    def medians(self) -> tuple[str, dict[str, float]]:
        """The first setting that all timed devices have, and its median in milliseconds by the
        device's id.
        """
        each: dict[str, dict[str, LatencySamples]] = {
            one.device.id: {setting.name: setting for setting in settings}
            for one in self.members
            if (settings := latency_samples(one))
        }
        for name in next(iter(each.values()), ()):
            if all(name in settings for settings in each.values()):
                found = {
                    device: settings[name].percentile(50).value or 0.0
                    for device, settings in each.items()
                }
                return name, found
        return "", {}


def by_chip(measurements: Sequence[Measurement]) -> list[OnChip]:
    """By chip, then processor, then file and way."""
    found: dict[tuple[str, str, str, str, str], dict[str, Measurement]] = {}
    for one in sorted(measurements, key=lambda one: (one.valid, one.started_utc)):
        key = (chip(one.device), processor(one), one.artifact, one.artifact_sha256, one.via)
        found.setdefault(key, {})[one.device.id] = one
    return [
        OnChip(key[0], key[1], tuple(found[key][device] for device in sorted(found[key])))
        for key in sorted(found)
    ]


def section(inputs: Inputs) -> Section | None:
    """A row for each file on each chip, where there is more than one device or processor."""
    groups = by_chip(inputs.measurements)
    devices = {one.device.id for one in inputs.measurements}
    if len(devices) < 2 and len({(one.chip, one.processor) for one in groups}) < 2:
        return None
    rows = []
    for one in groups:
        first, (setting, times) = one.members[0], one.medians
        span = sorted(times.values())
        spread = f", {between(milliseconds(span[0]), milliseconds(span[-1]))}" if span[1:] else ""
        rows.append(
            [
                Cell(one.chip, one.processor),
                Cell(first.artifact, f"{first.artifact_sha256[:12]}, via {first.via}"),
                str(len(one.members)),
                Cell(
                    f"{one.right} of {len(one.members)}",
                    mark="good" if one.right == len(one.members) else "bad",
                ),
                "–" if one.max_error is None else f"{one.max_error:.2g}",
                "–" if one.pass_difference is None else f"{one.pass_difference:.2g}",
                Cell(milliseconds(median(span)), setting + spread) if span else Cell("–"),
            ]
        )
    header = (
        "chip, processor",
        "artifact",
        "devices",
        "answer rightly",
        "largest error",
        "between passes",
        "p50 ms",
    )
    words = (
        "The processor is the one that the file was made for. The latency is the median over the"
        " devices of a chip, the latest measurement of each; in brackets the range over them."
    )
    return section_of(
        "chips",
        "What each chip makes of it",
        [Text(words), table("Files by chip and processor", header, rows)],
    )
