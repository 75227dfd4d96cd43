"""Tables that are joined to photographs: what is not matched, contradicts or is only half there is
said with its count and first names.
"""

from pathlib import Path

import pytest
from fixtures.data import (
    ham_rows,
    load_folder,
    make_folder,
    make_ham,
    said,
    write_csv,
)

from mobilekd.data import load
from mobilekd.formats.data_tables import DataTable
from mobilekd.support.errors import UserError


@pytest.mark.parametrize(
    "written",
    [
        "benign/{}",
        "benign/{}.png",
        "{}.png",
        "{}",
        "benign\\{}.png",
        "./photographs/benign/{}.PNG",
        "BENIGN/{}",
        "C:\\data\\benign\\{}.png",
    ],
)
def test_a_table_may_spell_photographs_as_people_do(tmp_path: Path, written: str) -> None:
    make_folder(tmp_path / "photographs")
    for n in range(4):  # other names than the other class's, so that a base name is enough
        path = tmp_path / "photographs" / "malignant" / f"IMG_{n}.png"
        path.rename(path.with_name(f"DSC-{n}.png"))
    rows = [[written.format(f"IMG_{n}"), f"L{n // 2}"] for n in range(4)]
    rows += [[written.format("DSC_0").replace("benign", "malignant"), "L9"]]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert dataset.lesions[:4] == ("L0", "L0", "L1", "L1")
    if "/" not in written and "\\" not in written:
        assert dataset.lesions[4] == "L9", "a hyphen and an underscore are one separator"


@pytest.mark.parametrize(
    ("header", "comma"),
    [
        ("Image,Lesion_ID", ","),
        ("isic_id,lesion", ","),
        ("filename;lesion_id", ";"),
        ("IMAGE_NAME\tlesionid", "\t"),
    ],
)
def test_a_table_may_call_its_columns_as_people_do(tmp_path: Path, header: str, comma: str) -> None:
    make_folder(tmp_path / "photographs")
    lines = [header, *(f"benign/IMG_{n}{comma}L{n // 2}" for n in range(4))]
    (tmp_path / "lesions.csv").write_text("\n".join(lines) + "\n")
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert dataset.lesions[:4] == ("L0", "L0", "L1", "L1")


def test_rows_that_contradict_each_other_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path / "photographs")
    rows = [
        ["benign/IMG_0", "L1", "50"],
        ["benign/IMG_0", "L1", "70"],
        ["malignant/IMG_0", "L1", ""],
    ]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id", "age"), rows)
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert dataset.metadata["age"][0] == 50.0
    told = "1 photograph (benign/IMG_0) in several rows with different age, sex or site"
    assert said(dataset, told, capsys)
    assert any("1 lesion (L1) with photographs of more than one class" in x for x in dataset.notes)


def test_one_lesion_of_most_photographs_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path / "photographs")
    rows = [[f"{key}/IMG_{n}", "0"] for key in ("benign", "malignant") for n in range(3)]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert said(dataset, "lesion 0 has 6 of 8 photographs", capsys)


def test_a_table_that_names_no_photograph_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "photographs")
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), [["a", "L1"], ["b", "L1"]])
    with pytest.raises(UserError, match=r"none of its 2 rows \(a, b\) names one of the 8 photo"):
        load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), [])
    with pytest.raises(UserError, match="none of its 0 rows"):
        load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))


def test_a_partial_join_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_folder(tmp_path / "photographs")
    rows = [["benign/IMG_0", "L1"], ["benign/IMG_1", "L1"], ["elsewhere", "L2"]]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert said(dataset, "1 row (elsewhere) of photographs that are not here left out", capsys)
    assert any("6 photographs (benign/IMG_2, " in note for note in dataset.notes)


def test_one_photograph_with_two_lesions_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "photographs")
    rows = [["benign/IMG_0", "L1"], ["benign/IMG_0.png", "L2"]]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    with pytest.raises(UserError, match=r"1 photograph \(benign/IMG_0\) in several rows"):
        load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    rows = [["benign/IMG_0", "L1"], ["benign/IMG_0.png", "L1"]]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    assert (
        load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv")).lesions.count(
            "L1"
        )
        == 1
    )


def test_a_base_name_of_two_photographs_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "photographs")
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), [["IMG_0", "L1"]])
    with pytest.raises(UserError, match=r"1 image \(IMG_0\) could be more than one photograph"):
        load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))


NOTHING = [
    "nan",
    "NA",
    "none",
    "Unknown",
    "",
    "n/a",
    "null",
    "-",
    "?",
    "#N/A",
    "<NA>",
    "N.A.",
    "-1",
]


@pytest.mark.parametrize("cell", NOTHING)
def test_a_lesion_that_is_not_known_is_nobody_else_s(
    tmp_path: Path, cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path / "photographs")
    rows = [[f"benign/IMG_{n}", cell] for n in range(4)]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert dataset.lesions == dataset.ids
    assert said(dataset, "4 photographs (benign/IMG_0, ", capsys)
    rows = ham_rows()
    for row in rows[:4]:
        row[0] = cell
    ham = load(DataTable(kind="ham10000", root=str(make_ham(tmp_path / "ham", rows))))
    assert ham.lesions[:4] == ham.ids[:4]
    assert said(ham, "4 photographs (ISIC_0000000, ", capsys)
