"""What every kind of data set promises, run over all of them."""

import typing
from pathlib import Path

import numpy as np
import pytest
from fixtures.data import make_csv, make_folder, make_ham, make_isic, make_isic2020, make_isic2024
from PIL import Image

from mobilekd import data
from mobilekd.formats.data_tables import DataTable, SplitTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.support.errors import UserError

KINDS = typing.get_args(DataTable.model_fields["kind"].annotation)


@pytest.fixture
def table(request: pytest.FixtureRequest, tmp_path: Path) -> DataTable:
    makers = {
        "ham10000": make_ham,
        "isic": make_isic,
        "isic2020": make_isic2020,
        "isic2024": make_isic2024,
        "folder": make_folder,
    }
    kind = request.param
    if kind == "several":
        sources = [
            DataTable(kind=one, root=str(makers[one](tmp_path / one)))
            for one in ("ham10000", "isic", "folder")
        ]
        return DataTable(kind=kind, sources=sources)
    if kind == "csv":
        return DataTable(kind=kind, labels=str(make_csv(tmp_path / "data")))
    if kind == "synthetic":
        return DataTable(kind=kind, count=40, size=32)
    return DataTable(kind=kind, root=str(makers[kind](tmp_path / "data")))


@pytest.mark.parametrize("table", KINDS, indirect=True)
class TestEveryKind:
    def test_is_a_sound_data_set(self, table: DataTable) -> None:
        dataset = data.load(table)
        n = len(dataset)
        assert dataset.kind == table.title.replace(" and ", "+")
        assert n > 0
        assert list(dataset.ids) == sorted(set(dataset.ids))
        assert dataset.targets.shape == (n,)
        assert dataset.targets.dtype == np.int64
        assert set(dataset.targets) == set(range(len(dataset.classes))), (
            "every class has a photograph"
        )
        assert len(dataset.lesions) == n
        assert set(dataset.metadata) == {"age", "sex", "site", "confirmed"}
        assert all(len(column) == n for column in dataset.metadata.values())
        assert dataset.licence
        assert all(label.text for label in dataset.classes)

    def test_loads_equally_twice(self, table: DataTable) -> None:
        first, second = data.load(table), data.load(table)
        assert first.hash == second.hash
        assert first.ids == second.ids
        assert np.array_equal(np.asarray(first.photograph(0)), np.asarray(second.photograph(0)))

    def test_photographs_are_upright_rgb(self, table: DataTable) -> None:
        image = data.load(table).photograph(0)
        assert isinstance(image, Image.Image)
        assert image.mode == "RGB"

    def test_inputs_are_the_preprocess_of_each_photograph(self, table: DataTable) -> None:
        dataset, preprocess = data.load(table), Preprocess(width=24, height=16)
        ids = list(dataset.ids[::-1][:5])
        batch = data.inputs(dataset, ids, preprocess)
        assert batch.shape == (5, 3, 16, 24)
        assert batch.dtype == np.uint8
        for name, picture in zip(ids, batch, strict=True):
            expected = preprocess.apply(dataset.photograph(dataset.ids.index(name)))
            assert np.array_equal(picture.transpose(1, 2, 0), expected)

    def test_splits(self, table: DataTable) -> None:
        dataset = data.load(table)
        split = data.make_split(dataset, SplitTable(validation=0.2, test=0.2))
        assert sorted(split.train + split.validation + split.test) == list(dataset.ids)
        assert split.data_hash == dataset.hash
        targets = dataset.targets[dataset.rows(split.train)]
        assert set(targets) == set(range(len(dataset.classes))), "every class can be learnt"

    def test_its_training_photographs_are_found_again(self, table: DataTable) -> None:
        dataset = data.load(table)
        split = data.make_split(dataset, SplitTable(validation=0.2, test=0.2))
        hashes = data.overlap_hashes(dataset, split.train, "salt")
        assert data.overlapping(dataset, split.train, hashes, "salt").all()
        assert not data.overlapping(dataset, split.test, hashes, "salt").any()
        assert not data.overlapping(dataset, split.train, hashes, "another salt").any()

    def test_a_subset_stays_aligned(self, table: DataTable) -> None:
        dataset = data.load(table)
        part = dataset.subset([3, 1])
        assert part.ids == (dataset.ids[3], dataset.ids[1])
        assert part.hash != dataset.hash
        assert np.array_equal(np.asarray(part.photograph(0)), np.asarray(dataset.photograph(3)))
        assert part.metadata["site"] == (dataset.metadata["site"][3], dataset.metadata["site"][1])

    def test_unknown_ids_are_named(self, table: DataTable) -> None:
        with pytest.raises(UserError, match=r"1 id \(nobody\) not in the data set"):
            data.load(table).rows(["nobody"])


#: Kinds that need a folder.
ROOTED = [kind for kind in KINDS if kind not in ("synthetic", "several", "csv")]


@pytest.mark.parametrize("kind", ROOTED)
class TestMissingRoots:
    def test_no_root(self, kind: str) -> None:
        with pytest.raises(UserError, match=r"set data\.root"):
            data.load(DataTable(kind=kind))

    def test_root_does_not_exist(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such folder"):
            data.load(DataTable(kind=kind, root=str(tmp_path / "absent")))

    def test_empty_root(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(UserError):
            data.load(DataTable(kind=kind, root=str(tmp_path)))
