"""Do names of photographs say which patient, or which lesion, they show?

``P017_2.jpg`` and ``patient 17 - b.jpg`` do; ``IMG_0417.jpg`` and ``20240131_101500.jpg`` do not.
Only told, never used: what a name means is for its owner to say.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

#: A word that says whose number follows it, and that number.
NAMED = re.compile(
    r"(?<![a-z])(patient|pat|pt|subject|subj|case|person|lesion|fall|paciente|caso)"
    r"[ _.#-]*(\d+)",
    re.IGNORECASE,
)
#: A first part with a number in it, and what tells the photographs of one number apart.
PREFIXED = re.compile(r"([^\W_]*\d[^\W_]*)[ _.-]+\(?[^\W_]{1,8}\)?(?:[ _.-]+[^\W_]{1,8})*")
#: Days and times, of which cameras make names.
DAY = re.compile(r"(?:19|20)\d{2}(?:[01]\d(?:[0-3]\d)?)?")


def patients(ids: Sequence[str]) -> dict[str, list[str]]:
    """Ids by the number that several of them share, most first; empty where names do not look as
    if they had one: where fewer than a quarter of the photographs share any, or half of them one.
    """
    shared: dict[str, list[str]] = defaultdict(list)
    for name in ids:
        number = _number(name.rpartition("/")[2])
        if number:
            shared[number].append(name)
    groups = {number: members for number, members in shared.items() if len(members) > 1}
    count = sum(map(len, groups.values()))
    largest = max(map(len, groups.values()), default=0)
    if len(groups) < 2 or count < len(ids) / 4 or largest > len(ids) / 2:
        return {}
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def _number(stem: str) -> str:
    """``P017`` of ``P017_2``; empty where a name has none."""
    if named := NAMED.search(stem):
        return f"{named[1].lower()} {named[2]}"
    prefixed = PREFIXED.fullmatch(stem)
    if prefixed is None or DAY.fullmatch(prefixed[1]):
        return ""
    return prefixed[1]
