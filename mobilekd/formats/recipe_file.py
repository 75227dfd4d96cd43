"""Recipes as they are written: found by name or file, laid over their base, overridden, checked.

``load_recipe("ham10000", ["train.epochs=3"])`` finds a shipped recipe by name or a file by path,
applies the overrides and returns a frozen :class:`Recipe`.

A recipe may stand on another: ``base = "ham10000"`` names a shipped recipe, or a file beside it.
What it does not say itself it takes from there, tables key by key (``[smoke]`` too); a list, such
as ``[[teachers]]`` or ``[[losses]]``, is taken whole or replaced whole. Name, title and cost are
always its own. The resolved recipe, which runs keep and hash, does not say how it was written.
"""

import os
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from mobilekd.formats.document import explain, shortened
from mobilekd.formats.own_code import gather, is_own
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.training_tables import OwnCode
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json
from mobilekd.support.words import choices

#: The resolved recipe in a run's folder, so that a run stands for its recipe with all settings.
KEPT = "recipe.json"

#: Recipes in a chain of bases, the first included.
MOST_BASES = 8


def shipped() -> list[str]:
    """Names of the recipes inside the package."""
    return sorted(
        item.name[:-5]
        for item in files("mobilekd.recipes").iterdir()
        if item.name.endswith(".toml")
    )


def load_recipe(name_or_path: str, overrides: Sequence[str] = (), *, smoke: bool = False) -> Recipe:
    """Read a recipe by shipped name or path, or the one that a run's folder keeps; ``overrides``
    are ``key=value`` with dotted keys and TOML values.
    """
    document, where, text, folders = _document(name_or_path)
    if smoke:
        for key, value in document.get("smoke", {}).items():
            _set(document, key, value, where)
    _override(document, overrides)
    return with_own_code(from_dict(document, where, text, overrides), folders)


