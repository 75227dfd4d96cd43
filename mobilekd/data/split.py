"""Who trains, who chooses, who judges: deterministic by seed, stratified by class and origin, whole
lesions unless asked otherwise; folds, of which each judges once; an origin left out of training.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from mobilekd.data.classes import normal
from mobilekd.data.dataset import Dataset, Notes, some
from mobilekd.data.origins import UNKNOWN
from mobilekd.formats.data_tables import SplitTable
from mobilekd.formats.runs import NO_LESIONS, Role, Split
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json

ROLES = get_args(Role)

Kind = TypeVar("Kind", int, str)


def make_split(dataset: Dataset, table: SplitTable, notes: list[str] | None = None) -> Split:
    """Split ``dataset`` as the recipe says; ``UserError`` for shares or lists that cannot be.

    By lesion and by photograph, each class of each origin is cut on its own: the shares hold for
    all of them to within half a lesion, and a class of three lesions or more gets into every part.
    The order is that of a keyed hash of each name, so neither the order of rows nor what other
    classes hold can change it. A lesion counts for its most frequent class and origin.
    ``notes`` gets what a part lacks.
    """
    notes = Notes() if notes is None else notes
    if empty := [key for key, count in dataset.counts().items() if count == 0]:
        raise UserError(
            f"{dataset.kind}: {some(empty, 'class')} without any photograph; training needs some of"
            " every class"
        )
    if table.by == "lists":
        return _from_lists(dataset, table, notes)
    if table.test_origin:
        test = _of_origin(dataset, table, notes)
        return _split(dataset, table, _of_the_rest(dataset, table, test, notes))
    if table.folds:
        test = _of_fold(dataset, table)
        return _split(dataset, table, _of_the_rest(dataset, table, test, notes))
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


def _members(dataset: Dataset, table: SplitTable, rows: Iterable[int]) -> dict[str, list[int]]:
    """What stays together, by name: the rows of each lesion, or each photograph alone."""
    groups = dataset.ids if table.by == "photograph" else dataset.lesions
    members: dict[str, list[int]] = defaultdict(list)
    for i in rows:
        members[groups[i]].append(i)
    return members


def _strata(
    dataset: Dataset, table: SplitTable, members: Mapping[str, list[int]]
) -> dict[tuple[int, str], list[str]]:
    """Names by class and origin, each stratum in the order of a keyed hash.

    Origins that have fewer than :data:`FEW` lesions of a class are one stratum of it, so that rare
    classes get into every part. Where all photographs have one origin, the class alone counts.
    """
    strata: dict[tuple[int, str], list[str]] = defaultdict(list)
    targets: list[int] = dataset.targets.tolist()
    for name, photographs in members.items():
        target = _most_frequent([targets[i] for i in photographs])
        origin = _most_frequent([dataset.origins[i] for i in photographs])
        strata[target, origin].append(name)
    made: dict[tuple[int, str], list[str]] = defaultdict(list)
    for (target, origin), names in strata.items():
        made[target, origin if len(names) >= FEW else ""].extend(names)
    for names in made.values():
        names.sort(key=lambda name: hashlib.sha256(f"{table.seed}\0{name}".encode()).digest())
    return dict(sorted(made.items()))


#: Lesions of a class that get one into every part.
FEW = 3


def _most_frequent(values: Sequence[Kind]) -> Kind:
    """Of several equally frequent, the first in order."""
    if len(values) == 1:
        return values[0]
    votes = Counter(values)
    return min(votes, key=lambda value: (-votes[value], value))


def _drawn(
    dataset: Dataset, table: SplitTable, rows: Iterable[int], notes: list[str]
) -> dict[str, list[str]]:
    """Ids by role, of the photographs ``rows``."""
    members = _members(dataset, table, rows)
    parts: dict[str, list[str]] = {role: [] for role in ROLES}
    lesions: Counter[int] = Counter()
    filled: dict[int, set[str]] = defaultdict(set)
    for (target, _), names in _strata(dataset, table, members).items():
        test, validation = _cuts(
            [len(members[name]) for name in names], table.test, table.validation
        )
        roles = ["test"] * test + ["validation"] * validation
        roles += ["train"] * (len(names) - len(roles))
        for name, role in zip(names, roles, strict=True):
            parts[role].extend(dataset.ids[i] for i in members[name])
        lesions[target] += len(names)
        filled[target].update(roles)
    wanted = ["train"] + ["validation"] * (table.validation > 0) + ["test"] * (table.test > 0)
    for target, count in sorted(lesions.items()):
        absent = [role for role in wanted if role not in filled[target]]
        if target >= 0 and absent:
            _tell(
                notes,
                f"split: class {dataset.classes[target].key} has {count} {table.by}(s), so none in"
                f" {' and '.join(absent)}",
            )
    return parts


def _of_fold(dataset: Dataset, table: SplitTable) -> set[int]:
    """The rows that judge in fold ``table.fold``. Which fold a lesion judges in depends on seed and
    number of folds alone: each lesion in turn goes to the fold that has fewest photographs of its
    stratum, and of several such to the first behind a place that the stratum's name draws.
    """
    members = _members(dataset, table, range(len(dataset)))
    test: set[int] = set()
    for (target, origin), names in _strata(dataset, table, members).items():
        key = dataset.classes[target].key if target >= 0 else ""
        digest = hashlib.sha256(f"{table.seed}\0{key}\0{origin}\0folds".encode()).digest()
        first = int.from_bytes(digest[:8], "big") % table.folds
        sizes = [0] * table.folds
        for name in names:
            fold = min(range(table.folds), key=lambda k: (sizes[k], (k - first) % table.folds))
            sizes[fold] += len(members[name])
            if fold == table.fold:
                test.update(members[name])
    return test


def _of_origin(dataset: Dataset, table: SplitTable, notes: list[str]) -> set[int]:
    """The rows that judge when ``table.test_origin`` is left out of training: all of that origin,
    and what shares a lesion with one of them.
    """
    origins = sorted({origin for origin in dataset.origins if origin})
    if table.test_origin not in origins:
        known = f"the data's are {', '.join(origins)}" if origins else "data.origin names them"
        raise UserError(f"split.test_origin: no photograph is of {table.test_origin!r}; {known}")
    own = {i for i, origin in enumerate(dataset.origins) if origin == table.test_origin}
    lesions = {dataset.lesions[i] for i in own}
    test = {i for i, lesion in enumerate(dataset.lesions) if lesion in lesions}
    if beyond := sorted(dataset.ids[i] for i in test - own):
        _tell(
            notes,
            f"split: {some(beyond, 'photograph')} of another origin share a lesion with one of"
            f" {table.test_origin}, so they judge too",
        )
    rest = [dataset.origins[i] for i in range(len(dataset)) if i not in test]
    if unknown := sum(origin in ("", UNKNOWN) for origin in rest):
        _tell(
            notes,
            f"split: {unknown} photographs of unknown origin train; nobody knows whether some of"
            f" them are of {table.test_origin}",
        )
    return test


def _of_the_rest(
    dataset: Dataset, table: SplitTable, test: set[int], notes: list[str]
) -> dict[str, list[str]]:
    """Ids by role: the rows ``test`` judge, and of the rest ``table.validation`` chooses.
    ``UserError`` where the rest lacks a class.
    """
    if dataset.roles is not None:
        _tell(notes, "split: the sub-folders train and test of the data do not count")
    rest = [i for i in range(len(dataset)) if i not in test]
    learnt = {int(dataset.targets[i]) for i in rest}
    if lost := [label.key for i, label in enumerate(dataset.classes) if i not in learnt]:
        given = f"test_origin = {table.test_origin!r}" if table.test_origin else "fold"
        raise UserError(
            f"split: {some(lost, 'class')} with no photograph to learn from, because all judge"
            f" ({given}); count the class as another one (data.map), or add photographs of it"
        )
    parts = _drawn(dataset, table.model_copy(update={"test": 0.0}), rest, notes)
    return parts | {"test": [dataset.ids[i] for i in sorted(test)]}


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
        apart = "lesion" if dataset.lesions_known else NO_LESIONS
        named = " and ".join(lacking)
        _tell(notes, f"split: {named} drawn from the sub-folder of training, by {apart}")
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
