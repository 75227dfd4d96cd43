"""Layouts as people and archives have them: parts of a split as folders, tables of a subset, test
sets without lesion ids. What is taken for what is said.
"""

from pathlib import Path

import numpy as np
import pytest
from fixtures.data import (
    HAM_HEADER,
    ham_rows,
    isic_rows,
    load_folder,
    make_folder,
    make_ham,
    make_isic,
    photograph,
    said,
    write_csv,
)
from fixtures.run import prepared
from PIL import Image

from mobilekd.data import load, make_split, map_classes
from mobilekd.formats.data_tables import DataTable, SplitTable
from mobilekd.formats.labels import Label
from mobilekd.formats.recipe import Recipe
from mobilekd.support.errors import UserError


def parted(root: Path, parts: tuple[str, ...] = ("train", "test")) -> Path:
    for p, part in enumerate(parts):
        for c, key in enumerate(("mel", "nv")):
            for n in range(6):
                photograph(root / part / key / f"{part}{n}.png", 100 * p + 10 * c + n)
    return root


def test_train_and_test_folders_are_the_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_folder(parted(tmp_path))
    assert [label.key for label in dataset.classes] == ["mel", "nv"]
    assert dataset.counts() == {"mel": 12, "nv": 12}
    assert said(dataset, "test, train are taken as the split", capsys)
    split = make_split(dataset, SplitTable(validation=0.25, test=0.2))
    assert {name.split("/")[0] for name in split.test} == {"test"}
    assert len(split.test) == 12
    assert {name.split("/")[0] for name in split.train + split.validation} == {"train"}
    assert len(split.validation) == 2, "of 6 of each class, a quarter is 1.5"
    assert split.by == "lists"
    told = "validation drawn from the sub-folder of training, by photograph, no lesion ids"
    assert told in capsys.readouterr().err


def test_all_three_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    dataset = load_folder(parted(tmp_path, ("Training", "val", "TEST")))
    split = make_split(dataset, SplitTable(validation=0.1, test=0.1))
    assert [len(part) for part in (split.train, split.validation, split.test)] == [12, 12, 12]
    assert {name.split("/")[0] for name in split.validation} == {"val"}


def test_copies_over_the_folders_are_a_leak(tmp_path: Path) -> None:
    root = parted(tmp_path)
    image = Image.open(root / "train" / "mel" / "train0.png")
    image.save(root / "test" / "mel" / "again.png")
    with pytest.raises(UserError, match=r"1 lesion .* on both sides of the split"):
        prepared(Recipe(name="leak", data=DataTable(kind="folder", root=str(root))))


def test_parts_beside_classes_are_told(tmp_path: Path) -> None:
    make_folder(parted(tmp_path))
    with pytest.raises(UserError, match=r"beside 2 other sub-folders \(benign, malignant\)"):
        load_folder(tmp_path)


def test_folders_of_sites_are_not_advised_away(tmp_path: Path) -> None:
    """Moving the photographs up would lose the labels."""
    for site in ("vienna", "brisbane"):
        make_folder(tmp_path / site, ("mel", "nv"))
    with pytest.raises(UserError, match="else give the folder whose sub-folders are the classes"):
        load_folder(tmp_path)


def test_a_subset_s_table_leaves_the_other_photographs_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_isic(tmp_path)
    labels = root / "ISIC_2019_Training_GroundTruth.csv"
    lines = labels.read_text().splitlines()
    (tmp_path / "SUBSET.csv").write_text("\n".join([lines[0], *lines[4:]]) + "\n")
    table = DataTable(kind="isic", root=str(root), labels=str(tmp_path / "SUBSET.csv"))
    dataset = load(table, part=True)
    assert len(dataset) == 21
    assert said(dataset, "3 photographs (ISIC_0000000_downsampled, ISIC_0000001, ", capsys)
    with pytest.raises(UserError, match=r"3 photographs .* without a label"):
        load(table)


