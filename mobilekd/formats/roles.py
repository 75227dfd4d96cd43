"""Roles of classes: which one is melanoma, which ones are malignant. The metrics of what must not
be missed follow roles, never names.

A recipe's ``[data.roles]`` names the classes. Where it does not, a role is guessed from the usual
names, in the languages in which people label photographs; old artifacts are read in this way.
"""

import re
import unicodedata
from typing import Literal

#: What a class is to the metrics. Melanoma is malignant, too.
Role = Literal["melanoma", "malignant", "benign"]

#: Words, without accents and in lower case, that say melanoma, and that say malignant.
MELANOMA = re.compile("mel|melanomas?|melanom|melanomes?|melanoom|melanomy|mm|czerniak")
MALIGNANT = re.compile(
    "bcc|akiec|ak|scc|malign|malignant|malign[oae]|malignus|malin|bosartige?|kwaadaardig"
    "|cancer|cancerous|krebs|carcinomas?|carcinome|karzinome?|carcinoom|basaliom|spinaliom"
)
#: A word that turns the others round.
NOT = re.compile(
    "no|not|non|without|kein|keine|ohne|nicht|sin|sans|senza|sem|geen|benign|benign[oae]|benin"
    "|gutartige?|goedaardig|harmless|harmlose?"
)


def words(key: str) -> list[str]:
    """The words of a class's name, without accents and case: ``Böser_Fleck-2`` -> boser, fleck."""
    plain = unicodedata.normalize("NFKD", key)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[^\W\d_]+", plain.replace("ß", "ss").casefold())


def guess(key: str) -> Role | None:
    """The role that a class's name speaks of; None where it speaks of none."""
    found = words(key)
    if any(map(NOT.fullmatch, found)):
        return None
    if any(map(MELANOMA.fullmatch, found)):
        return "melanoma"
    return "malignant" if any(map(MALIGNANT.fullmatch, found)) else None
