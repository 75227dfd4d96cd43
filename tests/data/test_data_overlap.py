"""Mapping classes and finding training photographs in other data."""

import shutil
from pathlib import Path

import pytest
from fixtures.data import make_folder, make_ham, make_isic, photograph

from mobilekd.data import Dataset, load, map_classes, overlap_hashes, overlapping
from mobilekd.data.classes import HAM10000, labels
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.labels import Label
from mobilekd.support.errors import UserError


@pytest.fixture
def isic(tmp_path: Path) -> Dataset:
    return load(DataTable(kind="isic", root=str(make_isic(tmp_path / "isic"))))


@pytest.fixture
def ham(tmp_path: Path) -> Dataset:
    return load(DataTable(kind="ham10000", root=str(make_ham(tmp_path / "ham"))))


OURS = labels(HAM10000)


def test_what_has_no_place_is_left_out_and_counted(isic: Dataset) -> None:
    mapped, left_out = map_classes(isic, {}, OURS)
    assert left_out == {"scc": 3}
    assert mapped.classes == OURS
    assert mapped.counts() == dict.fromkeys(HAM10000, 3)
    assert mapped.hash != isic.hash


def test_an_explicit_map_gives_a_class_its_place(isic: Dataset) -> None:
    mapped, left_out = map_classes(isic, {"SCC": "akiec"}, OURS)
    assert left_out == {}
    assert mapped.counts()["akiec"] == 6
    assert mapped.ids == isic.ids


def test_targets_follow_the_model_s_order(isic: Dataset) -> None:
    mapped, _ = map_classes(isic, {}, OURS[::-1])
    for name, target in zip(mapped.ids, mapped.targets, strict=True):
        truth = isic.classes[isic.targets[isic.ids.index(name)]].key
        assert OURS[::-1][target].key == truth


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"WART": "mel"}, "the data has no class WART"),
        ({"SCC": "wart"}, "the model has no class wart"),
    ],
)
def test_a_map_to_or_from_nowhere(isic: Dataset, mapping: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        map_classes(isic, mapping, OURS)


def test_nothing_in_common(isic: Dataset) -> None:
    with pytest.raises(UserError, match="none of its classes"):
        map_classes(isic, {}, (Label(key="cat", text="cat"), Label(key="dog", text="dog")))


def test_isic_contains_ham10000_under_other_names_too(ham: Dataset, isic: Dataset) -> None:
    trained = [name for name in ham.ids if name in ("ISIC_0000000", "ISIC_0000002")]
    found = overlapping(isic, isic.ids, overlap_hashes(ham, trained, "s"), "s")
    names = {name for name, same in zip(isic.ids, found, strict=True) if same}
    assert {"ISIC_0000000_downsampled", "ISIC_0000002"} <= names


def test_a_lesion_known_by_name_counts_as_seen(ham: Dataset) -> None:
    one = ham.ids[0]
    found = overlapping(ham, ham.ids, overlap_hashes(ham, [one], "s"), "s")
    assert {lesion for lesion, same in zip(ham.lesions, found, strict=True) if same} == {
        ham.lesions[0]
    }
    assert found.sum() == 2


def test_a_renamed_copy_is_known_by_its_pixels(tmp_path: Path) -> None:
    first = load(DataTable(kind="folder", root=str(make_folder(tmp_path / "a"))))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b/benign/IMG_0.png").rename(tmp_path / "b/benign/holiday.png")
    second = load(DataTable(kind="folder", root=str(tmp_path / "b")))
    assert overlapping(
        second, second.ids, overlap_hashes(first, ["benign/IMG_0"], "s"), "s"
    ).tolist() == [name == "benign/holiday" for name in second.ids]


def test_camera_names_alone_prove_nothing(tmp_path: Path) -> None:
    first = load(DataTable(kind="folder", root=str(make_folder(tmp_path / "a"))))
    second = load(DataTable(kind="folder", root=str(make_folder(tmp_path / "b", ("x", "benign")))))
    shared = set(first.ids) & set(second.ids)
    assert shared
    hashes = overlap_hashes(first, sorted(shared), "s")
    assert not overlapping(second, sorted(shared), hashes, "s").any()


def test_an_archive_s_name_counts_in_a_folder(tmp_path: Path, isic: Dataset) -> None:
    make_folder(tmp_path / "own", each=1)
    photograph(tmp_path / "own/benign/ISIC_0000000.png", seed=77)
    own = load(DataTable(kind="folder", root=str(tmp_path / "own")))
    found = overlapping(own, own.ids, overlap_hashes(isic, ["ISIC_0000000_downsampled"], "s"), "s")
    assert found.tolist() == ["ISIC" in name for name in own.ids]
