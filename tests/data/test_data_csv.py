"""Any table of photographs; ISIC 2020; half an archive."""

import codecs
from collections.abc import Sequence
from pathlib import Path

import pytest
from fixtures.data import (
    ham_rows,
    make_csv,
    make_folder,
    make_ham,
    make_isic2020,
    photograph,
    write_csv,
)

from mobilekd.cli import commands
from mobilekd.data import Dataset, load, make_split
from mobilekd.data.tables import read_csv
from mobilekd.formats.data_tables import DataTable, SplitTable
from mobilekd.support.errors import UserError

ROWS = (
    ("a/one.png", "nevus", "p1", "train"),
    ("a/two.png", "nevus", "p1", "train"),
    ("b/one.png", "melanoma", "p2", "train"),
    ("b/two.png", "melanoma", "p3", "test"),
    ("b/three.png", "nevus", "p4", "test"),
)
HEADER = ("path", "diagnosis", "patient_id", "split")


def table(
    folder: Path, header: Sequence[str] = HEADER, rows: Sequence[Sequence[str]] = ROWS
) -> Path:
    for number, row in enumerate(ROWS):
        photograph(folder / row[0], number)
    write_csv(folder / "table.csv", header, rows)
    return folder / "table.csv"


def read(path: Path, **keys: object) -> Dataset:
    return load(DataTable(kind="csv", labels=str(path), **keys))


def test_columns_are_found_by_their_usual_names(tmp_path: Path) -> None:
    dataset = read(table(tmp_path))
    assert dataset.ids == ("a/one", "a/two", "b/one", "b/three", "b/two")
    assert [label.key for label in dataset.classes] == ["melanoma", "nevus"]
    assert dataset.targets.tolist() == [1, 1, 0, 1, 0]
    assert dataset.lesions == ("p1", "p1", "p2", "p4", "p3")
    split = make_split(dataset, SplitTable(validation=0.0))
    assert split.train == ("a/one", "a/two", "b/one")
    assert split.test == ("b/three", "b/two")


@pytest.mark.parametrize("mark", ["\t", ";", ",", "|"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_pandas_index_tabs_semicolons_and_a_byte_order_mark_are_no_matter(
    tmp_path: Path, mark: str, start: str
) -> None:
    path = table(tmp_path)
    wanted = read(path)
    lines = [("", *HEADER), *((str(n), *row) for n, row in enumerate(ROWS))]
    path.write_text(start + "\n".join(map(mark.join, lines)) + "\n", encoding="utf-8")
    found = read(path)
    assert (found.ids, found.hash, found.roles) == (wanted.ids, wanted.hash, wanted.roles)


@pytest.mark.parametrize("mark", ["\t", ";"])
@pytest.mark.parametrize("name", ["diagnosis, final", '"diagnosis, final, of two, or more"'])
def test_a_comma_in_a_columns_name_parts_nothing(tmp_path: Path, mark: str, name: str) -> None:
    path = table(tmp_path)
    lines = [("path", name, "patient_id", "split"), *ROWS]
    path.write_text("\n".join(map(mark.join, lines)) + "\n")
    assert read(path, columns={"label": name.strip('"')}).lesions == ("p1", "p1", "p2", "p4", "p3")


def test_columns_of_other_names_are_named(tmp_path: Path) -> None:
    path = table(tmp_path, ("Bild", "Befund", "Fall", "Teil"))
    with pytest.raises(UserError, match=r"no column names the photographs .*data.columns.image"):
        read(path)
    columns = {"image": "Bild", "label": "befund", "lesion_id": "Fall"}
    dataset = read(path, columns=columns)
    assert dataset.lesions == ("p1", "p1", "p2", "p4", "p3")
    assert dataset.roles is None
    with pytest.raises(UserError, match="no column 'Diagnose'; it has Bild, Befund"):
        read(path, columns=columns | {"label": "Diagnose"})


def test_which_of_two_labels_is_not_guessed(tmp_path: Path) -> None:
    path = table(tmp_path, ("path", "diagnosis", "target", "split"))
    with pytest.raises(UserError, match=r"2 columns \(diagnosis, target\) that may hold the label"):
        read(path)
    assert len(read(path, columns={"label": "diagnosis"}).classes) == 2


def test_columns_that_differ_in_case_alone_are_not_guessed(tmp_path: Path) -> None:
    header, rows = ("path", "Label", "label"), [(row[0], row[1], row[2]) for row in ROWS]
    path = table(tmp_path, header, rows)
    with pytest.raises(UserError, match=r"2 columns \(Label, label\) whose names differ in case"):
        read(path)
    for name, count in {"Label": 2, "label": 4}.items():
        assert len(read(path, columns={"label": name}).classes) == count


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"PK\x03\x04", "is a workbook .*save its table as CSV"),
        (b"\xd0\xcf\x11\xe0", "is a workbook .*save its table as CSV"),
        (b"PAR1", "is a Parquet file; write it as CSV"),
        (b"\x1f\x8b\x08", "is a gzip archive; unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer.*git lfs pull"),
        (b"\n<!DOCTYPE html>", "is a web page"),
        (b'[{"path": "a/one.png"}]', "is JSON; write it as CSV"),
    ],
)
def test_a_file_that_is_no_csv_is_named(tmp_path: Path, start: bytes, said: str) -> None:
    path = table(tmp_path)
    path.write_bytes(start)
    with pytest.raises(UserError, match=rf"table.csv: {said}"):
        read(path)
    with pytest.raises(UserError, match="a folder; name the table in it"):
        load(DataTable(kind="csv", labels=str(tmp_path), root=str(tmp_path)))


