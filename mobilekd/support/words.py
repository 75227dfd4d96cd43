"""Answers to an unknown word: what was given, all that is known, a guess only when it is near."""

import difflib
from collections.abc import Iterable

#: Least share of letters that two words have in common (difflib's ratio) to be called near: one
#: letter of four may be wrong.
NEAR = 0.75


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` most likely stands for; None where none is near.

    Case, and whether parts are joined by ``-`` or ``_``, make no difference.
    """
    by_spelling = {_plain(one): one for one in known}
    near = difflib.get_close_matches(_plain(word), list(by_spelling), 1, NEAR)
    return by_spelling[near[0]] if near else None


def choices(word: str, known: Iterable[str]) -> str:
    """``did you mean xnnpack? known: portable, xnnpack``, without the guess where none is near."""
    known = list(known)
    guess = nearest(word, known)
    listed = f"known: {', '.join(known) or 'none'}"
    return f"did you mean {guess}? {listed}" if guess else listed


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """``no backend xnpack; did you mean xnnpack? known: portable, xnnpack``."""
    return f"no {what} {word or '(nothing given)'}; {choices(word, known)}"


def _plain(word: str) -> str:
    return word.casefold().replace("_", "-")
