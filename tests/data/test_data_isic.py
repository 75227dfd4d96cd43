from pathlib import Path

import pytest
from fixtures.data import ISIC_COLUMNS, isic_rows, make_isic, photograph, write_csv

from mobilekd.data import Dataset, load
from mobilekd.formats.data_tables import DataTable
from mobilekd.inference.other_data import load_named
from mobilekd.support.errors import UserError


def load_isic(root: Path, **options: str) -> Dataset:
    return load(DataTable(kind="isic", root=str(root), **options))


def test_reads_the_2019_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = load_isic(make_isic(tmp_path))
    assert [label.key for label in dataset.classes] == [
        "akiec",
        "bcc",
        "bkl",
        "df",
        "mel",
        "nv",
        "vasc",
        "scc",
    ]
    assert set(dataset.counts().values()) == {3}
    assert (
        "3 photographs (ISIC_0000024_downsampled, ISIC_0000025, ISIC_0000026) of class UNK left out"
        in capsys.readouterr().err
    )
    assert dataset.targets[dataset.ids.index("ISIC_0000000_downsampled")] == 4, (
        "the first column is MEL"
    )
    assert dataset.targets[dataset.ids.index("ISIC_0000023")] == 7, "SCC stays its own"


def test_an_empty_lesion_id_makes_a_photograph_its_own_lesion(tmp_path: Path) -> None:
    dataset = load_isic(make_isic(tmp_path))
    lesion = dict(zip(dataset.ids, dataset.lesions, strict=True))
    assert lesion["ISIC_0000001"] == "ISIC_0000001"
    assert lesion["ISIC_0000000_downsampled"] == lesion["ISIC_0000003_downsampled"] == "BCN_0000000"
    assert dataset.metadata["age"][0] == 60.0
    assert dataset.metadata["site"][0] == "anterior torso"


def test_without_metadata_each_photograph_is_its_own_lesion_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (make_isic(tmp_path) / "ISIC_2019_Training_Metadata.csv").unlink()
    dataset = load_isic(tmp_path)
    assert dataset.lesions == dataset.ids
    assert "no lesion ids" in capsys.readouterr().err


def test_files_match_with_or_without_downsampled(tmp_path: Path) -> None:
    folder = make_isic(tmp_path) / "ISIC_2019_Training_Input"
    (folder / "ISIC_0000000_downsampled.jpg").rename(folder / "ISIC_0000000.jpg")
    (folder / "ISIC_0000001.jpg").rename(folder / "ISIC_0000001_downsampled.jpg")
    dataset = load_isic(tmp_path)
    assert "ISIC_0000000_downsampled" in dataset.ids
    dataset.photograph(dataset.ids.index("ISIC_0000000_downsampled"))


def test_reads_the_2018_layout(tmp_path: Path) -> None:
    columns = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
    rows = [[f"ISIC_{c:07d}", *[float(c == k) for k in range(7)]] for c in range(7)]
    for row in rows:
        photograph(tmp_path / "ISIC2018_Task3_Training_Input" / f"{row[0]}.jpg", 1)
    truth = tmp_path / "ISIC2018_Task3_Training_GroundTruth"
    write_csv(truth / "ISIC2018_Task3_Training_GroundTruth.csv", ("image", *columns), rows)
    groups = [
        [row[0], "HAM_0000001" if n < 2 else f"HAM_{n:07d}", "histopathology"]
        for n, row in enumerate(rows)
    ]
    write_csv(
        truth / "ISIC2018_Task3_Training_LesionGroupings.csv",
        ("image", "lesion_id", "diagnosis_confirm_type"),
        groups,
    )
    dataset = load_isic(tmp_path)
    assert set(dataset.counts().values()) == {1}
    assert "scc" not in dataset.counts()
    assert dataset.lesions[:3] == ("HAM_0000001", "HAM_0000001", "HAM_0000002")


def test_explicit_paths_and_a_folder_of_photographs(tmp_path: Path) -> None:
    root = make_isic(tmp_path)
    labels = root / "ISIC_2019_Training_GroundTruth.csv"
    labels.rename(tmp_path / "truth.csv")
    photographs = root / "ISIC_2019_Training_Input"
    dataset = load_isic(
        photographs,
        labels=str(tmp_path / "truth.csv"),
        metadata=str(root / "ISIC_2019_Training_Metadata.csv"),
    )
    assert len(dataset) == 24


def row_with(cells: list[object]) -> list[list[object]]:
    return [["ISIC_0000000_downsampled", *cells], *isic_rows()[1:]]


@pytest.mark.parametrize(
    "cells",
    [
        ["0.0"] * 9,
        ["1.0", "1.0", *["0.0"] * 7],
        ["nan", *["0.0"] * 8],
        ["0.5", "0.5", *["0.0"] * 7],
        ["", "1.0", *["0.0"] * 7],
        ["yes", *["0.0"] * 8],
    ],
)
def test_a_row_that_is_not_one_hot_is_named(tmp_path: Path, cells: list[object]) -> None:
    with pytest.raises(UserError, match=r"1 row \(ISIC_0000000_downsampled\) not one-hot"):
        load_isic(make_isic(tmp_path, row_with(cells)))


def test_an_unknown_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 unknown class column \(WART\)"):
        load_isic(make_isic(tmp_path, columns=("WART", *ISIC_COLUMNS[1:])))


def test_two_columns_for_one_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two columns mean one class"):
        load_isic(make_isic(tmp_path, columns=("AKIEC", *ISIC_COLUMNS[1:])))


def test_the_2019_test_s_weights_are_no_classes(tmp_path: Path) -> None:
    rows = [[*row, 1.0, 0.5] for row in isic_rows()]
    assert (
        len(
            load_isic(
                make_isic(tmp_path, rows, (*ISIC_COLUMNS, "score_weight", "validation_weight"))
            )
        )
        == 24
    )


def test_labels_and_photographs_must_match(tmp_path: Path) -> None:
    make_isic(tmp_path, isic_rows()[2:])
    with pytest.raises(
        UserError, match=r"2 photographs \(ISIC_0000000_downsampled, ISIC_0000001\) without a label"
    ):
        load_isic(tmp_path)
    (tmp_path / "ISIC_2019_Training_Input" / "ISIC_0000010.jpg").unlink()
    make = isic_rows()
    write_csv(tmp_path / "ISIC_2019_Training_GroundTruth.csv", ("image", *ISIC_COLUMNS), make)
    with pytest.raises(UserError, match=r"1 label \(ISIC_0000010\) without a photograph"):
        load_isic(tmp_path)


def test_several_ground_truths_ask_which(tmp_path: Path) -> None:
    root = make_isic(tmp_path)
    write_csv(root / "ISIC_2019_Test_GroundTruth.csv", ("image",), [])
    with pytest.raises(UserError, match=r"2 files .* set data.labels"):
        load_isic(root)


def test_a_folder_of_classes_is_told_its_kind(tmp_path):
    (tmp_path / "nv").mkdir()
    with pytest.raises(UserError, match=r"or data\.kind=folder where each class is a sub-folder"):
        load(DataTable(kind="isic", root=str(tmp_path)))
    with pytest.raises(UserError, match=r"or --data folder where each class is a sub-folder"):
        load_named(DataTable(kind="isic", root=str(tmp_path)))
    (tmp_path / "nv").rmdir()
    with pytest.raises(UserError, match="no sub-folders; give one for each class, at least two"):
        load(DataTable(kind="folder", root=str(tmp_path)))
