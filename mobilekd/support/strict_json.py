"""JSON that is only JSON: what Python's reader lets pass and no other program reads is refused, and
so is what would exhaust the reader.
"""

import json
import math
from typing import Any, NoReturn

#: Documents of this package nest about ten deep.
DEEPEST = 100
#: Integers outside of 64 bits fit no array, no clock and no file size.
LEAST, MOST = -(2**63), 2**64 - 1


def loads(text: str | bytes) -> Any:
    """The value that ``text`` spells; bytes are UTF-8, with or without a byte order mark.

    ``ValueError``, with the reason as its text, for broken JSON, for the tokens ``NaN`` and
    ``Infinity``, numbers that no float or 64-bit integer holds, a key given twice, nesting
    deeper than ``DEEPEST``, and characters that are halves of others (lone surrogates).
    """
    try:
        words = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        value = json.loads(
            words,
            parse_constant=_no_number,
            parse_float=_float,
            parse_int=_integer,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8 text") from None
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from None
    _check_nesting(value)
    if "\\ud" in words.lower():
        _check_characters(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Other readers take the first of two equal keys, Python the last."""
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:40]!r} is there twice")
    return value


def _no_number(token: str) -> NoReturn:
    raise ValueError(f"{token} is no JSON number")


def _float(token: str) -> float:
    value = float(token)
    if math.isinf(value):
        raise ValueError(f"{token[:40]} is too large a number")
    return value


def _integer(token: str) -> int:
    # int() of a long text costs time, so the text's length is asked first
    if len(token) > 20 or not LEAST <= int(token) <= MOST:
        raise ValueError(f"{token[:40]} is too large a number")
    return int(token)


def _check_nesting(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            item
            for one in level
            if isinstance(one, (dict, list))
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {DEEPEST} levels")


def _check_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text holds half a character (a lone surrogate)") from None
