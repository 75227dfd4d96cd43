"""Where photographs come from: what is published of a public data set, and how many diagnoses are
confirmed by histology.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

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
    kinds: Iterable[str], confirmed: Mapping[str, Mapping[str, int]]
) -> list[tuple[str, str]]:
    """What is known of data of these ``kinds``: what it is about, and the fact. ``confirmed`` are
    photographs by class and by how the diagnosis was confirmed, as a run counted them.
    """
    published = [DATA_SETS[kind] for kind in dict.fromkeys(kinds) if kind in DATA_SETS]
    facts = [fact for one in published for fact in one.items() if fact[0] != HISTOLOGY]
    if not facts:
        facts = [UNKNOWN]
    if confirmed:
        return [*facts, (HISTOLOGY, counted(confirmed))]
    counts = [(HISTOLOGY, one[HISTOLOGY]) for one in published]
    return [*facts, *(counts or [UNCONFIRMED])]


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
