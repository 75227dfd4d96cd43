"""The classes of dermoscopy data sets: one key and one name in words each, whatever a data set
calls them.
"""

import unicodedata
from collections.abc import Collection

from mobilekd.formats.labels import Label

#: Every known class, in the order in which a data set lists those that it has.
NAMES = {
    "akiec": "actinic keratosis or Bowen's disease",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
    "scc": "squamous cell carcinoma",
}

#: The seven of HAM10000, in the order of its keys.
HAM10000 = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


#: ISIC's columns -> this project's keys. SCC stays its own: whether it may count as akiec is for
#: the user to say (data.map, --map).
COLUMNS = {
    "MEL": "mel",
    "NV": "nv",
    "BCC": "bcc",
    "AK": "akiec",
    "AKIEC": "akiec",
    "BKL": "bkl",
    "DF": "df",
    "VASC": "vasc",
    "SCC": "scc",
}


def normal(name: str) -> str:
    """``name`` in the one form in which names are kept (Unicode's NFC): what looks the same is
    the same.
    """
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """``name`` as it is compared: case, the kind and number of blanks, and characters that cannot
    be seen do not matter.
    """
    if name.isascii():  # nothing in it that cannot be seen, and one form
        return " ".join(name.casefold().split())
    visible = "".join(c for c in normal(name).casefold() if unicodedata.category(c) != "Cf")
    return normal(" ".join(visible.split()))


def labels(keys: tuple[str, ...]) -> tuple[Label, ...]:
    """Labels with names in words; a key that is not known here is its own name."""
    return tuple(Label(key=key, text=NAMES.get(folded(key), key.replace("_", " "))) for key in keys)


def in_usual_order(keys: Collection[str]) -> tuple[str, ...]:
    """``keys`` as :data:`NAMES` lists them where all are known, else by name."""
    known = tuple(key for key in NAMES if key in keys)
    return known if len(known) == len(keys) else tuple(sorted(keys))
