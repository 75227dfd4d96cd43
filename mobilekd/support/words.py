"""Answers to an unknown word: what was given, all that is known, a guess only when it is near."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

#: Least share of letters that two words have in common (difflib's ratio) to be called near: one
#: letter of four may be wrong.
NEAR = 0.75

#: Words that a message lists; of more, the nearest stand for all.
MOST = 40


def in_one_line(text: object) -> str:
    """``text`` with a space for every run of spaces and line breaks: for what libraries say."""
    return " ".join(str(text).split())


def counted(number: int, noun: str) -> str:
    """``1 epoch``, ``2 epochs``, ``1,200 photographs``, ``3 classes``, ``2 entries``."""
    if number != 1 and noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{number:,} {noun[:-1]}ies"
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` most likely stands for; None where none is near.

    Case, and whether parts are joined by ``-`` or ``_``, make no difference.
    """
    near = _nearest(word, list(known), 1, NEAR)
    return near[0] if near else None


def choices(word: str, known: Iterable[str]) -> str:
    """``did you mean xnnpack? known: portable, xnnpack``; no guess where none is near.

    Of more than ``MOST`` known words only the nearest are listed, after their number.
    """
    words = list(known)
    if len(words) > MOST:
        listed = f"{len(words)} are known, the nearest: {', '.join(_nearest(word, words, 3, 0.0))}"
    else:
        listed = f"known: {', '.join(words) or 'none'}"
    guess = nearest(word, words)
    return f"did you mean {guess}? {listed}" if guess else listed


def unknown(given: str, word: str, known: Iterable[str]) -> str:
    """``--backend xnpack: unknown; did you mean xnnpack? known: portable, xnnpack``: ``given`` is
    how the word was given, in the user's terms.
    """
    return f"{given}: unknown; {choices(word, known)}"


def names_by_file(folder: Path) -> list[str]:
    """What the files of a package are called on the command line, sorted: one of a kind each.
    ``base`` and files that begin with ``_`` are none.
    """
    stems = (path.stem for path in folder.glob("*.py"))
    return sorted(
        stem.replace("_", "-") for stem in stems if stem != "base" and not stem.startswith("_")
    )


def html_table(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns for a notebook; every text is escaped."""
    from html import escape  # only here: a command line's start is measured

    lines = (f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in rows)
    return f"<table>{''.join(lines)}</table>"


def _nearest(word: str, known: Sequence[str], most: int, least: float) -> list[str]:
    by_spelling = {_plain(one): one for one in known}
    near = difflib.get_close_matches(_plain(word), list(by_spelling), most, least)
    return [by_spelling[one] for one in near]


def _plain(word: str) -> str:
    return word.casefold().replace("_", "-")
