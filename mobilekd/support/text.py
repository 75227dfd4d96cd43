"""Texts from files and devices as a person may see them: in their line, in their direction, and not
without end.
"""

import re
from collections.abc import Sequence

from mobilekd.support.words import counted

#: A run of letters without a space, and a whole text, keep as many characters; the middle goes.
WORD, TEXT = 100, 4000

#: Control characters but tab and line feed; marks that turn the direction of writing; line and
#: paragraph separators; halves of characters; the byte order mark.
HIDDEN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2066\\u2067"
    "\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb]"
)
ISOLATE, END = "\u2068", "\u2069"


def visible(text: str) -> str:
    r"""``text`` without what cannot be seen: a control character or a mark that turns the direction
    of writing is written as ``\x07`` or ``\u202e``, and what is endless loses its middle.

    Isolates (as ``devices.device_name`` sets them) stay where each one ends.
    """
    text = HIDDEN.sub(_escape, text)
    depth = 0
    for letter in text:
        depth += (letter == ISOLATE) - (letter == END)
        if depth < 0:
            break
    if depth:
        text = re.sub(f"[{ISOLATE}{END}]", _escape, text)
    return cut(re.sub(rf"\S{{{WORD + 1},}}", lambda match: cut(match[0], WORD), text), TEXT)


def cut(text: str, most: int) -> str:
    """``text`` with at most ``most`` characters: the end often tells names apart, so the middle
    goes.
    """
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """``a, b, c and 4 more``: the first names, and how many there are beside them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def photographs_of(photographs: int, lesions: int) -> str:
    """``2,005 photographs of 1,495 lesions``; where there are as many lesions as photographs,
    nobody knows which photographs show the same one, or none do.
    """
    if lesions == photographs:
        return f"{counted(photographs, 'photograph')}, none of them known to show the same lesion"
    return f"{counted(photographs, 'photograph')} of {counted(lesions, 'lesion')}"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
