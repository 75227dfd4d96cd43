"""The commands' arguments as Python users have them: texts for paths, one item for a list of one,
and runs and artifacts as they were returned. Anything else is refused in one line.
"""

import functools
import inspect
import logging
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from mobilekd.support.errors import UserError
from mobilekd.support.words import unknown

Result = TypeVar("Result")


def hush() -> None:
    """torchao 0.18 registers an enumeration that torch 2.15 already knows, and torch warns of it at
    every export.
    """
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)


def forgiving(function: Callable[..., Result]) -> Callable[..., Result]:
    """``function`` with arguments converted by its annotations; one that cannot be is a
    ``UserError`` that names it.
    """

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Result:
        hush()
        signature = inspect.signature(function)
        for word in named:
            if word not in signature.parameters:
                raise UserError(unknown(f"{function.__name__}: {word}", word, signature.parameters))
        try:
            bound = signature.bind(*given, **named)
        except TypeError as error:
            raise UserError(
                f"{function.__name__}: {error}; it takes {', '.join(signature.parameters)}"
            ) from None
        hints = _hints(function)
        for name, value in bound.arguments.items():
            what = f"{function.__name__}: {name}"
            bound.arguments[name] = _converted(value, hints.get(name, Any), what)
        return function(*bound.args, **bound.kwargs)

    return call


@functools.cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError:  # a type that only checkers import
        return {}


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _converted(value: Any, hint: Any, what: str) -> Any:
    kinds = _kinds(hint)
    if value is None and type(None) in kinds:
        return None
    several = next((kind for kind in kinds if get_origin(kind) is Sequence), None)
    if several is not None:
        items = [value] if _is_one(value) else value
        if not isinstance(items, (list, tuple, set, frozenset)) and not hasattr(items, "__iter__"):
            raise _refused(value, kinds, what)
        (kind,) = get_args(several)
        return [_converted(item, kind, what) for item in items]
    if Path in kinds or str in kinds:
        if (place := getattr(value, "folder", None)) is not None and isinstance(place, Path):
            if getattr(value, "reference", False) and str in kinds:
                return f"reference:{place.name}"  # it has a name, and its place is no one's matter
            return place if Path in kinds else str(place)
        if isinstance(value, Path):
            return value if Path in kinds else str(value)
        if isinstance(value, str):
            return value if str in kinds else Path(value).expanduser()
        if not any(_fits(value, kind) for kind in kinds):
            raise _refused(value, kinds, what)
        return value
    if not any(_fits(value, kind) for kind in kinds):
        raise _refused(value, kinds, what)
    return value


def _is_one(value: Any) -> bool:
    return isinstance(value, (str, Path)) or isinstance(getattr(value, "folder", None), Path)


def _fits(value: Any, kind: Any) -> bool:
    if kind is Any or not isinstance(get_origin(kind) or kind, type):
        return True
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, get_origin(kind) or kind)


#: What to give for a type, in words.
WORDS = {
    Path: "the path of a file or folder",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    Mapping: "a dictionary",
    type(None): "None",
}


def _refused(value: Any, kinds: Sequence[Any], what: str) -> UserError:
    words = [
        WORDS.get(get_origin(kind) or kind, getattr(kind, "__name__", str(kind)))
        for kind in kinds
        if kind is not type(None)
    ]
    if Path in kinds:
        words.append("a run or an artifact as it was returned")
    shown = " ".join(repr(value).split())  # an array's is of several lines
    return UserError(
        f"{what} is {shown:.60}, of type {type(value).__name__}; give {' or '.join(words)}"
    )
