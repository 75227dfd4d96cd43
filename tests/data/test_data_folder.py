from pathlib import Path

import pytest
from fixtures.data import load_folder, make_folder, photograph, write_csv
from PIL import Image

from mobilekd.data import load_unlabelled, make_split
from mobilekd.formats.data_tables import SplitTable
from mobilekd.support.errors import UserError


def test_one_sub_folder_per_class(tmp_path: Path) -> None:
    (make_folder(tmp_path) / "notes.txt").write_text("ignored")
    dataset = load_folder(tmp_path)
    assert dataset.counts() == {"benign": 4, "malignant": 4}
    assert dataset.ids[0] == "benign/IMG_0"
    assert dataset.lesions == dataset.ids


def test_known_keys_get_their_names(tmp_path: Path) -> None:
    dataset = load_folder(make_folder(tmp_path, ("MEL", "my_class")))
    assert [(label.key, label.text) for label in dataset.classes] == [
        ("MEL", "melanoma"),
        ("my_class", "my class"),
    ]


def test_a_metadata_csv_keeps_lesions_together(tmp_path: Path) -> None:
    make_folder(tmp_path / "photographs")
    rows = [["benign/IMG_0", "L1", 40, "female", "back"], ["benign/IMG_1", "L1", "", "", ""]]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id", "age", "sex", "site"), rows)
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert dataset.lesions[:3] == ("L1", "L1", "benign/IMG_2")
    assert dataset.metadata["age"][:3] == (40.0, None, None)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    make_folder(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(tmp_path / "benign" / "IMG_9.jpg", exif=exif)
    dataset = load_folder(tmp_path)
    assert dataset.photograph(dataset.ids.index("benign/IMG_9")).size == (20, 40)


@pytest.mark.parametrize(
    ("name", "message"), [("loose.jpg", r"1 photograph \(loose\) without a label")]
)
def test_a_photograph_outside_the_classes(tmp_path: Path, name: str, message: str) -> None:
    photograph(make_folder(tmp_path) / name, 1)
    with pytest.raises(UserError, match=message):
        load_folder(tmp_path)


def test_one_name_with_two_suffixes(tmp_path: Path) -> None:
    photograph(make_folder(tmp_path) / "benign" / "IMG_0.jpg", 1)
    with pytest.raises(UserError, match=r"1 photograph \(IMG_0\) present more than once"):
        load_folder(tmp_path)


def test_one_class_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least two"):
        load_folder(make_folder(tmp_path, ("benign",)))


def test_an_empty_sub_folder_stops_before_training(tmp_path: Path) -> None:
    (make_folder(tmp_path) / "rare").mkdir()
    with pytest.raises(UserError, match=r"1 class \(rare\) without any photograph"):
        make_split(load_folder(tmp_path), SplitTable())


def test_unlabelled_photographs(tmp_path: Path) -> None:
    photograph(make_folder(tmp_path) / "loose.jpg", 1)
    dataset = load_unlabelled(tmp_path)
    assert len(dataset) == 9
    assert set(dataset.targets) == {-1}
    assert dataset.classes == ()
    assert dataset.photograph(8).mode == "RGB"


def test_an_empty_unlabelled_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no photographs"):
        load_unlabelled(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        load_unlabelled(tmp_path / "absent")
