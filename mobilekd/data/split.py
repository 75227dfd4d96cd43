"""Who trains, who chooses, who judges: deterministic by seed, stratified by class, whole lesions
unless asked otherwise.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from mobilekd.data.classes import normal
from mobilekd.data.dataset import Dataset, Notes, some
from mobilekd.formats.recipe import SplitTable
from mobilekd.formats.runs import Role, Split
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json

ROLES = get_args(Role)


def make_split(dataset: Dataset, table: SplitTable, notes: list[str] | None = None) -> Split:
    """Split ``dataset`` as the recipe says; ``UserError`` for shares or lists that cannot be.

    By lesion and by photograph, each class is cut on its own: the shares hold for every class to
    within half a lesion, and a class of three lesions or more gets into every part. The order is
    that of a keyed hash of each name, so neither the order of rows nor what other classes hold can
    change it. A lesion counts for its most frequent class. ``notes`` gets what a part lacks.
    """
    notes = Notes() if notes is None else notes
    if empty := [key for key, count in dataset.counts().items() if count == 0]:
        raise UserError(
            f"{dataset.kind}: {some(empty, 'class')} without any photograph; training needs some of"
            " every class"
        )
    if table.by == "lists":
        return _from_lists(dataset, table, notes)
    if dataset.roles is not None and table.by == "lesion":
        return _from_folders(dataset, dataset.roles, table, notes)
    if dataset.roles is not None:
        _tell(
            notes,
            "split: by photograph, so the sub-folders train and test of the data do not count",
        )
    if table.validation + table.test >= 1:
        raise UserError(
            f"split: validation {table.validation} and test {table.test} leave nothing to train on;"
            " lower one"
        )
    return _split(dataset, table, _drawn(dataset, table, range(len(dataset)), notes))


def _tell(notes: list[str], text: str) -> None:
    """Keep ``text`` among ``notes``, which say it where they are such as are said."""
    notes.add(text) if isinstance(notes, Notes) else notes.append(text)


def _drawn(
    dataset: Dataset, table: SplitTable, rows: Iterable[int], notes: list[str]
) -> dict[str, list[str]]:
    """Ids by role, of the photographs ``rows``."""
    groups = dataset.lesions if table.by == "lesion" else dataset.ids
    members: dict[str, list[int]] = defaultdict(list)
    for i in rows:
        members[groups[i]].append(i)
    strata: dict[int, list[str]] = defaultdict(list)
    for name, photographs in members.items():
        votes = Counter(int(dataset.targets[i]) for i in photographs)
        strata[min(votes, key=lambda target: (-votes[target], target))].append(name)
    parts: dict[str, list[str]] = {role: [] for role in ROLES}
    for target, names in sorted(strata.items()):
        names.sort(key=lambda name: hashlib.sha256(f"{table.seed}\0{name}".encode()).digest())
        test, validation = _cuts(
            [len(members[name]) for name in names], table.test, table.validation
        )
        roles = ["test"] * test + ["validation"] * validation
        roles += ["train"] * (len(names) - len(roles))
        for name, role in zip(names, roles, strict=True):
            parts[role].extend(dataset.ids[i] for i in members[name])
        wanted = ["train"] + ["validation"] * (table.validation > 0) + ["test"] * (table.test > 0)
        if target >= 0 and (absent := [role for role in wanted if role not in roles]):
            _tell(
                notes,
                f"split: class {dataset.classes[target].key} has {len(names)} {table.by}(s), so"
                f" none in {' and '.join(absent)}",
            )
    return parts


def _cuts(sizes: list[int], test: float, validation: float) -> tuple[int, int]:
    """How many groups, in order, judge and choose, so that photographs come nearest to the
    shares.
    """
    running = [0]
    for size in sizes:
        running.append(running[-1] + size)

    def nearest(photographs: float) -> int:
        return min(range(len(running)), key=lambda k: abs(running[k] - photographs))

    first = nearest(test * running[-1])
    second = nearest((test + validation) * running[-1])
    # A rare class first needs a lesion to learn from, then one to be judged on, then one to choose
    # by.
    least_test = int(test > 0 and len(sizes) >= 2)
    least_validation = int(validation > 0 and len(sizes) >= 2 + least_test)
    first = max(least_test, min(first, len(sizes) - 1 - least_validation))
    second = max(first + least_validation, min(second, len(sizes) - 1))
    return first, second - first


def _from_lists(dataset: Dataset, table: SplitTable, notes: list[str]) -> Split:
    if table.lists is None:
        raise UserError(
            "split.lists: split by lists needs a JSON file {train: [ids], validation: [ids], test:"
            " [ids]}; set split.lists"
        )
    path = Path(table.lists)
    document = read_json(path, "split lists")
    if not isinstance(document, dict) or set(document) != set(ROLES):
        raise UserError(
            f"{path}: not of the form {{train: [ids], validation: [ids], test: [ids]}}; give"
            " exactly these three lists"
        )
    for role, ids in document.items():
        if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
            raise UserError(f"{path}: {role} is not a list of ids; write them as strings")
    document = {role: [normal(name) for name in ids] for role, ids in document.items()}
    listed = Counter(name for role in ROLES for name in document[role])
    if unknown := sorted(listed.keys() - set(dataset.ids)):
        raise UserError(f"{path}: {some(unknown, 'unknown id')}; the data set does not hold them")
    if twice := sorted(name for name, times in listed.items() if times > 1):
        raise UserError(
            f"{path}: {some(twice, 'id')} listed more than once; a photograph has one role"
        )
    _refuse_leaks(dataset, document, str(path))
    if not document["train"]:
        raise UserError(f"{path}: nobody to train on; list some ids under train")
    if unused := sorted(set(dataset.ids) - listed.keys()):
        _tell(notes, f"{path}: {some(unused, 'photograph')} in no list, so they stay unused")
    _tell_absent(dataset, document, notes)
    return _split(dataset, table, document)


def _from_folders(
    dataset: Dataset, roles: Sequence[Role], table: SplitTable, notes: list[str]
) -> Split:
    """The parts as the folders have them; validation or test that they lack is drawn from train."""
    parts: dict[str, list[str]] = {role: [] for role in ROLES}
    for name, role in zip(dataset.ids, roles, strict=True):
        parts[role].append(name)
    lacking = {
        role: share
        for role, share in (("validation", table.validation), ("test", table.test))
        if not parts[role] and share
    }
    if lacking:
        wanted = {"validation": 0.0, "test": 0.0} | lacking
        rows = [i for i, role in enumerate(roles) if role == "train"]
        drawn = _drawn(dataset, table.model_copy(update=wanted), rows, notes)
        parts |= {role: drawn[role] for role in ("train", *lacking)}
        words = f"split: {' and '.join(lacking)} drawn from the sub-folder of training, by lesion"
        _tell(notes, words)
    else:
        _tell_absent(dataset, parts, notes)
    _refuse_leaks(dataset, parts, "the data's sub-folders")
    taken = _split(dataset, table, parts)
    return taken.model_copy(update={"by": "lists"})


def _tell_absent(dataset: Dataset, parts: Mapping[str, Sequence[str]], notes: list[str]) -> None:
    """Say which classes a given part lacks."""
    for role in ROLES:
        present = set(dataset.targets[dataset.rows(parts[role])].tolist())
        absent = [label.key for i, label in enumerate(dataset.classes) if i not in present]
        if absent and parts[role]:
            _tell(notes, f"split: {some(absent, 'class')} without a photograph in {role}")


def _refuse_leaks(dataset: Dataset, parts: Mapping[str, Sequence[str]], where: str) -> None:
    lesion_of = dict(zip(dataset.ids, dataset.lesions, strict=True))
    sides: dict[str, set[str]] = defaultdict(set)
    for role in ROLES:
        for name in parts[role]:
            sides[lesion_of[name]].add(role)
    if leaks := sorted(lesion for lesion, roles in sides.items() if len(roles) > 1):
        raise UserError(
            f"{where}: {some(leaks, 'lesion')} on both sides of the split; keep a lesion's"
            " photographs together"
        )


def _split(dataset: Dataset, table: SplitTable, parts: dict[str, list[str]]) -> Split:
    return Split(
        by=table.by,
        seed=table.seed,
        data_hash=dataset.hash,
        train=tuple(sorted(parts["train"])),
        validation=tuple(sorted(parts["validation"])),
        test=tuple(sorted(parts["test"])),
    )
