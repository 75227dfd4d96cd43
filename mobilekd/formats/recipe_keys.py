"""The keys of a recipe in words, and a recipe as the TOML file that it could have been.

Both are read from the fields of ``recipe.py``, so a key that is added there is explained here.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mobilekd.formats.recipe import Recipe
from mobilekd.support.errors import UserError
from mobilekd.support.words import unknown

#: Columns of a comment in a written recipe.
WIDTH = 96

#: Stands for an entry's number in the name of a key inside a list: ``teachers.N.model``.
ENTRY = "N"

_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "table",
    "array": "list",
    "null": "nothing",
}


@dataclass(frozen=True)
class RecipeKey:
    """One key of a recipe. ``default`` is JSON; where ``required``, there is none."""

    name: str  # dotted, as --set takes it; N for the number of a list's entry
    kind: str  # its type in words
    allowed: str  # values or bounds in words; empty where every value of the type is allowed
    description: str
    default: Any = None
    required: bool = False
    table: bool = False  # holds keys of its own


@cache
def keys() -> tuple[RecipeKey, ...]:
    """Every key in the order of a recipe; a table comes before its keys."""
    schema = Recipe.model_json_schema()
    return tuple(_keys(schema, schema["$defs"], ""))


def explain(name: str) -> tuple[RecipeKey, ...]:
    """The key of that name, and where it is a table the keys in it; ``UserError`` where there is
    none. An entry of a list may be called by its number, or left out (``teachers.model``).
    """
    wanted = [part for part in name.strip().split(".") if part != ENTRY and not part.isdigit()]
    by_name = {_plain(key.name): key for key in keys()}
    found = by_name.get(".".join(wanted))
    if found is None:
        ends = [key.name for key in keys() if key.name.endswith(f".{wanted[-1]}")] if wanted else []
        if ends and len(wanted) == 1:
            raise UserError(f"--explain {name}: in several tables; ask for {' or '.join(ends)}")
        raise UserError(unknown(f"--explain {name}", name, [key.name for key in keys()]))
    below = [key for key in keys() if _plain(key.name).startswith(f"{_plain(found.name)}.")]
    return (found, *below)


def to_toml(recipe: Recipe, title: str) -> str:
    """The resolved recipe as TOML that loads as the same recipe, every key under a comment that
    says what it is. Keys without a value stand there as comments. ``title`` is the first comment.
    """
    document = recipe.to_dict()
    above, below = [*_comment(title), ""], []
    for key in (key for key in keys() if "." not in key.name):
        # a key that came later is left out of documents where it says nothing
        value = document.get(key.name, {} if key.kind == "table" else key.default)
        if isinstance(value, dict):
            below += ["", *_comment(key.description), f"[{key.name}]", *_table(key.name, value)]
        elif isinstance(value, list) and key.table and value:
            below += ["", *_comment(key.description)]
            for number, entry in enumerate(value):
                told = _table(f"{key.name}.{ENTRY}", entry, comments=not number)
                below += [*([""] if number else []), f"[[{key.name}]]", *told]
        else:
            above += _entry(key, value)
    return "\n".join((*above, *below)) + "\n"


def _table(name: str, values: Mapping[str, Any], *, comments: bool = True) -> Iterator[str]:
    """The lines of one table, in the order of its keys; what has no keys of its own is written as
    it is.
    """
    own = {
        key.name.removeprefix(f"{name}."): key
        for key in keys()
        if key.name.rpartition(".")[0] == name
    }
    for last, key in own.items():
        value = values.get(last, key.default)
        if comments:
            yield from _entry(key, value)
        elif value is not None:
            yield f"{last} = {toml(value)}"
    for last, value in values.items():
        if last not in own:
            yield f"{_toml_key(last)} = {toml(value)}"


def _entry(key: RecipeKey, value: Any) -> Iterator[str]:
    told = f"{key.description}; {key.allowed}" if key.allowed else key.description
    yield from _comment(told)
    last = key.name.rpartition(".")[2]
    yield f"# {last} =" if value is None else f"{last} = {toml(value)}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def toml(value: Any) -> str:
    """A JSON value in TOML's words (toml.io, 1.0), which has none for null: such keys are left
    out.
    """
    if isinstance(value, Mapping):
        given = {key: item for key, item in value.items() if item is not None}
        pairs = ", ".join(f"{_toml_key(key)} = {toml(item)}" for key, item in given.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(toml, value))}]"
    # JSON's texts, numbers, true and false are TOML's, but for one control character
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(text: str) -> str:
    bare = text and all(part.isascii() and (part.isalnum() or part in "_-") for part in text)
    return text if bare else toml(text)


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != ENTRY)


def _keys(
    schema: Mapping[str, Any], known: Mapping[str, Any], above: str, around: tuple[str, ...] = ()
) -> Iterator[RecipeKey]:
    """The keys of an object of JSON Schema, with ``known`` for its references. A table that holds
    tables of its own kind, whose names are ``around``, is not opened again.
    """
    for last, field in schema["properties"].items():
        name = f"{above}{last}"
        reference, each = _reference(field)
        inside = known[reference] if reference and reference not in around else None
        yield RecipeKey(
            name=name,
            kind=("list of tables" if each else "table") if reference else _kind(field),
            allowed="" if reference else _allowed(field),
            description=field.get("description", ""),
            default=field.get("default"),
            required=last in schema.get("required", ()),
            table=inside is not None,
        )
        if inside is not None:
            below = f"{name}.{ENTRY}." if each else f"{name}."
            yield from _keys(inside, known, below, (*around, reference))


def _reference(field: Mapping[str, Any]) -> tuple[str, bool]:
    """The name of the object that a field holds, empty where it holds none, and whether it holds a
    list of them.
    """
    each = field.get("type") == "array"
    return (field.get("items", {}) if each else field).get("$ref", "").rpartition("/")[2], each


def _kind(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(one) for one in field["anyOf"] if one.get("type") != "null")
    kind = _TYPES[field.get("type", "string")]
    if kind == "list":
        items = field.get("items") or field["prefixItems"][0]
        return f"list of {field.get('maxItems', '')} {_kind(items).rstrip('s')}s".replace("  ", " ")
    return kind


def _allowed(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    bounds = field.get("prefixItems", [field])[0]
    low, above = bounds.get("minimum"), bounds.get("exclusiveMinimum")
    high, under = bounds.get("maximum"), bounds.get("exclusiveMaximum")
    least = (
        f"at least {low:g}" if low is not None else f"above {above:g}" if above is not None else ""
    )
    most = f"at most {high:g}" if high is not None and high < 2**31 else ""
    most = f"below {under:g}" if under is not None and under < 2**31 else most
    return ", ".join(part for part in (least, most) if part and "-9.2" not in part)
