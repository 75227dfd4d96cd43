"""Photographs that lie together in one HDF5 file."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fixtures.data import jpeg, make_isic2024, pack
from fixtures.decoded import count_decoded

from mobilekd.data import Dataset, check_photographs, inputs, load, photograph_sizes, pictures
from mobilekd.data.packed import Packed
from mobilekd.data.stored_pictures import StoredPictures
from mobilekd.data.tables import read_csv
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.support.errors import UserError

SMALL = Preprocess(width=12, height=8)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOBILEKD_STORE", str(tmp_path / "store"))
    return make_isic2024(tmp_path / "data")


def opened(root: Path, **keys: object) -> Dataset:
    return load(DataTable(kind="isic2024", root=str(root), **keys))


def test_two_classes_and_patients_and_nothing_is_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = Packed.read_bytes
    monkeypatch.setattr(Packed, "read_bytes", lambda self: read.append(self.name) or whole(self))
    dataset = opened(root)
    assert read == []
    assert dataset.counts() == {"benign": 8, "malignant": 4}
    assert dataset.lesions[:4] == ("IP_0000000", "IP_0000000", "IP_0000001", "IP_0000001")
    assert dataset.metadata["age"][0] == 60.0
    assert dataset.metadata["site"][0] == "posterior torso"
    by_lesion = opened(root, columns={"lesion_id": "lesion_id"})
    assert by_lesion.lesions[:3] == ("IL_0000001", "patient IP_0000000", "patient IP_0000001")
    assert photograph_sizes(dataset, dataset.ids[3:5]) == [(40, 30)] * 2
    assert read == list(dataset.ids[3:5])


def test_of_a_wide_table_only_what_is_used_is_kept(root: Path) -> None:
    rows = read_csv(root / "train-metadata.csv", (), lambda _: {"isic_id", "target"})
    assert rows[0] == {"isic_id": "ISIC_0000000", "target": "1"}
    assert rows[0]["target"] is rows[1]["target"]


def test_the_store_keeps_them_by_content_like_files(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decoded(monkeypatch)
    dataset = opened(root)
    wanted = np.stack([SMALL.apply(dataset.photograph(i)) for i in range(len(dataset))])
    decoded.clear()
    found = pictures(dataset, dataset.ids, SMALL)
    assert isinstance(found, StoredPictures)
    assert np.array_equal(found[:].transpose(0, 2, 3, 1), wanted)
    hashes = check_photographs(dataset)
    assert sorted(decoded) == list(dataset.ids)
    decoded.clear()
    assert check_photographs(opened(root)) == hashes
    for n, name in enumerate(dataset.ids):
        file = tmp_path / "files" / ("a" if n < 4 else "b") / f"{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(n))
    files = load(DataTable(kind="folder", root=str(tmp_path / "files")))
    assert np.array_equal(inputs(files, files.ids, SMALL).transpose(0, 2, 3, 1), wanted)
    assert decoded == []


def test_broken_entries_are_named_by_their_id(root: Path) -> None:
    entries = {f"ISIC_{n:07d}": jpeg(n) for n in range(12)}
    entries["ISIC_0000003"] = entries["ISIC_0000003"][:200]
    entries["ISIC_0000007"] = b"no photograph"
    pack(root / "train-image.hdf5", entries)
    dataset = opened(root)
    with pytest.raises(UserError) as caught:
        check_photographs(dataset)
    line = str(caught.value)
    assert line.startswith("2 unreadable photographs (ISIC_0000003, ISIC_0000007); the first: ")
    assert "train-image.hdf5/ISIC_0000003: not a readable photograph" in line
    sound = [name for name in dataset.ids if name not in ("ISIC_0000003", "ISIC_0000007")]
    assert len(inputs(dataset, sound, SMALL)) == 10


def test_what_is_missing_or_no_photograph_is_counted(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import h5py

    pack(root / "train-image.hdf5", {f"ISIC_{n:07d}": jpeg(n) for n in range(1, 13)})
    with h5py.File(root / "train-image.hdf5", "a") as whole:
        whole.create_group("notes")
    with pytest.raises(UserError, match=r"1 row \(ISIC_0000000\) without a photograph"):
        opened(root)
    assert len(opened(root, allow_missing=True)) == 11
    said = capsys.readouterr().err
    assert "1 row (ISIC_0000000) without a photograph left out" in said
    assert "1 photograph (ISIC_0000012) without a row left out" in said
    assert "1 entry (notes) left out, no bytes of a photograph" in said


@pytest.mark.parametrize("kind", ["uint8", "vlen", "compressed"])
def test_bytes_may_lie_in_other_types(root: Path, kind: str) -> None:
    import h5py

    wanted = inputs(plain := opened(root), plain.ids, SMALL)
    with h5py.File(root / "new.hdf5", "w") as whole:
        for n in range(12):
            data = np.frombuffer(jpeg(n), np.uint8)
            if kind == "vlen":
                entry = whole.create_dataset(f"ISIC_{n:07d}", (), h5py.vlen_dtype(np.uint8))
                entry[()] = data
            else:
                options = {"compression": "gzip"} if kind == "compressed" else {}
                whole.create_dataset(f"ISIC_{n:07d}", data=data, **options)
    (root / "new.hdf5").replace(root / "train-image.hdf5")
    again = opened(root)
    assert np.array_equal(inputs(again, again.ids, SMALL), wanted)


def test_a_forked_worker_opens_the_file_for_itself(root: Path) -> None:
    dataset = opened(root)
    before = np.asarray(dataset.photograph(2))
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(np.asarray(dataset.photograph(2)), before) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(np.asarray(dataset.photograph(2)), before)


def test_a_file_that_changes_is_read_again(root: Path) -> None:
    dataset = opened(root)
    before = inputs(dataset, dataset.ids, SMALL)
    time.sleep(0.01)
    pack(root / "train-image.hdf5", {f"ISIC_{n:07d}": jpeg(n + (n == 5)) for n in range(12)})
    after = inputs(later := opened(root), later.ids, SMALL)
    assert np.flatnonzero((before != after).any((1, 2, 3))).tolist() == [5]


def test_the_photographs_may_lie_in_a_folder(root: Path) -> None:
    wanted = opened(root)
    (root / "train-image.hdf5").unlink()
    with pytest.raises(UserError, match=r"neither train-image\.hdf5 nor train-image/image in it"):
        opened(root)
    (root / "train-image" / "image").mkdir(parents=True)
    for n, name in enumerate(wanted.ids):
        (root / "train-image" / "image" / f"{name}.jpg").write_bytes(jpeg(n))
    found = opened(root)
    assert (found.ids, found.hash) == (wanted.ids, wanted.hash)


@pytest.mark.parametrize("size", [0, 100, 3000])
def test_a_file_that_is_not_whole_is_one_line(root: Path, size: int) -> None:
    os.truncate(root / "train-image.hdf5", size)
    with pytest.raises(UserError, match="not a readable HDF5 file") as caught:
        opened(root)
    assert "\n" not in str(caught.value)


def test_without_h5py_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install 'mobilekd\[hdf5\]'"):
        opened(root)


def test_entries_that_are_no_encoded_photographs_are_told(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pixels, labels and folders of entries are none; bytes as numbers or as a text are."""
    import h5py

    with h5py.File(root / "train-image.hdf5", "w") as whole:
        whole["pixels"] = np.zeros((2, 8, 8, 3), np.uint8)
        whole["labels"] = np.arange(2)
        for n in range(12):
            whole[f"inside/ISIC_{n:07d}"] = np.void(jpeg(n))
    with pytest.raises(UserError, match=r"no photograph in it, and 3 entries of something else \("):
        opened(root)
    with h5py.File(root / "train-image.hdf5", "a") as whole:
        for n in range(12):
            data = np.frombuffer(jpeg(n), np.uint8)
            whole[f"ISIC_{n:07d}"] = data if n % 2 else np.bytes_(data.tobytes())
    dataset = opened(root)
    assert dataset.counts() == {"benign": 8, "malignant": 4}
    assert "3 entries (inside, labels, pixels) left out" in capsys.readouterr().err
    assert len(inputs(dataset, dataset.ids, SMALL)) == 12