def as_recipe(recipe: Recipe | str | Path, command: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe as it is, or read by its shipped name or its file, with ``overrides`` applied;
    ``command`` names the caller in messages.
    """
    if isinstance(recipe, (str, Path)):
        return load_recipe(str(recipe), overrides)
    if not isinstance(recipe, Recipe):
        raise UserError(
            f"{command}: recipe is {recipe!r:.60}, of type {type(recipe).__name__}; give a shipped"
            " recipe's name, a TOML file, or what load_recipe returned"
        )
    return with_own_code(with_overrides(recipe, overrides) if overrides else recipe)


Table = TypeVar("Table", bound=OwnCode)


def with_own_code(recipe: Recipe, folders: Sequence[Path] = ()) -> Recipe:
    """The recipe with the source of the user's own functions in it, from the first of ``folders``
    and the working folder that has it; source that is in none of them stays as the recipe has it.
    """
    changed: dict[str, Any] = {}
    losses = tuple(_with_source(table, "name", folders) for table in recipe.losses)
    if losses != recipe.losses:
        changed["losses"] = losses
    teachers = tuple(_with_source(table, "model", folders) for table in recipe.teachers)
    if teachers != recipe.teachers:
        changed["teachers"] = teachers
    student = _with_source(recipe.student, "model", folders)
    if student != recipe.student:
        changed["student"] = student
    return recipe.model_copy(update=changed) if changed else recipe


def _with_source(table: Table, key: str, folders: Sequence[Path]) -> Table:
    name = getattr(table, key)
    if not is_own(name):
        return table.model_copy(update={"code": {}}) if table.code else table
    name, code = gather(name, (*folders, Path()), table.code)
    return table.model_copy(update={key: name, "code": code})


def own_code(recipe: Recipe) -> dict[str, str]:
    """Source of all own functions of a recipe, by file."""
    found: dict[str, str] = {}
    for table in (*recipe.losses, *recipe.teachers, recipe.student):
        found |= table.code
    return found


def changed_code(one: Recipe, other: Recipe) -> str:
    """Names of own source files that differ between two recipes; empty where none does."""
    before, after = own_code(one), own_code(other)
    return ", ".join(
        sorted(key for key in before.keys() & after.keys() if before[key] != after[key])
    )


def _document(name_or_path: str) -> tuple[dict[str, Any], str, str, list[Path]]:
    """A recipe with its bases laid under it, the place to name in messages, its own text, and the
    folders that it and its bases lie in.
    """
    document, where, text, folder = _read(name_or_path, None)
    chain, folders = [where], [folder]
    base = document.pop("base", None)
    while base is not None:
        if not isinstance(base, str):
            raise UserError(f'{chain[-1]}: base: not a name (given: {base!r}); write base = "demo"')
        if "name" not in document:
            raise UserError(f"{where}: name: missing; a recipe with a base has a name of its own")
        below, place, _, folder = _read(base, folder)
        way = " -> ".join((*chain, place))
        if place in chain:
            raise UserError(f"{where}: its base leads back to itself ({way}); take one base out")
        if len(chain) == MOST_BASES:
            raise UserError(f"{where}: more than {MOST_BASES - 1} bases ({way}); write them as one")
        chain.append(place)
        folders.append(folder)
        base = below.pop("base", None)
        for key in ("name", "title", "cost"):
            below.pop(key, None)
        document = _laid_over(below, document)
    return document, where, text, [folder for folder in folders if folder is not None]


def _read(name_or_path: str, beside: Path | None) -> tuple[dict[str, Any], str, str, Path | None]:
    """A recipe's own keys, the place to name in messages, its text, and its folder (None: shipped).

    ``beside`` is the folder of the recipe that names this one as its base.
    """
    if name_or_path in shipped():
        where = name_or_path
        text = (files("mobilekd.recipes") / f"{where}.toml").read_text(encoding="utf-8")
        return _parsed(text, where), where, text, None
    path = Path(name_or_path).expanduser()
    if beside is not None:
        path = Path(os.path.normpath(beside / path))
    kept = path / KEPT
    if kept.is_file():
        document = read_json(kept, "recipe")
        if not isinstance(document, dict):
            raise UserError(f"{kept}: no recipe; teach or distil again")
        return document, str(kept), "", None
    if not path.is_file():
        raise UserError(
            f"{name_or_path}: neither a recipe file nor a shipped recipe, nor the folder of a run;"
            f" {choices(name_or_path, shipped())}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable recipe ({error}); save it as UTF-8 text") from None
    return _parsed(text, str(path)), str(path), text, path.parent


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise UserError(f"{where}: not valid TOML ({reason}); mend that line") from None


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``: tables key by key, everything else, lists included, as a whole."""
    made = dict(below)
    for key, value in above.items():
        lower = made.get(key)
        both = isinstance(value, dict) and isinstance(lower, dict)
        made[key] = _laid_over(lower, value) if both else value  # type: ignore[arg-type]
    return made


def with_overrides(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with ``key=value`` overrides applied, validated again."""
    document = recipe.to_dict()
    _override(document, overrides)
    return from_dict(document, recipe.name, overrides=overrides)


def _override(document: dict[str, Any], overrides: Sequence[str]) -> None:
    for override in overrides:
        key, equals, value = override.partition("=")
        if not (key.strip() and equals):
            raise UserError(
                f"--set {override}: not key=value; write for example --set train.epochs=3"
            )
        _set(document, key.strip(), _toml_value(value.strip()), f"--set {override}")


def from_dict(
    document: dict[str, Any], where: str, text: str = "", overrides: Sequence[str] = ()
) -> Recipe:
    """Validate a document; every mistake names the key, what is allowed, and where the value came
    from: the last override of that key, else the file with its line.
    """
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise UserError(
            "; ".join(_explain(item, where, text, overrides) for item in error.errors()[:3])
        ) from None


def _toml_value(text: str) -> Any:
    """The TOML value of a text; the text itself where it is no TOML."""
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return document["value"] if len(document) == 1 else text


def _set(document: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set a dotted key, like ``train.epochs`` or ``teachers.0.model``; one without a place is a
    ``UserError``.
    """
    *parents, last = key.split(".")
    data = document.get("data")
    listed = isinstance(data, dict) and "sources" in data
    if listed and parents[:1] == ["data"] and [*parents, last][1].isdigit():
        parents.insert(1, "sources")  # data.1.root of [[data]], as a resolved recipe keeps it
    place: Any = document
    for parent in parents:
        place = (
            place[_index(place, parent, key, where)]
            if isinstance(place, list)
            else place.setdefault(parent, {})
        )
        if not isinstance(place, (dict, list)):
            raise UserError(f"{where}: {parent} is a value, not a table; see mobilekd recipes")
    place[_index(place, last, key, where) if isinstance(place, list) else last] = value


def _index(items: list[Any], text: str, key: str, where: str) -> int:
    if not text.isdigit() or int(text) >= len(items):
        raise UserError(
            f"{where}: {key}: no entry {text} in a list of {len(items)}; entries count from 0"
        )
    return int(text)


def _explain(item: Any, where: str, text: str, overrides: Sequence[str]) -> str:
    location = tuple(item["loc"])
    said = explain(item, Recipe)
    if item["type"] == "extra_forbidden" and len(location) == 1:
        said = _elsewhere(str(location[0])) or said
    override = _override_of(".".join(map(str, location)), overrides)
    if override:
        key, _, value = override.partition("=")
        if item["type"] == "string_type":
            said += f"; write it as a text: --set '{key.strip()}=\"{shortened(value.strip())}\"'"
        return f"--set {shortened(override)}: {said}"
    last = str(next((part for part in reversed(location) if isinstance(part, str)), ""))
    lines = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if last and line.split("=")[0].strip().strip('"') == last
    ]
    place = f"{where}, line {lines[0]}" if len(lines) == 1 else where
    return f"{place}: {said}"


def _elsewhere(key: str) -> str:
    """The answer to a key at the top of a recipe that belongs into a table; empty where none has
    it.
    """
    named = [
        f"{table}.{key}"
        for table, field in Recipe.model_fields.items()
        if key in getattr(field.annotation, "model_fields", ())
    ]
    return f"unknown key {key}; did you mean {' or '.join(named)}?" if named else ""


def _override_of(key: str, overrides: Sequence[str]) -> str:
    """The last override that set ``key``, a table around it or a value below it; empty where none
    did.
    """
    for override in reversed(overrides):
        own = override.partition("=")[0].strip()
        if own == key or key.startswith(f"{own}.") or own.startswith(f"{key}."):
            return override
    return ""
