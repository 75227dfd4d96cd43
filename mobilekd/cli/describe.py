"""An artifact in words: what ``inspect`` prints for a person."""

from collections.abc import Iterable, Mapping
from typing import Any

from mobilekd.cli.text import interval, table

#: Operators of a profile that are shown to a person.
SHOWN = 15


def artifact(found: Mapping[str, Any]) -> str:
    """The parts of an inspected artifact that a person asks about; ``--json`` has all of it."""
    model, made = found["model"], found["provenance"]
    head = (
        f"{found['name']}: {found['backend']}, {found['precision']}, from {made['run']}\n"
        f"{model['model']}, {model['parameters']:,} parameters, {model['macs'] / 1e6:.1f} M multiply-adds, "
        f"{found['bytes']['file']:,} bytes ({found['bytes']['per_parameter']:.2f} per parameter)\n"
        f"input {found['input']['width']} x {found['input']['height']} {found['input']['color']}; gives {', '.join(found['outputs'])}\n"
        f"classes {', '.join(label['key'] for label in found['labels'])}; not sure below {found['calibration']['threshold']:.3f}"
    )
    sections = [head, *_sections(found)]
    notes = "\n".join(f"note: {note}" for note in found["notes"])
    return "\n\n".join([*sections, notes] if notes else sections)


def _sections(found: Mapping[str, Any]) -> Iterable[str]:
    if found.get("delegation"):
        split = found["delegation"]
        rows = [(name, count, "delegate") for name, count in split["delegated"].items()]
        rows += [(name, count, "portable") for name, count in split["portable"].items()]
        share = f"{split['heavy_delegated']} of {split['heavy_total']} convolutions and linear layers in the delegate"
        yield f"{share}, {split['partitions']} partition(s)\n" + table(("OPERATOR", "COUNT", "WHERE"), rows)
    if "parts" in found["bytes"]:
        yield table(("BYTES", ""), [(part, f"{size:,}") for part, size in found["bytes"]["parts"].items()])
    yield table(("STAGE", "AGAINST", "MAX ERROR", "AGREEMENT", "WHERE, OR WHY NOT"), [_stage(stage) for stage in found["parity"]])
    figures = {name: value for name, value in found["accuracy"].items() if isinstance(value, dict)}
    if figures:
        yield table(("TEST SPLIT", "VALUE (95% INTERVAL)"), [(name, interval(value)) for name, value in figures.items()])
    if "profile" in found:
        profile = found["profile"]
        slowest = sorted(profile["operators"], key=lambda one: -one["microseconds"])[:SHOWN]
        rows = [(one["operator"], one["category"], f"{one['microseconds']:.1f}") for one in slowest]
        kinds = ", ".join(f"{kind} {time:.0f}" for kind, time in sorted(profile["by_category"].items(), key=lambda item: -item[1]))
        yield f"microseconds here by kind: {kinds}\n" + table(("SLOWEST OPERATORS", "KIND", "MEDIAN us"), rows)


def _stage(stage: Mapping[str, Any]) -> tuple[str, ...]:
    def shown(figure: float | None, style: str) -> str:
        return "" if figure is None else format(figure, style)

    where = stage["where"] if stage["verified"] else f"not verified: {stage['reason']}"
    if stage["recorded"]:
        where += " (recorded)"
    return stage["stage"], stage["against"], shown(stage["max_error"], ".2g"), shown(stage["agreement"], ".4f"), where
