"""An artifact in words: what ``inspect`` prints for a person."""

from collections.abc import Iterable, Mapping
from typing import Any

from mobilekd.cli.text import interval, table
from mobilekd.formats.parity_names import StageName

#: Operators of a profile, layers by cost and layers by sensitivity that are shown to a person.
SHOWN = 15
COSTLY = 8


def artifact(found: Mapping[str, Any]) -> str:
    """The parts of an inspected artifact that a person asks about; ``--json`` has all of it."""
    model, made = found["model"], found["provenance"]
    head = (
        f"{found['name']}: {found['backend']}, {found['precision']}, from"
        f" {made['run']}\n{model['model']}, {model['parameters']:,} parameters,"
        f" {model['macs'] / 1e6:.1f} M multiply-adds, {found['bytes']['file']:,} bytes"
        f" ({found['bytes']['per_parameter']:.2f} per parameter)\ninput {found['input']['width']} x"
        f" {found['input']['height']} {found['input']['color']}; gives"
        f" {', '.join(found['outputs'])}\nclasses"
        f" {', '.join(label['key'] for label in found['labels'])}; not sure below"
        f" {found['calibration']['threshold']:.3f}"
        + (f"\nleast iOS {found['least_ios']}" if found.get("least_ios") else "")
    )
    sections = [head, *_sections(found)]
    notes = "\n".join(f"note: {note}" for note in found["notes"])
    return "\n\n".join([*sections, notes] if notes else sections)


def blame(found: Mapping[str, Any]) -> str:
    """What each layer's rounding does, the worst first."""
    errors = found["layer_errors"]
    rows = [
        (
            row["layer"],
            f"{100 * row['share']:.1f}%",
            f"{row['change']:.2g}",
            f"{row['sqnr_db']:.1f}",
            "" if row["file_sqnr_db"] is None else f"{row['file_sqnr_db']:.1f}",
        )
        for row in sorted(errors["layers"], key=lambda row: -row["change"])
    ]
    header = ("LAYER", "SHARE OF CHANGE", "MARGIN MOVES BY", "SQNR dB ALONE", "SQNR dB IN THE FILE")
    head = f"{found['name']}: {found['backend']}, {found['precision']}"
    return "\n\n".join([f"{head}\n{errors['about']}", table(header, rows), errors["keep"]])


def _sections(found: Mapping[str, Any]) -> Iterable[str]:
    if found.get("delegation"):
        yield _delegated(found["delegation"])
    if "parts" in found["bytes"]:
        yield table(
            ("BYTES", ""), [(part, f"{size:,}") for part, size in found["bytes"]["parts"].items()]
        )
    if found["memory"]:
        yield "memory in bytes: " + ", ".join(
            f"{name} {size:,}" for name, size in found["memory"].items()
        )
    if found.get("layers"):
        yield _costly(found["layers"])
    if found.get("sensitivity"):
        yield _sensitive(found["sensitivity"])
    yield table(
        ("STAGE", "AGAINST", "MAX ERROR", "AGREEMENT", "WHERE, OR WHY NOT"),
        [_stage(stage) for stage in found["parity"]],
    )
    from mobilekd.formats.gates import Gate

    judged = [Gate.model_validate(one) for one in found["gates"]]
    gates = [(gate.name.title, gate.measured, gate.condition, gate.outcome) for gate in judged]
    if gates:
        yield table(("GATE", "VALUE", "LIMIT", ""), gates)
    figures = {name: value for name, value in found["accuracy"].items() if isinstance(value, dict)}
    if figures:
        yield table(
            ("TEST SPLIT", "VALUE (95% INTERVAL)"),
            [(name, interval(value)) for name, value in figures.items()],
        )
    if "profile" in found:
        yield _slowest(found["profile"])
    yield _provenance(found["provenance"])


def _delegated(split: Mapping[str, Any]) -> str:
    """Each operator's count, in the delegate and outside."""
    rows = [(name, count, "delegate") for name, count in split["delegated"].items()]
    rows += [(name, count, "portable") for name, count in split["portable"].items()]
    share = (
        f"{split['heavy_delegated']} of {split['heavy_total']} convolutions and linear layers"
        " in the delegate"
    )
    operators = table(("OPERATOR", "COUNT", "WHERE"), rows)
    return f"{share}, {split['partitions']} partition(s)\n{operators}"


def _slowest(profile: Mapping[str, Any]) -> str:
    """Where the time goes here, by kind and by operator."""
    slowest = sorted(profile["operators"], key=lambda one: -one["microseconds"])[:SHOWN]
    rows = [(one["operator"], one["category"], f"{one['microseconds']:.1f}") for one in slowest]
    kinds = ", ".join(
        f"{kind} {time:.0f}"
        for kind, time in sorted(profile["by_category"].items(), key=lambda item: -item[1])
    )
    operators = table(("SLOWEST OPERATORS", "KIND", "MEDIAN us"), rows)
    return f"microseconds here by kind: {kinds}\n{operators}"


def _costly(layers: list[Mapping[str, Any]]) -> str:
    """The layers that take most multiply-adds, or most time where it was profiled."""
    key = "microseconds" if "microseconds" in layers[0] else "macs"
    size = "bytes" if "bytes" in layers[0] else "parameters"
    shown = sorted(layers, key=lambda row: -row[key])[:COSTLY]
    rows = [
        (
            row["layer"],
            row["kind"],
            row["precision"],
            f"{row['macs'] / 1e6:.2f} M",
            f"{100 * row['share']:.1f}%",
            f"{row[size]:,}",
            f"{row['microseconds']:.1f}" if "microseconds" in row else "",
        )
        for row in shown
    ]
    header = (
        "LAYER",
        "KIND",
        "PRECISION",
        "MULTIPLY-ADDS",
        "SHARE",
        size.upper(),
        "us" if key == "microseconds" else "",
    )
    return f"the costliest of {len(layers)} layers; --picture draws all of them\n" + table(
        header, rows
    )


def _sensitive(layers: list[Mapping[str, Any]]) -> str:
    """The layers that rounding alone hurts most, of mixed precision's search."""
    shown = sorted(layers, key=lambda row: row["sqnr_db"])[:COSTLY]
    rows = [(*(_figure(value) for value in row.values()),) for row in shown]
    return "layers that rounding alone hurts most\n" + table(
        [str(name).upper() for name in shown[0]], rows
    )


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _provenance(made: Mapping[str, Any]) -> str:
    rows = [
        ("run", made["run"]),
        (
            "made",
            made["created_utc"] + (f", commit {made['commit'][:12]}" if made["commit"] else ""),
        ),
        ("recipe", made["recipe_hash"][:12]),
        (
            "data",
            (
                f"{made['data_hash'][:12]}"
                f"{' (' + made['data_licence'] + ')' if made['data_licence'] else ''}"
            ),
        ),
        ("split", f"{made['split_hash'][:12]}, by {made['split_by']}"),
        ("student's weights", made["source_sha256"][:12]),
        ("versions", ", ".join(f"{name} {version}" for name, version in made["versions"].items())),
    ]
    return table(("PROVENANCE", ""), rows)


def _stage(stage: Mapping[str, Any]) -> tuple[str, ...]:
    def shown(figure: float | None, style: str) -> str:
        return "" if figure is None else format(figure, style)

    where = stage["where"] if stage["verified"] else f"not verified: {stage['reason']}"
    if stage["recorded"]:
        where += " (recorded)"
    return (
        StageName.read(stage["stage"]).title,
        StageName.read(stage["against"]).title,
        shown(stage["max_error"], ".2g"),
        shown(stage["agreement"], ".4f"),
        where,
    )
