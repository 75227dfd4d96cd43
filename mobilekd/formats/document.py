"""One base for every document on disk, and one reader whose refusals name file, key, value and
remedy.

A document is a frozen pydantic model below :class:`Document`, or a list or dictionary of such. Add
its model to the module of this folder that it belongs to, and read it with ``read_document``; a
key that later versions bring needs a default, so that files written before are still read.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json
from mobilekd.support.words import choices

#: What helps in most cases: files are parts of folders that this package wrote.
REMEDY = "copy the folder whole, or make it again"

Kind = TypeVar("Kind")


class Document(BaseModel):
    """Frozen; unknown keys are refused, and so are NaN and infinity, because JSON has no word for
    them.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class GrownDocument(Document):
    """A document to which keys came later: they are written only where they were set, so that what
    was written earlier, and its hash, stays what it was.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        later = {name for kind in type(self).__mro__ for name in vars(kind).get("later", ())}
        fields = type(self).model_fields
        unset = {
            name
            for name in later
            if getattr(self, name) == fields[name].get_default(call_default_factory=True)
        }
        return {key: value for key, value in handler(self).items() if key not in unset}


def read_document(path: Path, kind: type[Kind], what: str, remedy: str = REMEDY) -> Kind:
    """The JSON file at ``path`` as ``kind``: a :class:`Document`, or a list or dictionary of them.

    ``what`` names it in messages (``"run"``). A file that is missing, broken or something else is a
    ``UserError``.
    """
    return parse_document(read_json(path, what), kind, str(path), what, remedy)


def parse_document(
    value: Any, kind: type[Kind], where: str, what: str, remedy: str = REMEDY
) -> Kind:
    """A JSON value as ``kind``; one that is something else is a ``UserError`` that begins with
    ``where``.
    """
    adapter: TypeAdapter[Kind] = _adapter(kind)  # type: ignore[arg-type]  # a class has a hash
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise UserError(f"{where}: {_refusal(error, kind, what, remedy)}") from None


def explain(problem: Any, kind: Any) -> str:
    """One entry of ``ValidationError.errors()`` in words: key, what is wrong, and the value."""
    location = tuple(problem["loc"])
    key = ".".join(map(str, location))
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key {key}; {choices(str(location[-1]), known_keys(kind, location[:-1]))}"
    if problem["type"] == "missing":
        return f"{key}: missing"
    if problem["type"] in ("model_type", "dict_type", "dataclass_type"):
        message = "input should be a table of keys"
    else:
        message = problem["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
    given = _shown(problem["input"])
    if not key and problem["type"] == "value_error":
        return str(message)  # it says itself what it is about
    return f"{key or 'the whole'}: {message}{f' (given: {given})' if given else ''}"


def known_keys(kind: Any, location: tuple[Any, ...]) -> list[str]:
    """The keys that the document ``kind`` has at ``location``, a pydantic ``loc``."""
    for part in location:
        fields = _fields(kind)
        if part in fields:
            kind = fields[part].annotation
    return list(_fields(kind))


def _refusal(error: ValidationError, kind: Any, what: str, remedy: str) -> str:
    problems = error.errors(include_url=False)
    for problem in problems:
        given, read = problem["input"], problem.get("ctx", {}).get("expected", "")
        known = [int(number) for number in re.findall(r"\d+", str(read))]
        if (
            problem["loc"] == ("schema_version",)
            and type(given) is int
            and known
            and given > max(known)
        ):
            return f"{what} of version {given}, this mobilekd reads version {read}; update mobilekd"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"not a valid {what}: {explain(problems[0], kind)}{more}; {remedy}"


def _shown(value: Any) -> str:
    """A value for a message; empty where it is a whole table or list."""
    if isinstance(value, (dict, list, tuple)) and value:
        return ""
    text = repr(value) if isinstance(value, (str, int, float, type(None))) else str(value)
    return shortened(text)


def shortened(text: str) -> str:
    """At most 60 characters of a text, for a message."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fields(annotation: Any) -> dict[str, Any]:
    """The fields of the first document inside an annotation such as ``tuple[Label, ...]``."""
    own = getattr(annotation, "__pydantic_fields__", None)
    if own is not None:
        return dict(own)
    for part in getattr(annotation, "__args__", ()):
        if fields := _fields(part):
            return fields
    return {}


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
