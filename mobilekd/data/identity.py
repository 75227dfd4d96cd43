"""Is this still the data that a run was trained on? One answer for evaluate, export, verify and
a resumed run.

Content decides, never the place: the ids of the split, the data set's hash (ids, labels, lesions
and file sizes) and what the decoded photographs show.
"""

from collections.abc import Iterable, Mapping

from mobilekd.data.dataset import Dataset, some
from mobilekd.data.decode import photograph_hashes
from mobilekd.data.split import ROLES
from mobilekd.formats.runs import Role, Split
from mobilekd.support.files import sha256_json


def pixel_hash(dataset: Dataset, ids: Iterable[str]) -> str:
    """One hash over the decoded photographs ``ids`` in their order, as ``Split.pixels`` keeps
    it for each role.
    """
    return sha256_json(photograph_hashes(dataset, tuple(ids)))


def with_pixels(dataset: Dataset, split: Split, hashes: Mapping[str, str] | None = None) -> Split:
    """``split`` with the hash of each role's decoded photographs, for a run to keep; ``hashes``
    has each one's, by id, where they are known.
    """
    if hashes is None:
        pixels = {role: pixel_hash(dataset, getattr(split, role)) for role in ROLES}
    else:
        pixels = {
            role: sha256_json([hashes[name] for name in getattr(split, role)]) for role in ROLES
        }
    return split.model_copy(update={"pixels": pixels})


def difference(
    dataset: Dataset, split: Split, split_hash: str, roles: Iterable[Role] = ROLES
) -> str | None:
    """What makes ``dataset`` other data than training's, as the end of a sentence; None where it
    is the same.

    ``split`` is the run's own, or one made again, and ``split_hash`` what training recorded.
    Only photographs of ``roles`` are decoded. A split from before pixels were kept, or one made
    again, cannot tell changed pixels.
    """
    if split.hash() != split_hash:
        return f"its split has hash {split.hash()[:12]}, training's was {split_hash[:12]}"
    here = frozenset(dataset.ids)
    wanted = [name for role in ROLES for name in getattr(split, role)]
    if lost := [name for name in wanted if name not in here]:
        return f"{some(lost, 'photograph')} missing"
    if split.data_hash != dataset.hash:
        return "photographs, labels, lesions or file sizes are others"
    changed = [
        role
        for role in roles
        if role in split.pixels and split.pixels[role] != pixel_hash(dataset, getattr(split, role))
    ]
    if changed:
        return f"photographs of {' and '.join(changed)} show something else"
    return None
