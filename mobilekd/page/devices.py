"""Devices by name, chip and processor, and which measurements may be set side by side."""

from collections.abc import Sequence
from unicodedata import bidirectional

from mobilekd.backends import get, names
from mobilekd.formats.measurement import Device, Measurement

UNKNOWN = "not known"


def device_name(device: Device) -> str:
    """Maker and model, or the device's id, in one line; a name that runs from right to left does
    not turn what stands beside it.
    """
    name = " ".join(f"{device.maker} {device.model}".split()) or device.id
    return (
        f"\u2068{name}\u2069"
        if any(bidirectional(letter) in ("R", "AL") for letter in name)
        else name
    )


def chip(device: Device) -> str:
    """The chip's name, as far as the device tells it."""
    return " ".join((device.soc or device.model).split()) or UNKNOWN


def processor(measurement: Measurement) -> str:
    """CPU, GPU or NPU: what the backend lets a phone compute the file on."""
    known = measurement.backend in names()
    return get(measurement.backend).computes_on if known else UNKNOWN


def way(measurement: Measurement) -> str:
    """Device and way onto it; shell and app are never mixed in one comparison."""
    return f"{device_name(measurement.device)}, via {measurement.via}"


def by_way(measurements: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    """Measurements whose times may be set side by side: one device, one way. Two phones of a model
    are two devices.
    """
    found: dict[tuple[str, str], list[Measurement]] = {}
    for one in measurements:
        found.setdefault((one.device.id, one.via), []).append(one)
    names = [way(members[0]) for members in found.values()]
    return {
        name if names.count(name) == 1 else f"{name} ({device})": members
        for name, ((device, _), members) in zip(names, found.items(), strict=True)
    }
