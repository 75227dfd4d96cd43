"""Photographs that a recipe leaves out by name (``data.exclude``), counted and named."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mobilekd.data.dataset import Dataset, Notes, some
from mobilekd.data.spellings import matched
from mobilekd.data.tables import read_csv
from mobilekd.support.errors import UserError


def leave_out(dataset: Dataset, listed: str | Sequence[str]) -> Dataset:
    """``dataset`` without the photographs that ``listed`` names: their ids, or a file of them, one
    a line or a CSV with a column ``image``. ``UserError`` for a name that no photograph has.
    """
    where = listed if isinstance(listed, str) else "data.exclude"
    names = _names(Path(listed)) if isinstance(listed, str) else list(listed)
    found = dict(zip(names, matched(where, names, dataset.ids), strict=True))
    if absent := [name for name, own in found.items() if own is None]:
        raise UserError(
            f"{where}: {some(absent, 'id')} not in the data; write each as it lies in its folder,"
            f" for example {dataset.ids[0]}"
        )
    gone = {own for own in found.values() if own is not None}
    kept = [i for i, name in enumerate(dataset.ids) if name not in gone]
    if not kept:
        raise UserError(f"{where}: leaves out every photograph; name fewer")
    notes = Notes(dataset.notes)
    if gone:
        notes.add(f"{where}: {some(sorted(gone), 'photograph')} left out")
    return replace(dataset.subset(kept), notes=tuple(notes))


def _names(path: Path) -> list[str]:
    if path.suffix.lower() == ".csv":
        return [row["image"] for row in read_csv(path, ("image",))]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; data.exclude names ids, or a file of them"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable text ({error}); save it as UTF-8") from None
    return [text for line in lines if (text := line.strip())]
