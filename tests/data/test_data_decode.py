from pathlib import Path

import pytest
from fixtures.data import make_folder
from fixtures.run import prepared
from PIL import Image

from mobilekd.data import Dataset, check_photographs, difference, inputs, load
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import Recipe
from mobilekd.support.errors import UserError


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return load(DataTable(kind="folder", root=str(make_folder(tmp_path, each=8))))


def test_sound_photographs_pass_and_have_a_hash_each(dataset: Dataset) -> None:
    hashes = check_photographs(dataset)
    assert tuple(hashes) == dataset.ids
    assert len(set(hashes.values())) == len(dataset)


def test_every_broken_photograph_is_counted_before_training(dataset: Dataset) -> None:
    assert dataset.paths is not None
    whole = Path(dataset.paths[0]).read_bytes()
    Path(dataset.paths[0]).write_bytes(whole[: len(whole) // 2])
    Path(dataset.paths[3]).write_bytes(b"")
    Path(dataset.paths[5]).write_bytes(b"not a picture")
    Path(dataset.paths[9]).unlink()
    expected = (
        r"4 unreadable photographs \(benign/IMG_0, benign/IMG_3, benign/IMG_5, malignant/IMG_1\);"
        r" the first: .*IMG_0.png"
    )
    with pytest.raises(UserError, match=expected):
        check_photographs(dataset)
    with pytest.raises(UserError, match=expected):
        inputs(dataset, dataset.ids, Preprocess(width=8, height=8))


def test_only_what_is_asked_for_is_decoded(dataset: Dataset) -> None:
    assert dataset.paths is not None
    Path(dataset.paths[0]).write_bytes(b"")
    assert inputs(dataset, dataset.ids[1:], Preprocess(width=8, height=8)).shape == (15, 3, 8, 8)


def test_no_ids_give_an_empty_batch(dataset: Dataset) -> None:
    assert inputs(dataset, [], Preprocess(width=8, height=6)).shape == (0, 3, 6, 8)


def test_another_photograph_of_the_same_name_and_size_is_other_data(tmp_path: Path) -> None:
    """A bitmap's size says nothing of what it shows, and the hash of the data set knows
    only sizes.
    """
    root = make_folder(tmp_path / "data", each=8)
    for path in root.rglob("*.png"):
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    recipe = Recipe(name="swapped", data=DataTable(kind="folder", root=str(root)))
    before = prepared(recipe)
    before.keep_split(tmp_path)
    assert prepared(recipe, tmp_path).split == before.split
    assert difference(before.dataset, before.split, before.split.hash()) is None
    first = root / f"{before.split.test[0]}.bmp"
    Image.new("RGB", Image.open(first).size, "brown").save(first)
    assert load(recipe.data).hash == before.dataset.hash
    changed = difference(before.dataset, before.split, before.split.hash())
    assert changed == "photographs of test show something else"
    roles = ("train", "validation")
    assert difference(before.dataset, before.split, before.split.hash(), roles) is None
    with pytest.raises(UserError, match="made from other data"):
        prepared(recipe, tmp_path)
