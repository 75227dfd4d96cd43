"""Every key of a recipe, from the documents that type them."""

import inspect
import json
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from making.markdown import page, table
from mobilekd.formats.recipe import Recipe


def keys(
    model: type[BaseModel] = Recipe, prefix: str = "", outer: tuple[type[BaseModel], ...] = ()
) -> list[tuple[str, FieldInfo]]:
    """Every key of a recipe with its field, dotted; ``N`` counts the entries of a list.

    A table inside a table of its own kind has the same keys again, which are not repeated.
    """
    found: list[tuple[str, FieldInfo]] = []
    for name, field in model.model_fields.items():
        found.append((f"{prefix}{name}", field))
        inner, several = _document(field.annotation)
        if inner is not None and inner not in (model, *outer):
            found += keys(inner, f"{prefix}{name}.{'N.' if several else ''}", (model, *outer))
    return found


def _document(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The document inside an annotation, and whether it is a list of them."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation, False
    for part in get_args(annotation):
        inner, _ = _document(part)
        if inner is not None:
            return inner, get_origin(annotation) is tuple
    return None, False


def type_words(annotation: Any) -> str:
    """A type as a writer of TOML says it."""
    simple = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if annotation in simple:
        return simple[annotation]
    origin, parts = get_origin(annotation), get_args(annotation)
    inner, several = _document(annotation)
    if inner is not None:
        return "list of tables" if several else "table"
    if origin is Literal:
        return "text" if isinstance(parts[0], str) else "number"
    if origin is tuple:
        if Ellipsis in parts:
            first, *rest = type_words(parts[0]).split(" ", 1)
            return " ".join((f"list of {first}s", *rest))
        inner = type_words(parts[0])
        return f"pair of {inner}s" if len(parts) == 2 else f"{len(parts)} {inner}s"
    if origin is dict:
        return "table"
    kept = [part for part in parts if part is not type(None)]
    if hasattr(annotation, "__metadata__"):
        return type_words(parts[0])
    if len(kept) == 1:
        return type_words(kept[0])
    return " or ".join(dict.fromkeys(type_words(part) for part in kept)) or "any"


def _metadata(annotation: Any) -> list[Any]:
    """Bounds that stand in the annotation itself, of a list's entries too."""
    found = list(getattr(annotation, "__metadata__", ()))
    for part in get_args(annotation):
        found += _metadata(part)
    return [
        piece for one in found for piece in (one.metadata if isinstance(one, FieldInfo) else [one])
    ]


def allowed(field: FieldInfo) -> str:
    """What a key may hold, in words."""
    for literal in (field.annotation, *get_args(field.annotation)):
        if get_origin(literal) is Literal:
            return ", ".join(f"`{value}`" for value in get_args(literal))
    words: dict[type, str] = {
        annotated_types.Ge: "at least",
        annotated_types.Gt: "above",
        annotated_types.Le: "at most",
        annotated_types.Lt: "below",
    }
    said = []
    for bound in [*field.metadata, *_metadata(field.annotation)]:
        for kind, word in words.items():
            if isinstance(bound, kind):
                said.append(f"{word} {_number(getattr(bound, kind.__name__.lower()))}")
    return ", ".join(dict.fromkeys(said))


def _number(value: float) -> str:
    """A bound as people write it."""
    if isinstance(value, int) and abs(value) >= 2**20 and abs(value).bit_count() == 1:
        return f"{'-' if value < 0 else ''}2^{abs(value).bit_length() - 1}"
    return f"{value:g}"


def default_words(field: FieldInfo) -> str:
    """A default as it stands in TOML."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "as below"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, BaseModel):
        shown = value.model_dump(exclude_defaults=True)
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in shown.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False)


def recipe_page() -> str:
    """Every key of a recipe: type, default, what is allowed, what it means."""
    tables: dict[str, list[tuple[str, ...]]] = {}
    for key, field in keys():
        place = key.rpartition(".")[0]
        if not field.description:
            raise SystemExit(f"recipe key {key}: has no description in mobilekd/formats")
        row = (
            f"`{key}`",
            type_words(field.annotation),
            default_words(field),
            allowed(field),
            field.description,
        )
        tables.setdefault(place, []).append(row)
    parts = [
        "A recipe is one TOML file and the whole experiment. `mobilekd recipes` lists the shipped"
        " ones. `--set KEY=VALUE` changes a key for one call; in a list, `N` is the entry's number"
        ' from 0. `base = "NAME"` at the top of a file takes everything that the file does not'
        " say from another recipe.",
        "An editor completes and checks a recipe by [its schema](schemas.md).",
    ]
    for place, rows in tables.items():
        title = f"`[{place}]`" if place else "The top of the file"
        parts.append(f"## {title.replace('.N', '')}\n\n")
        parts[-1] += table(("Key", "Type", "Default", "Allowed", "Meaning"), rows)
    return page("Recipe keys", *parts)
