"""Cells of metadata: what they know of a photograph, and how they say that they do not."""

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mobilekd.support.errors import UserError

#: Cells that mean "not known", beside those without any letter or digit.
EMPTY = frozenset(
    {"", "unknown", "not known", "nan", "na", "n/a", "n.a.", "#n/a", "<na>", "none", "null", "nil"}
    | {"missing", "undefined", "not available", "not specified", "unspecified", "-1", "-1.0"}
)

#: How a diagnosis was confirmed, as HAM10000 and the ISIC archive write it, in one word each.
CONFIRMED = {
    "histo": "histology",
    "histopathology": "histology",
    "follow_up": "follow-up",
    "serial imaging showing no change": "follow-up",
    "single image expert consensus": "consensus",
    "confocal": "confocal microscopy",
    "confocal microscopy with consensus dermoscopy": "confocal microscopy",
}


def known(cell: str | None) -> str | None:
    """A metadata cell in lower case, None where it says that nothing is known."""
    text = (cell or "").strip().lower()
    return None if text in EMPTY or not any(map(str.isalnum, text)) else text


def words_for_unknown(cells: Iterable[str]) -> str:
    """The words among ``cells`` that were taken for "not known", with their count and how to keep
    one, as the end of a sentence; empty where such cells are blank.
    """
    counts = Counter(cell.strip() for cell in cells if cell.strip() and known(cell) is None)
    if not counts:
        return ""
    shown = ", ".join(f"{word!r} in {count}" for word, count in counts.most_common())
    return (
        f' (read as "not known": {shown}; where such a word is a name, write it otherwise in the'
        " table)"
    )


def confirmed(cell: str | None) -> str | None:
    """How a diagnosis was confirmed, None where the cell does not say it."""
    text = known(cell)
    return None if text is None else CONFIRMED.get(text, text)


def years(cell: str | None, where: Path) -> float | None:
    """An age cell; None where not known; ``UserError`` where it is no age."""
    text = known(cell)
    if text is None:
        return None
    try:
        age = float(text)
    except ValueError:
        age = math.nan
    if not 0 <= age <= 130:
        raise UserError(f"{where}: {cell} is no age in years; mend it or leave the cell empty")
    return age
