from pathlib import Path

import pytest
from fixtures.data import HAM_HEADER, KEYS, ham_rows, make_ham, photograph, write_csv

from mobilekd.data import Dataset, check_photographs, load, make_split
from mobilekd.formats.data_tables import DataTable, SplitTable
from mobilekd.support.errors import UserError


def load_ham(root: Path) -> Dataset:
    return load(DataTable(kind="ham10000", root=str(root)))


def test_reads_the_kaggle_layout(tmp_path: Path) -> None:
    dataset = load_ham(make_ham(tmp_path))
    assert tuple(label.key for label in dataset.classes) == KEYS
    assert dataset.classes[4].text == "melanoma"
    assert dataset.counts() == dict.fromkeys(KEYS, 4)
    assert dataset.lesions[:2] == ("HAM_0000000", "HAM_0000000")
    assert dataset.metadata["age"][:2] == (None, 55.0)
    assert dataset.metadata["sex"][:2] == ("male", None)
    assert "CC BY-NC" in dataset.licence


def test_how_diagnoses_were_confirmed_is_counted_by_class(tmp_path: Path) -> None:
    root = make_ham(tmp_path)
    plain = load_ham(root)
    assert plain.confirmed() == {key: {"histology": 4} for key in KEYS}
    ways = ("histo", "follow_up", "consensus", "")
    rows = [[*row[:3], ways[n % 4], *row[4:]] for n, row in enumerate(ham_rows())]
    write_csv(root / "HAM10000_metadata.csv", HAM_HEADER, rows)
    dataset = load_ham(root)
    each = {"": 1, "consensus": 1, "follow-up": 1, "histology": 1}
    assert dataset.confirmed() == dict.fromkeys(KEYS, each)
    assert dataset.confirmed([0])["akiec"] == {"histology": 1}
    assert dataset.hash == plain.hash, "what confirmed a diagnosis makes no other photographs"
    write_csv(
        root / "HAM10000_metadata.csv",
        HAM_HEADER,
        [[*row[:3], "", *row[4:]] for row in ham_rows()],
    )
    assert load_ham(root).confirmed() == {}


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    forward = load_ham(make_ham(tmp_path))
    write_csv(tmp_path / "HAM10000_metadata.csv", HAM_HEADER, ham_rows()[::-1])
    backward = load_ham(tmp_path)
    assert forward.ids == backward.ids
    assert forward.hash == backward.hash
    assert forward.targets.tolist() == backward.targets.tolist()


def test_one_folder_and_no_suffix(tmp_path: Path) -> None:
    root = make_ham(tmp_path)
    (root / "HAM10000_metadata.csv").rename(root / "HAM10000_metadata")
    both = root / "HAM10000_images_part_1", root / "HAM10000_images_part_2"
    (root / "images").mkdir()
    for folder in both:
        for path in folder.iterdir():
            path.rename(root / "images" / path.name)
        folder.rmdir()
    assert len(load_ham(root)) == 28


def test_a_changed_label_or_file_changes_the_hash(tmp_path: Path) -> None:
    before = load_ham(make_ham(tmp_path)).hash
    rows = ham_rows()
    rows[0][2] = "nv"
    write_csv(tmp_path / "HAM10000_metadata.csv", HAM_HEADER, rows)
    relabelled = load_ham(tmp_path).hash
    photograph(tmp_path / "HAM10000_images_part_1" / f"{rows[0][1]}.jpg", 999, (64, 64))
    assert len({before, relabelled, load_ham(tmp_path).hash}) == 3


def edited(row: int, column: int, value: str) -> list[list[object]]:
    rows = ham_rows()
    rows[row][column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ham_rows()[3:],
            r"3 photographs \(ISIC_0000000, ISIC_0000001, ISIC_0000002\) without a label",
        ),
        (
            [*ham_rows(), ["HAM_1", "ISIC_9999999", "nv", "", "", "", ""]],
            r"1 label \(ISIC_9999999\) without a photograph",
        ),
        (
            edited(1, 2, "wart"),
            r"1 photograph \(ISIC_0000001\) of unknown class 'wart'; known: akiec, bcc",
        ),
        (edited(1, 2, ""), r"of unknown class ''"),
        (edited(1, 1, "ISIC_0000000"), r"1 id \(ISIC_0000000\) listed more than once"),
        (edited(1, 4, "old"), "old is no age"),
        (
            [row[:5] for row in ham_rows()],
            r"lines? .*\(2, 3, 4, 5, 6, \.\.\.\) with another number of cells",
        ),
        ([], r"28 photographs .* without a label"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, rows: list[list[object]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_ham(make_ham(tmp_path, rows))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    make_ham(tmp_path)
    write_csv(tmp_path / "HAM10000_metadata.csv", ("image_id", "dx"), [])
    with pytest.raises(UserError, match=r"1 column \(lesion_id\) missing; it has image_id, dx"):
        load_ham(tmp_path)


def test_a_csv_that_is_none(tmp_path: Path) -> None:
    make_ham(tmp_path)
    (tmp_path / "HAM10000_metadata.csv").write_bytes(b"\xff\xfe\x00garbage\x80")
    with pytest.raises(UserError, match="not a readable CSV"):
        load_ham(tmp_path)


def test_one_photograph_in_two_folders(tmp_path: Path) -> None:
    root = make_ham(tmp_path)
    photograph(root / "HAM10000_images_part_2" / "ISIC_0000000.jpg", 0)
    with pytest.raises(UserError, match=r"1 photograph \(ISIC_0000000\) present more than once"):
        load_ham(root)


def test_an_empty_class_stops_before_training(tmp_path: Path) -> None:
    rows = ham_rows()
    for row in rows[:4]:
        row[2] = "nv"
    with pytest.raises(UserError, match=r"1 class \(akiec\) without any photograph"):
        make_split(load_ham(make_ham(tmp_path, rows)), SplitTable())


class TestRealHam10000:
    def test_counts(self, ham10000: Path) -> None:
        dataset = load_ham(ham10000)
        assert dataset.counts() == {
            "akiec": 327,
            "bcc": 514,
            "bkl": 1099,
            "df": 115,
            "mel": 1113,
            "nv": 6705,
            "vasc": 142,
        }
        assert len(set(dataset.lesions)) == 7470

    def test_split_keeps_the_shares_in_every_class(self, ham10000: Path) -> None:
        dataset = load_ham(ham10000)
        split = make_split(dataset, SplitTable(validation=0.1, test=0.2))
        for ids, share in ((split.validation, 0.1), (split.test, 0.2)):
            found = dataset.subset(dataset.rows(ids)).counts()
            assert all(
                abs(found[key] - share * count) <= 3 for key, count in dataset.counts().items()
            )

    def test_every_twentieth_photograph_is_readable(self, ham10000: Path) -> None:
        dataset = load_ham(ham10000)
        check_photographs(dataset.subset(range(0, len(dataset), 20)))
