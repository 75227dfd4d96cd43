"""Where photographs come from: a clinic, an archive, a device. A split gives each origin's share to
every part, or leaves an origin out of training.
"""

import re
from collections import Counter
from dataclasses import replace

from mobilekd.data.dataset import Dataset, Notes
from mobilekd.formats.data_tables import LESION_ID
from mobilekd.support.errors import UserError

#: The origin of a photograph whose lesion's id says nothing.
UNKNOWN = "unknown"

#: A lesion's id as the ISIC archive writes it: HAM_0000550, BCN_0003560, MSK4_0011472.
PREFIXED = re.compile(r"([A-Za-z][A-Za-z0-9]*)_\d+")


def with_origins(dataset: Dataset, origin: str) -> Dataset:
    """``dataset`` whose photographs all come from ``origin``; where that is ``lesion_id``, each
    from what stands before the number of its lesion's id, with the counts said.

    The hash stays: the data are the same.
    """
    if origin != LESION_ID:
        return replace(dataset, origins=(origin,) * len(dataset))
    # a photograph without a known lesion is its own, under its own name
    origins = tuple(
        match[1] if lesion != name and (match := PREFIXED.fullmatch(lesion)) else UNKNOWN
        for name, lesion in zip(dataset.ids, dataset.lesions, strict=True)
    )
    counts = Counter(origins)
    if set(counts) == {UNKNOWN}:
        raise UserError(
            f"data.origin: no lesion id of the {dataset.kind} data has an origin before its number,"
            ' as BCN_0003560 has; name the origin of all, for example data.origin = "my clinic"'
        )
    said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    notes = Notes(dataset.notes)
    notes.add(f"data.origin: photographs by the letters before their lesion's number: {said}")
    return replace(dataset, origins=origins, notes=tuple(notes))