def test_a_first_column_pk_is_no_archive(tmp_path: Path) -> None:
    rows = [(str(n), *row) for n, row in enumerate(ROWS)]
    assert len(read(table(tmp_path, ("PK", *HEADER), rows)).ids) == len(ROWS)


def test_what_is_left_out_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, rows=[*ROWS[:3], ("b/two.png", "unknown", "p3", "test"), ROWS[4]])
    photograph(tmp_path / "elsewhere.png", 9)
    dataset = read(path)
    said = capsys.readouterr().err
    assert "1 row (b/two.png) without a label left out" in said
    assert "2 photographs (b/two, elsewhere) without a row left out" in said
    assert len(dataset) == 4


def test_words_that_mean_not_known_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A class or lesion may be called so, and its owner must see why it is gone."""
    header = ("path", "diagnosis", "lesion_id")
    rows = [
        ("a/one.png", "nevus", "1"),
        ("a/two.png", "melanoma", "none"),
        ("b/one.png", "none", "2"),
        ("b/two.png", "-1", "3"),
        ("b/three.png", "none", "4"),
    ]
    assert len(read(table(tmp_path, header, rows))) == 2
    said = capsys.readouterr().err
    assert (
        "3 rows (b/one.png, b/two.png, b/three.png) without a label left out (read as "
        "\"not known\": 'none' in 2, '-1' in 1; where such a word is a name"
    ) in said
    assert "1 photograph (a/two) without a known lesion or patient" in said
    assert "(read as \"not known\": 'none' in 1;" in said
    write_csv(tmp_path / "table.csv", header, [*rows[:2], ("b/one.png", "", "2")])
    read(tmp_path / "table.csv")
    assert "(b/one.png) without a label left out\n" in capsys.readouterr().err  # blank: no word


def test_a_row_without_a_lesion_counts_by_its_patient(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(
        tmp_path,
        ("path", "diagnosis", "lesion_id", "patient_id"),
        [
            ("a/one.png", "nevus", "p2", "p1"),
            ("a/two.png", "nevus", "", "p2"),
            ("b/one.png", "melanoma", "unknown", "p2"),
            ("b/two.png", "melanoma", "", ""),
            ("b/three.png", "nevus", "p2", ""),
        ],
    )
    dataset = read(path)  # in the order of ids: a/one, a/two, b/one, b/three, b/two
    assert dataset.lesions == ("p2", "patient p2", "patient p2", "p2", "b/two")
    said = capsys.readouterr().err
    assert (
        "2 photographs (a/two, b/one) without a known lesion, those of one patient counted as one"
        " lesion (read as \"not known\": 'unknown' in 1;"
    ) in said
    assert (
        "1 photograph (b/two) without a known lesion or patient, each counted as a lesion of its"
        " own\n"
    ) in said
    # the column that is named comes first, and none is one's own choice
    by_patient = read(path, columns={"lesion_id": "patient_id"})
    assert by_patient.lesions == ("p1", "p2", "p2", "b/three", "b/two")
    assert read(path, columns={"lesion_id": ""}).lesions == by_patient.ids


def test_a_row_without_a_photograph_is_refused_or_left_out_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path)
    (tmp_path / "a" / "two.png").unlink()
    with pytest.raises(
        UserError, match=r"1 row \(a/two.png\) without a photograph .*--allow-missing"
    ):
        read(path)
    assert len(read(path, allow_missing=True)) == 4
    assert "1 row (a/two.png) without a photograph left out" in capsys.readouterr().err


def test_other_folders_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"/home/me/{row[0].replace('/', '-')}", *row[1:]) for row in ROWS]
    path = table(tmp_path / "here", rows=rows)
    for row in ROWS:
        (tmp_path / "here" / row[0]).rename(tmp_path / "here" / row[0].replace("/", "-"))
    assert len(read(path)) == 5
    for row in ROWS:
        name = row[0].replace("/", "-")
        (tmp_path / "here" / name).rename(tmp_path / "here" / "a" / name)
    capsys.readouterr()
    assert len(read(path)) == 5
    assert "5 rows (/home/me/a-one.png, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(f"c/{row[0]}x", *row[1:]) for row in ROWS], "none of its 5 rows"),
        ([*ROWS, ("b/one.png", "nevus", "p2", "train")], "1 id .b/one. listed more than once"),
        ([*ROWS[:4], ("b/three.png", "Nevus", "p4", "test")], "differ only in case"),
        ([(*row[:3], "fold 3") for row in ROWS], r"1 part \(fold 3\) of a split that mean nothing"),
        ([(*row[:3], "train") for row in ROWS], r"its split has 1 part \(train\)"),
        ([(row[0], "nevus", *row[2:]) for row in ROWS], "give at least two"),
        ([], "no rows"),
    ],
)
def test_a_wrong_table_is_one_line(
    tmp_path: Path, rows: Sequence[Sequence[str]], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        read(table(tmp_path, rows=rows))


def test_isic_2020_has_two_classes_and_patients(tmp_path: Path) -> None:
    dataset = load(DataTable(kind="isic2020", root=str(make_isic2020(tmp_path))))
    assert [label.key for label in dataset.classes] == ["benign", "malignant"]
    assert dataset.counts() == {"benign": 6, "malignant": 2}
    assert len(set(dataset.lesions)) == 4
    assert dataset.metadata["age"][0] == 45.0
    assert dataset.metadata["site"] == ("torso",) * 8


def test_half_of_an_archive_is_read_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for photo in list(make_ham(tmp_path).glob("HAM10000_images_part_2/*.jpg")):
        photo.unlink()
    with pytest.raises(UserError, match=r"14 labels .* without a photograph"):
        load(DataTable(kind="ham10000", root=str(tmp_path)))
    dataset = load(DataTable(kind="ham10000", root=str(tmp_path), allow_missing=True))
    assert len(dataset) == 14
    assert "14 labels" in capsys.readouterr().err


def test_half_of_one_source_is_read_on_request(tmp_path: Path) -> None:
    for photo in list(make_ham(tmp_path / "ham").glob("HAM10000_images_part_2/*.jpg")):
        photo.unlink()
    own = DataTable(kind="folder", root=str(make_folder(tmp_path / "own")))
    sources = [DataTable(kind="ham10000", root=str(tmp_path / "ham")), own]
    assert len(load(DataTable(kind="several", sources=sources, allow_missing=True))) == 14 + 8
    with pytest.raises(UserError, match=r"data\.allow_missing: folder and folder has no such"):
        load(DataTable(kind="several", sources=[own, own], allow_missing=True))


def test_the_option_is_the_recipes_key() -> None:
    arguments = commands().parse(
        ["sweep", "ham10000", "--set", "seed=3", "--allow-missing", "--set", "train.lr=1"]
    )
    assert arguments.overrides == ["seed=3", "data.allow_missing=true", "train.lr=1"]


def test_dataverses_tab_file_is_read(tmp_path: Path) -> None:
    table = make_ham(tmp_path) / "HAM10000_metadata.csv"
    wanted = load(DataTable(kind="ham10000", root=str(tmp_path)))
    table.with_suffix(".tab").write_text(table.read_text().replace(",", "\t"))
    table.unlink()
    assert load(DataTable(kind="ham10000", root=str(tmp_path))).hash == wanted.hash
    assert len(wanted) == len(ham_rows())


def test_the_table_and_its_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.labels: csv needs the table"):
        load(DataTable(kind="csv"))
    with pytest.raises(UserError, match="no such CSV file"):
        read(tmp_path / "absent.csv")
    with pytest.raises(UserError, match="no such folder"):
        read(make_csv(tmp_path), root=str(tmp_path / "absent"))


def test_a_csv_is_a_kind_for_evaluate(tmp_path: Path) -> None:
    path = make_csv(tmp_path)
    assert len(load(DataTable(kind="csv", labels=str(path)), part=True)) == 8


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("first", ["", "sep={mark}\n", "SEP={mark}\r\n", '"sep={mark}"\n'])
@pytest.mark.parametrize("mark", [";", "\t", ","])
def test_excels_first_line_and_unicode_text_are_read(
    tmp_path: Path, encoding: str, first: str, mark: str
) -> None:
    path = table(tmp_path)
    lines = [("path", "diagnosis", "patient_id", "split"), *ROWS]
    text = first.format(mark=mark) + "\n".join(map(mark.join, lines)) + "\n"
    start = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    path.write_bytes(start + text.encode(encoding))
    assert read(path).lesions == ("p1", "p1", "p2", "p4", "p3")


def test_the_separator_that_is_stated_is_the_one(tmp_path: Path) -> None:
    """Though the header has more of another; and lines are counted as the file has them."""
    path = tmp_path / "table.csv"
    path.write_text("sep=|\na,b,c|d\n1|2\n3|4|5\n")
    with pytest.raises(UserError, match=r"1 line \(4\) with another number of cells"):
        read_csv(path, ())
    path.write_text("sep=|\na,b,c|d\n1|2\n")
    assert read_csv(path, ()) == [{"a,b,c": "1", "d": "2"}]


def test_utf_16_that_is_cut_is_told(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("a,b\n1,2\n".encode("utf-16")[:-1])
    with pytest.raises(UserError, match=r"not a readable CSV file .*truncated data"):
        read_csv(path, ())
