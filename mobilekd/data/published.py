"""Where photographs come from: what is published of a public data set, and how many diagnoses are
confirmed by histology.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from mobilekd.formats.data_tables import LESION_ID

#: What is known of a public data set, by the recipe's ``data.kind``; from its own paper, and for
#: histology counted in its table (``dx_type``). The last is used where a run did not count itself.
DATA_SETS = {
    "ham10000": {
        "Origin": (
            "10,015 dermoscopy photographs of 7,470 lesions, gathered over 20 years at the Medical"
            " University of Vienna and a skin cancer practice in Queensland (Tschandl et al. 2018,"
            " doi 10.1038/sdata.2018.161), CC BY-NC 4.0"
        ),
        "Devices": "several dermatoscopes and cameras; part are digitised slides",
        "Skin types": "not recorded; by its origins mostly light skin",
        "Confirmed by histology": (
            "5,340 of 10,015 photographs (53.3%); 100% of mel, bcc and akiec, 69.7% of bkl, 47.8%"
            " of df, 47.2% of vasc, 37.3% of nv. The others rest on follow-up (3,704), consensus"
            " (902) or confocal microscopy (69)"
        ),
    }
}
#: What is published of the sources of ISIC's archive, by what stands before the number of a
#: lesion's id, which ``data.origin = "lesion_id"`` reads.
ORIGINS = {
    "BCN": (
        "BCN, BCN20000: Hospital Clínic in Barcelona, 2010 to 2016 (Hernández-Pérez et al. 2024,"
        " doi 10.1038/s41597-024-03387-w)"
    ),
    "HAM": (
        "HAM, HAM10000: Medical University of Vienna and a skin cancer practice in Queensland, over"
        " 20 years (Tschandl et al. 2018, doi 10.1038/sdata.2018.161)"
    ),
    "MSK4": "MSK4, MSK: New York, no owner named (Codella et al. 2017, arXiv 1710.05006)",
}
HISTOLOGY = "Confirmed by histology"
UNKNOWN = (
    "Origin",
    (
        "years, centres, devices and skin types are not known to this program; whoever releases the"
        " model states them here"
    ),
)
UNCONFIRMED = (HISTOLOGY, "not known: the data do not say how diagnoses were confirmed")


def known_facts(
    kinds: Iterable[str], confirmed: Mapping[str, Mapping[str, int]], origins: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """What is known of data of these ``kinds``: what it is about, and the fact. ``confirmed`` are
    photographs by class and by how the diagnosis was confirmed, as a run counted them; ``origins``
    are those of ISIC's archive that its photographs come from.
    """
    published = [DATA_SETS[kind] for kind in dict.fromkeys(kinds) if kind in DATA_SETS]
    facts = [fact for one in published for fact in one.items() if fact[0] != HISTOLOGY]
    if sources := [ORIGINS[one] for one in dict.fromkeys(origins) if one in ORIGINS]:
        facts += [
            ("Origin", f"ISIC's archive; {'; '.join(sources)}"),
            ("Devices and skin types", "not recorded"),
        ]
    if not facts:
        facts = [UNKNOWN]
    if confirmed:
        return [*facts, (HISTOLOGY, counted(confirmed))]
    counts = [(HISTOLOGY, one[HISTOLOGY]) for one in published]
    return [*facts, *(counts or [UNCONFIRMED])]


def archive_origins(recipe: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Those of ``names`` that a recipe read from the lesion ids of ISIC's archive."""
    data = recipe.get("data") or {}
    read = any(
        one.get("kind") == "isic" and one.get("origin") == LESION_ID
        for one in (data, *data.get("sources", ()))
    )
    return [name for name in names if name in ORIGINS] if read else []


def counted(confirmed: Mapping[str, Mapping[str, int]]) -> str:
    """Counts in words: ``5 of 8 photographs (62.5%); 100% of mel, 25% of nv. The others rest on
    follow-up (2) or what is not stated (1)``.
    """
    whole: Counter[str] = Counter()
    for ways in confirmed.values():
        whole.update(ways)
    by_class = [
        f"{ways.get('histology', 0) / sum(ways.values()):.1%} of {key}"
        for key, ways in confirmed.items()
        if sum(ways.values())
    ]
    text = (
        f"{whole['histology']:,} of {whole.total():,} photographs"
        f" ({whole['histology'] / max(whole.total(), 1):.1%}); {', '.join(by_class)}"
    )
    others = [
        f"{way or 'what is not stated'} ({count:,})"
        for way, count in sorted(whole.items(), key=lambda one: (-one[1], one[0]))
        if way != "histology" and count
    ]
    if not others:
        return text
    *first, last = others
    return f"{text}. The others rest on {', '.join(first)}{' or ' if first else ''}{last}"
