"""Pixel-equal copies are one lesion, and one picture has one label; both are said."""

from pathlib import Path

import pytest
from fixtures.data import (
    load_folder,
    make_folder,
    make_ham,
    said,
    write_csv,
)
from fixtures.run import prepared
from PIL import Image

from mobilekd.data import join_copies, load, make_split
from mobilekd.formats.data_tables import DataTable, SplitTable
from mobilekd.formats.recipe import Recipe
from mobilekd.support.errors import UserError


def test_copies_are_one_lesion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path, each=20)
    for n in range(10):  # under other names, and as other files
        image = Image.open(root / "benign" / f"IMG_{n}.png")
        image.save(root / "benign" / f"COPY_{n}.bmp")
    recipe = Recipe(
        name="copies",
        data=DataTable(kind="folder", root=str(root)),
        split=SplitTable(validation=0.2, test=0.3),
    )
    experiment = prepared(recipe)
    role_of = {
        name: role
        for role in ("train", "validation", "test")
        for name in getattr(experiment.split, role)
    }
    for n in range(10):
        assert role_of[f"benign/COPY_{n}"] == role_of[f"benign/IMG_{n}"]
    assert said(experiment.dataset, "10 photographs (benign/IMG_0, ", capsys)
    assert experiment.dataset.hash == load(recipe.data).hash, "the data are the same"


def test_copies_under_a_split_by_photograph_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path, each=20)
    Image.open(root / "benign" / "IMG_0.png").save(root / "benign" / "COPY.bmp")
    table = DataTable(kind="folder", root=str(root))
    split = SplitTable(validation=0.2, test=0.3, by="photograph")
    experiment = prepared(Recipe(name="copies", data=table, split=split))
    assert said(experiment.dataset, "so its results are leaky", capsys)
    assert not any("count as one lesion" in note for note in experiment.dataset.notes)


def test_copies_join_their_lesions(tmp_path: Path) -> None:
    """A copy of one shot joins all shots of both lesions, over a chain as well."""
    root = make_folder(tmp_path / "photographs", each=6)
    for a, b in ((0, 2), (3, 4)):
        Image.open(root / "benign" / f"IMG_{a}.png").save(root / "benign" / f"IMG_{b}.png")
    rows = [[f"benign/IMG_{n}", f"L{n // 2}"] for n in range(6)]  # L0: 0 1, L1: 2 3, L2: 4 5
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    dataset = load_folder(root, metadata=str(tmp_path / "lesions.csv"))
    assert set(join_copies(dataset).lesions[:6]) == {"L0"}


def test_copies_within_a_lesion_change_nothing(tmp_path: Path) -> None:
    root = make_ham(tmp_path)
    first, second = (root / f"HAM10000_images_part_{1 + n}" / f"ISIC_{n:07d}.jpg" for n in (0, 1))
    second.write_bytes(first.read_bytes())
    dataset = load(DataTable(kind="ham10000", root=str(root)))
    joined = join_copies(dataset)
    assert (joined.lesions, joined.notes) == (dataset.lesions, ())
    table = SplitTable(validation=0.2, test=0.2)
    assert make_split(joined, table) == make_split(dataset, table)


def test_one_picture_with_two_labels_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    image = Image.open(root / "benign" / "IMG_1.png")
    image.save(root / "malignant" / "other.png")
    message = (
        r"1 picture \(benign/IMG_1: benign and malignant/other: malignant\) with more than one"
    )
    with pytest.raises(UserError, match=message):
        prepared(Recipe(name="torn", data=DataTable(kind="folder", root=str(root))))
