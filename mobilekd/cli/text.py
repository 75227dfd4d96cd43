"""How answers look: tables for a person, one JSON document for a machine."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def to_json(document: Any, *, ascii_only: bool = False) -> str:
    """One JSON document; pydantic models, dataclasses, paths and numpy values included. NaN becomes
    null.
    """
    return json.dumps(plain(document), indent=1, ensure_ascii=ascii_only, allow_nan=False)


def plain(value: Any) -> Any:
    """``value`` as dictionaries, lists, strings and numbers."""
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns as wide as their content; the last one runs free."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def interval(figure: Any, digits: int = 3) -> str:
    """``0.812 (0.790 to 0.833)``, or the reason why there is no figure."""
    figure = plain(figure)
    if not isinstance(figure, dict):
        return f"{figure:z.{digits}f}" if isinstance(figure, float) else str(figure)
    if figure.get("value") is None:
        return f"none: {figure.get('reason') or 'not computed'}"
    text = f"{figure['value']:z.{digits}f}"
    if figure.get("low") is not None:
        text += f" ({figure['low']:z.{digits}f} to {figure['high']:z.{digits}f})"
    return text


def milliseconds(ns: float) -> str:
    """Nanoseconds as milliseconds with three digits."""
    return f"{ns / 1e6:.3f} ms"
