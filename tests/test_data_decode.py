from pathlib import Path

import pytest
from data_fixtures import make_folder

from mobilekd.data import Dataset, check_photographs, inputs, load
from mobilekd.errors import UserError
from mobilekd.preprocess import Preprocess
from mobilekd.recipe import DataTable


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return load(DataTable(kind="folder", root=str(make_folder(tmp_path, each=8))))


def test_sound_photographs_pass(dataset: Dataset) -> None:
    check_photographs(dataset)


def test_every_broken_photograph_is_counted_before_training(dataset: Dataset) -> None:
    assert dataset.paths is not None
    whole = dataset.paths[0].read_bytes()
    dataset.paths[0].write_bytes(whole[: len(whole) // 2])
    dataset.paths[3].write_bytes(b"")
    dataset.paths[5].write_bytes(b"not a picture")
    dataset.paths[9].unlink()
    expected = r"4 unreadable photographs \(benign/IMG_0, benign/IMG_3, benign/IMG_5, malignant/IMG_1\); the first: .*IMG_0.png"
    with pytest.raises(UserError, match=expected):
        check_photographs(dataset)
    with pytest.raises(UserError, match=expected):
        inputs(dataset, dataset.ids, Preprocess(width=8, height=8))


def test_only_what_is_asked_for_is_decoded(dataset: Dataset) -> None:
    assert dataset.paths is not None
    dataset.paths[0].write_bytes(b"")
    assert inputs(dataset, dataset.ids[1:], Preprocess(width=8, height=8)).shape == (15, 3, 8, 8)


def test_no_ids_give_an_empty_batch(dataset: Dataset) -> None:
    assert inputs(dataset, [], Preprocess(width=8, height=6)).shape == (0, 3, 6, 8)
