"""Splits: nobody on both sides, nothing lost, deterministic, and insensitive to the order
of rows.
"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekd.data import Dataset, make_split
from mobilekd.formats.data_tables import SplitTable
from mobilekd.formats.labels import Label
from mobilekd.support.errors import UserError

ROLES = ("train", "validation", "test")


def dataset_of(targets: list[int], lesions: list[int], names: list[str] | None = None) -> Dataset:
    names = names or [f"p{i:04d}" for i in range(len(targets))]
    order = sorted(range(len(names)), key=names.__getitem__)
    return Dataset(
        kind="made",
        ids=tuple(names[i] for i in order),
        targets=np.array([targets[i] for i in order], dtype=np.int64),
        lesions=tuple(f"l{lesions[i]}" for i in order),
        classes=tuple(Label(key=f"c{c}", text=f"c{c}") for c in range(max(targets) + 1)),
        paths=None,
        metadata={},
        licence="none",
        hash="0",
    )


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Up to three classes that all occur; lesions of one to five photographs, each of one class."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=3, max_size=60))
    classes = [
        0,
        1,
        2,
        *draw(st.lists(st.integers(0, 2), min_size=len(sizes) - 3, max_size=len(sizes) - 3)),
    ]
    targets = [c for c, size in zip(classes, sizes, strict=True) for _ in range(size)]
    lesions = [n for n, size in enumerate(sizes) for _ in range(size)]
    return targets, lesions


shares = st.tuples(st.floats(0, 0.45), st.floats(0, 0.45))


@settings(max_examples=60, deadline=None)
@given(rows(), shares, st.integers(0, 3), st.sampled_from(["lesion", "photograph"]))
def test_a_split_partitions(
    rows: tuple[list[int], list[int]], shares: tuple[float, float], seed: int, by: str
) -> None:
    dataset = dataset_of(*rows)
    split = make_split(dataset, SplitTable(by=by, validation=shares[0], test=shares[1], seed=seed))
    assert sorted(split.train + split.validation + split.test) == list(dataset.ids)
    assert split.train
    assert split.leaky == (by == "photograph")
    if by == "lesion":
        sides = [{dataset.lesions[i] for i in dataset.rows(getattr(split, role))} for role in ROLES]
        assert sum(map(len, sides)) == len(set(dataset.lesions)), "no lesion on both sides"


@settings(max_examples=60, deadline=None)
@given(rows(), shares, st.integers(0, 3))
def test_every_class_holds_its_share_to_within_a_lesion(
    rows: tuple[list[int], list[int]], shares: tuple[float, float], seed: int
) -> None:
    dataset = dataset_of(*rows)
    validation, test = shares
    split = make_split(dataset, SplitTable(validation=validation, test=test, seed=seed))
    largest = max(np.unique(dataset.lesions, return_counts=True)[1])
    for target in range(3):
        total = int((dataset.targets == target).sum())
        lesions = len(
            {
                lesion
                for lesion, t in zip(dataset.lesions, dataset.targets, strict=True)
                if t == target
            }
        )
        found = {
            role: int((dataset.targets[dataset.rows(getattr(split, role))] == target).sum())
            for role in ROLES
        }
        assert found["train"] > 0
        for role, share in (("validation", validation), ("test", test)):
            assert abs(found[role] - share * total) <= 2 * largest
            if lesions >= 3 and share > 0:
                assert found[role] > 0


@settings(max_examples=40, deadline=None)
@given(rows(), st.randoms(use_true_random=False), st.integers(0, 3))
def test_the_order_of_rows_changes_nothing(
    rows: tuple[list[int], list[int]], random: Random, seed: int
) -> None:
    targets, lesions = rows
    names = [f"p{i:04d}" for i in range(len(targets))]
    order = list(range(len(targets)))
    random.shuffle(order)
    shuffled = dataset_of(
        [targets[i] for i in order], [lesions[i] for i in order], [names[i] for i in order]
    )
    table = SplitTable(seed=seed)
    first, second = make_split(dataset_of(targets, lesions), table), make_split(shuffled, table)
    assert first == second
    assert first.hash() == second.hash()


def many() -> Dataset:
    """300 photographs of 200 lesions in three unequal classes."""
    lesions = [min(n, 199) if n < 200 else n - 200 for n in range(300)]
    return dataset_of(
        [0 if lesion < 120 else 1 if lesion < 180 else 2 for lesion in lesions], lesions
    )


def test_the_hash_is_stable_across_versions() -> None:
    """A run's split must be found again by later versions; change this only with a reason for
    everybody who has runs.
    """
    assert make_split(many(), SplitTable()).hash()[:16] == "a25be273e7e25a05"


def test_another_seed_splits_otherwise() -> None:
    assert (
        make_split(many(), SplitTable(seed=0)).test != make_split(many(), SplitTable(seed=1)).test
    )


def test_another_class_changes_nothing_for_the_others() -> None:
    dataset = many()
    without = dataset.subset(np.flatnonzero(dataset.targets < 2))
    without = dataset_of(
        without.targets.tolist(), [int(name[1:]) for name in without.lesions], list(without.ids)
    )
    whole, part = make_split(dataset, SplitTable()), make_split(without, SplitTable())
    assert set(part.test) == set(whole.test) & set(without.ids)


def test_a_split_by_photograph_leaks_and_says_so() -> None:
    dataset = many()
    split = make_split(dataset, SplitTable(by="photograph"))
    sides = [{dataset.lesions[i] for i in dataset.rows(ids)} for ids in (split.train, split.test)]
    assert sides[0] & sides[1]
    assert split.leaky


def test_a_class_of_one_lesion_is_for_training_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    dataset = dataset_of([0] * 20 + [1] * 3, [*range(20), 99, 99, 99])
    split = make_split(dataset, SplitTable())
    assert set(dataset.ids[20:]) <= set(split.train)
    assert "class c1 has 1 lesion(s), so none in validation and test" in capsys.readouterr().err


def test_nothing_left_to_train_on() -> None:
    with pytest.raises(UserError, match="leave nothing to train on"):
        make_split(many(), SplitTable(validation=0.5, test=0.5))


def lists(tmp_path: Path, document: object) -> SplitTable:
    path = tmp_path / "lists.json"
    path.write_text(json.dumps(document))
    return SplitTable(by="lists", lists=str(path))


def test_given_lists_are_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = {"train": ["p0150", "p0001"], "validation": [], "test": ["p0003"]}
    split = make_split(many(), lists(tmp_path, document))
    assert split.train == ("p0001", "p0150")
    assert split.test == ("p0003",)
    assert not split.leaky
    assert "297 photographs (" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"train": ["p0000"], "validation": [], "test": ["p0200"]},
            r"1 lesion \(l0\) on both sides",
        ),
        ({"train": ["p0000", "who"], "validation": [], "test": []}, r"1 unknown id \(who\)"),
        (
            {"train": ["p0000"], "validation": ["p0000"], "test": []},
            r"1 id \(p0000\) listed more than once",
        ),
        ({"train": [], "validation": [], "test": ["p0000"]}, "nobody to train on"),
        ({"train": ["p0000"], "test": []}, "exactly these three lists"),
        ({"train": "p0000", "validation": [], "test": []}, "train is not a list of ids"),
        ({"train": [1], "validation": [], "test": []}, "train is not a list of ids"),
        (["p0000"], "exactly these three lists"),
    ],
)
def test_lists_that_cannot_be(tmp_path: Path, document: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_split(many(), lists(tmp_path, document))


def test_lists_that_are_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set split\.lists"):
        make_split(many(), SplitTable(by="lists"))
    with pytest.raises(UserError, match="no such split lists"):
        make_split(many(), SplitTable(by="lists", lists=str(tmp_path / "absent.json")))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match="not a readable split lists"):
        make_split(many(), SplitTable(by="lists", lists=str(tmp_path / "broken.json")))


@st.composite
def rows_of_origins(draw: st.DrawFn) -> Dataset:
    """Photographs of up to three classes and four origins; some lesions span origins."""
    targets, lesions = draw(rows())
    origins = st.sampled_from(["A", "B", "C", "unknown"])
    usual = draw(st.lists(origins, min_size=max(lesions) + 1, max_size=max(lesions) + 1))
    strays = draw(st.lists(st.booleans(), min_size=len(lesions), max_size=len(lesions)))
    return replace(
        dataset_of(targets, lesions),
        origins=tuple(
            draw(origins) if stray else usual[lesion]
            for lesion, stray in zip(lesions, strays, strict=True)
        ),
    )


def lesions_of(dataset: Dataset, ids: tuple[str, ...]) -> set[str]:
    return {dataset.lesions[i] for i in dataset.rows(ids)}


@settings(max_examples=60, deadline=None)
@given(rows(), shares, st.integers(0, 3), st.sampled_from(["lesion", "photograph"]))
def test_one_origin_changes_nothing(
    rows: tuple[list[int], list[int]], shares: tuple[float, float], seed: int, by: str
) -> None:
    dataset = dataset_of(*rows)
    table = SplitTable(by=by, validation=shares[0], test=shares[1], seed=seed)
    same = replace(dataset, origins=("Vienna",) * len(dataset))
    assert make_split(same, table) == make_split(dataset, table)


@settings(max_examples=60, deadline=None)
@given(rows_of_origins(), st.integers(0, 3), st.sampled_from(["lesion", "photograph"]))
def test_a_split_of_origins_partitions_and_every_class_is_everywhere(
    dataset: Dataset, seed: int, by: str
) -> None:
    split = make_split(dataset, SplitTable(by=by, seed=seed))
    assert sorted(split.train + split.validation + split.test) == list(dataset.ids)
    if by == "lesion":
        sides = [lesions_of(dataset, getattr(split, role)) for role in ROLES]
        assert sum(map(len, sides)) == len(set(dataset.lesions))
        for target in range(3):
            own = dataset.targets == target
            if len({dataset.lesions[i] for i in np.flatnonzero(own)}) >= 3:
                for role in ROLES:
                    assert own[dataset.rows(getattr(split, role))].any()


def of_two_origins() -> Dataset:
    """Two hundred lesions of A, a hundred of B, in two classes."""
    dataset = dataset_of([n % 2 for n in range(300)], list(range(300)))
    return replace(dataset, origins=("A",) * 200 + ("B",) * 100)


def test_each_origin_has_its_share_of_every_class() -> None:
    dataset = of_two_origins()
    split = make_split(dataset, SplitTable(seed=3))
    for role, share in (("test", 0.2), ("validation", 0.1)):
        rows = dataset.rows(getattr(split, role))
        found = Counter((dataset.origins[i], int(dataset.targets[i])) for i in rows)
        assert found == {
            (origin, target): round(share * count)
            for origin, count in (("A", 100), ("B", 50))
            for target in (0, 1)
        }


@settings(max_examples=60, deadline=None)
@given(rows_of_origins(), st.integers(2, 6), st.integers(0, 3), st.floats(0.05, 0.4))
def test_each_lesion_judges_in_exactly_one_fold(
    dataset: Dataset, folds: int, seed: int, validation: float
) -> None:
    tables = [
        SplitTable(folds=folds, fold=fold, seed=seed, validation=validation)
        for fold in range(folds)
    ]
    lesions = [
        {dataset.lesions[i] for i in np.flatnonzero(dataset.targets == target)}
        for target in range(3)
    ]
    if min(map(len, lesions)) < 2:  # one lesion has all of a class
        with pytest.raises(UserError, match="no photograph to learn from"):
            list(map(make_split, [dataset] * folds, tables))
        return
    splits = [make_split(dataset, table) for table in tables]
    judged = [lesions_of(dataset, split.test) for split in splits]
    assert sum(map(len, judged)) == len(set(dataset.lesions))
    assert set().union(*judged) == set(dataset.lesions)
    for split in splits:
        assert sorted(split.train + split.validation + split.test) == list(dataset.ids)
        sides = [lesions_of(dataset, getattr(split, role)) for role in ROLES]
        assert sum(map(len, sides)) == len(set(dataset.lesions))


def test_folds_are_alike_and_each_has_every_stratum() -> None:
    dataset = of_two_origins()
    for fold in range(5):
        split = make_split(dataset, SplitTable(folds=5, fold=fold))
        rows = dataset.rows(split.test)
        found = Counter((dataset.origins[i], int(dataset.targets[i])) for i in rows)
        assert found == {("A", 0): 20, ("A", 1): 20, ("B", 0): 10, ("B", 1): 10}
        assert len(split.validation) == 24, "a tenth of the rest"


def test_the_folds_are_stable_across_versions() -> None:
    """As the drawn split: somebody has runs of them."""
    hashes = [make_split(many(), SplitTable(folds=3, fold=fold)).hash()[:8] for fold in range(3)]
    assert hashes == ["e353bd0a", "ff6788ce", "01460208"]


def test_folds_do_not_depend_on_the_share_that_chooses() -> None:
    for fold in range(2):
        tables = [SplitTable(folds=2, fold=fold, validation=share) for share in (0.1, 0.3)]
        assert len({make_split(many(), table).test for table in tables}) == 1


@settings(max_examples=60, deadline=None)
@given(rows_of_origins(), st.sampled_from(["A", "B", "C"]), st.integers(0, 3))
def test_an_origin_left_out_judges_and_is_seen_by_nothing_else(
    dataset: Dataset, origin: str, seed: int
) -> None:
    table = SplitTable(test_origin=origin, seed=seed)
    if origin not in dataset.origins:
        with pytest.raises(UserError, match="no photograph is of"):
            make_split(dataset, table)
        return
    judge = {dataset.lesions[i] for i, of in enumerate(dataset.origins) if of == origin}
    learnt_from = {
        int(target)
        for target, lesion in zip(dataset.targets, dataset.lesions, strict=True)
        if lesion not in judge
    }
    if len(learnt_from) < 3:
        with pytest.raises(UserError, match="no photograph to learn from"):
            make_split(dataset, table)
        return
    split = make_split(dataset, table)
    assert sorted(split.train + split.validation + split.test) == list(dataset.ids)
    own = {name for name, of in zip(dataset.ids, dataset.origins, strict=True) if of == origin}
    assert own <= set(split.test)
    learnt = (*split.train, *split.validation)
    assert not lesions_of(dataset, learnt) & lesions_of(dataset, tuple(own))
    assert not lesions_of(dataset, split.train) & lesions_of(dataset, split.validation)
    assert lesions_of(dataset, split.test) == lesions_of(dataset, tuple(own)), "and nothing more"


def test_what_spans_origins_and_who_is_unknown_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    dataset = dataset_of([n % 2 for n in range(40)], [n // 2 for n in range(0, 80, 2)])
    dataset = replace(
        dataset,
        lesions=("l0", "l0", *dataset.lesions[2:]),
        origins=("B", "A", *["B", "A", "A", "unknown"] * 9, "A", "A"),
    )
    split = make_split(dataset, SplitTable(test_origin="B"))
    assert dataset.ids[1] in split.test
    said = capsys.readouterr().err
    assert f"1 photograph ({dataset.ids[1]}) of another origin share a lesion with one of B" in said
    assert "9 photographs of unknown origin train" in said


def test_an_origin_that_nobody_has_and_a_class_that_nobody_could_learn() -> None:
    with pytest.raises(UserError, match=r"no photograph is of 'C'; the data's are A, B"):
        make_split(of_two_origins(), SplitTable(test_origin="C"))
    with pytest.raises(UserError, match=r"no photograph is of 'C'; data.origin names them"):
        make_split(many(), SplitTable(test_origin="C"))
    dataset = replace(of_two_origins(), targets=np.array([0] * 200 + [1] * 100))
    with pytest.raises(UserError, match=r"1 class \(c1\) with no photograph to learn from"):
        make_split(dataset, SplitTable(test_origin="B"))