@pytest.mark.parametrize("kind", ["isic", "ham10000"])
def test_a_subset_of_the_photographs_leaves_the_other_labels_out(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = {"isic": make_isic, "ham10000": make_ham}[kind](tmp_path)
    whole = load(DataTable(kind=kind, root=str(root)))
    for path in whole.paths[:3] if whole.paths else ():
        Path(path).unlink()
    dataset = load(DataTable(kind=kind, root=str(root)), part=True)
    assert dataset.ids == whole.ids[3:]
    assert said(dataset, f"3 labels ({', '.join(whole.ids[:3])}) without a photograph", capsys)
    with pytest.raises(UserError, match=r"3 labels .* without a photograph; add"):
        load(DataTable(kind=kind, root=str(root)))


@pytest.mark.parametrize("spelled", ["{}.jpg", "images/{}.JPG", "images\\{}"])
def test_labels_may_spell_photographs_as_people_do(tmp_path: Path, spelled: str) -> None:
    ham, isic = ham_rows(), isic_rows()
    for row in ham:
        row[1] = spelled.format(row[1])
    for row in isic:
        row[0] = spelled.format(row[0])
    for kind, root, plain in (
        ("ham10000", make_ham(tmp_path / "ham", ham), make_ham(tmp_path / "ham0")),
        ("isic", make_isic(tmp_path / "isic", isic), make_isic(tmp_path / "isic0")),
    ):
        one, other = (load(DataTable(kind=kind, root=str(place))) for place in (root, plain))
        assert (one.ids, one.lesions, one.hash) == (other.ids, other.lesions, other.hash)


def test_a_photograph_and_its_reduced_copy_are_two(tmp_path: Path) -> None:
    """One row means one of them; the other has none."""
    folder = make_isic(tmp_path) / "ISIC_2019_Training_Input"
    photograph(folder / "ISIC_0000001_downsampled.jpg", 99)
    with pytest.raises(
        UserError, match=r"1 photograph \(ISIC_0000001_downsampled\) without a label"
    ):
        load(DataTable(kind="isic", root=str(tmp_path)))


def test_the_2019_test_layout_has_no_lesion_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_isic(tmp_path)
    for path in sorted(root.iterdir()):
        path.rename(path.with_name(path.name.replace("Training", "Test")))
    rows = [[f"ISIC_{n:07d}", 60.0, "anterior torso", "male"] for n in range(27)]
    header = ("image", "age_approx", "anatom_site_general", "sex")
    write_csv(root / "ISIC_2019_Test_Metadata.csv", header, rows)
    dataset = load(DataTable(kind="isic", root=str(root)))
    assert dataset.lesions == dataset.ids
    assert dataset.metadata["age"] == (60.0,) * 24, "whether or not a name says _downsampled"
    assert said(dataset, "no column lesion_id", capsys)


def test_ham10000_must_have_the_column(tmp_path: Path) -> None:
    make_ham(tmp_path)
    rows = [row[1:] for row in ham_rows()]
    write_csv(tmp_path / "HAM10000_metadata.csv", HAM_HEADER[1:], rows)
    with pytest.raises(UserError, match=r"1 column \(lesion_id\) missing"):
        load(DataTable(kind="ham10000", root=str(tmp_path)))


def test_a_class_without_a_place_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_folder(make_folder(tmp_path, ("Melanoma", "nv")))
    labels = (Label(key="mel", text="melanoma"), Label(key="nv", text="nevus"))
    mapped, left_out = map_classes(dataset, {}, labels)
    assert left_out == {"Melanoma": 4}
    assert np.array_equal(mapped.targets, [1] * 4)
    assert said(mapped, "4 photographs (Melanoma/IMG_0, ", capsys)
    assert any("--map Melanoma=mel" in note for note in mapped.notes)


def test_a_patients_column_that_is_not_read_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "photographs")
    ids = load_folder(root).ids
    header = ("image", "lesion_id", "Patient_ID")
    write_csv(tmp_path / "lesions.csv", header, [(name, "none", "p1") for name in ids])
    dataset = load_folder(root, metadata=str(tmp_path / "lesions.csv"))
    assert dataset.lesions == ids
    assert any(f"read as \"not known\": 'none' in {len(ids)};" in note for note in dataset.notes)
    assert said(dataset, "its column Patient_ID is not read here; copy it into lesion_id", capsys)
    write_csv(tmp_path / "lesions.csv", header, [(name, f"l{name}", "p1") for name in ids])
    load_folder(root, metadata=str(tmp_path / "lesions.csv"))
    assert "is not read here" not in capsys.readouterr().err


@pytest.mark.parametrize("photographs", [0, 2])
def test_a_part_without_classes_is_told(tmp_path: Path, photographs: int) -> None:
    """An archive's test part often has no labels."""
    root = parted(tmp_path, ("train", "val"))
    (root / "test").mkdir()
    for n in range(photographs):
        photograph(root / "test" / f"{n}.png", n)
    with pytest.raises(
        UserError,
        match=r"1 part \(test\) of the split without sub-folders of classes, beside train",
    ):
        load_folder(root)


def test_a_layout_s_column_that_is_not_there_is_told_with_the_remedy(tmp_path: Path) -> None:
    rows = [(f"ISIC_{n}", ("benign", "malignant")[n % 2]) for n in range(4)]
    write_csv(tmp_path / "train.csv", ("image_name", "benign_malignant"), rows)
    for name, _ in rows:
        photograph(tmp_path / "train" / f"{name}.jpg", int(name[-1]))
    keys = {"kind": "isic2020", "root": str(tmp_path)}
    with pytest.raises(UserError, match=r"no column 'target'; .* --set data.columns.label=NAME"):
        load(DataTable(**keys))
    dataset = load(DataTable(**keys, columns={"label": "benign_malignant"}))
    assert dataset.counts() == {"benign": 2, "malignant": 2}


def test_a_target_that_the_layout_does_not_know_is_no_third_class(tmp_path: Path) -> None:
    rows = [(f"ISIC_{n}", target) for n, target in enumerate(("0", "1", "0.0", "1.0", "2", "yes"))]
    write_csv(tmp_path / "train.csv", ("image_name", "target"), rows)
    for name, _ in rows:
        photograph(tmp_path / "train" / f"{name}.jpg", int(name[-1]))
    table = DataTable(kind="isic2020", root=str(tmp_path))
    with pytest.raises(
        UserError, match=r"2 rows \(ISIC_4: 2, ISIC_5: yes\) whose target is none of 0, 0.0, 1"
    ):
        load(table)
    write_csv(tmp_path / "train.csv", ("image_name", "target"), rows[:4])
    assert load(table).counts() == {"benign": 2, "malignant": 2}
