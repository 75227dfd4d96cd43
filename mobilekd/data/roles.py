"""Which class of a data set is melanoma and which are malignant: as ``[data.roles]`` says, else
guessed from their names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from mobilekd.data.classes import folded
from mobilekd.data.dataset import Dataset
from mobilekd.formats.labels import GROUPS, Label
from mobilekd.formats.roles import Role
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say


def with_roles(
    dataset: Dataset, roles: Mapping[Literal["melanoma", "malignant"], Sequence[str]]
) -> Dataset:
    """``dataset`` whose classes have the roles that ``roles`` gives them; those that it does not
    name are benign. A class that the data has not is a ``UserError``.
    """
    known = {folded(label.key): label.key for label in dataset.classes}
    for role, names in roles.items():
        for name in names:
            if folded(name) not in known:
                raise UserError(
                    f"data.roles.{role}: no class is called {name}; the data has"
                    f" {', '.join(known.values())}"
                )
    named: dict[Role, set[str]] = {
        role: {folded(name) for name in names} for role, names in roles.items()
    }

    def given(label: Label) -> Label:
        key = folded(label.key)
        order: tuple[Role, ...] = ("melanoma", "malignant")
        role = next((role for role in order if key in named.get(role, ())), "benign")
        return label.model_copy(update={"role": role})

    return replace(dataset, classes=tuple(map(given, dataset.classes)))


def say_roles(dataset: Dataset, *, guessed: bool) -> None:
    """Say which classes are melanoma and malignant, and where that comes from."""
    found = {
        group: [label.key for label in dataset.classes if label.known_role in members]
        for group, members in GROUPS.items()
    }
    words = "; ".join(f"{group}: {', '.join(keys) or 'none'}" for group, keys in found.items())
    how = (
        "guessed from the names of classes; [data.roles] says otherwise" if guessed else "as given"
    )
    say(f"data: {words} ({how})")
