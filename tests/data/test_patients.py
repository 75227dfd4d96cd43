"""A patient's number in the names of photographs is told; what cameras write is none."""

from pathlib import Path

import pytest
from fixtures.data import photograph
from fixtures.run import make_recipe, prepared

from mobilekd.data import load
from mobilekd.data.patients import patients
from mobilekd.formats.data_tables import DataTable


@pytest.mark.parametrize(
    "name",
    [
        "P{patient:03d}_{photograph}",
        "{patient:04d}-{letter}",
        "patient {patient} - {letter}",
        "IMG Fall{patient}, {letter}",
        "{patient} ({photograph})",
        "12A{patient}_left_{photograph}",
    ],
)
def test_a_number_that_photographs_share_is_found(name: str) -> None:
    ids = [
        "benign/" + name.format(patient=n // 3, photograph=n % 3, letter="abc"[n % 3])
        for n in range(12)
    ]
    assert [len(members) for members in patients(ids).values()] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    "name",
    [
        "IMG_{n:04d}",
        "ISIC_{n:07d}",
        "DSC{n:05d}",
        "{n}",
        "{n:03d}_nevus",
        "20240131_1015{n:02d}",
        "IMG_20240131_1015{n:02d}",
        "2024-01-{n:02d} 10.15.00",
        "D90_{n:04d}",
        "photo ({n})",
    ],
)
def test_what_cameras_and_archives_write_is_none(name: str) -> None:
    assert patients([f"benign/{name.format(n=n)}" for n in range(1, 13)]) == {}


def test_it_is_told_where_no_lesions_are_known_and_the_split_is_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(24):
        folder = tmp_path / "root" / ("benign", "malignant")[n % 2]
        photograph(folder / f"P{n // 4:02d}_{n}.png", n)
    table = DataTable(kind="folder", root=str(tmp_path / "root"))
    dataset = load(table)
    assert "they share 6 numbers (P00: 4, P01: 4, P02: 4, P03: 4, P04: 4, ...)" in " ".join(
        dataset.notes
    )
    assert not dataset.lesions_known
    assert (
        prepared(make_recipe("own", data=table.model_dump())).split_by
        == "photograph, no lesion ids"
    )
    assert "split by photograph, no lesion ids, hash" in capsys.readouterr().err
    rows = "".join(f"{name},L{n}\n" for n, name in enumerate(dataset.ids))
    (tmp_path / "lesions.csv").write_text(f"image,lesion_id\n{rows}")
    known = load(table.model_copy(update={"metadata": str(tmp_path / "lesions.csv")}))
    assert known.lesions_known
    assert "numbers" not in " ".join(known.notes)


def test_a_table_without_a_column_of_lesions_is_told_too(tmp_path: Path) -> None:
    names = [f"P{n // 3:02d}_{n}" for n in range(12)]
    for n, name in enumerate(names):
        photograph(tmp_path / f"{name}.png", n)
    rows = "".join(f"{name},{'ab'[n % 2]}\n" for n, name in enumerate(names))
    (tmp_path / "table.csv").write_text(f"image,label\n{rows}")
    dataset = load(DataTable(kind="csv", root=str(tmp_path), labels=str(tmp_path / "table.csv")))
    assert "they share 4 numbers" in " ".join(dataset.notes)
    assert "give the table a column lesion_id" in " ".join(dataset.notes)
