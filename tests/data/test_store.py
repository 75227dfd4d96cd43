"""Decoded photographs wait in a store: bit for bit what decoding gives, whatever happens to it."""

import errno
import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fixtures.data import make_folder, photograph
from fixtures.decoded import count_decoded

from mobilekd.data import (
    Dataset,
    check_photographs,
    inputs,
    load,
    photograph_sizes,
    pictures,
    store,
)
from mobilekd.data.joined_pictures import JoinedPictures, first
from mobilekd.data.reading import PART
from mobilekd.data.stored_pictures import StoredPictures
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.support.errors import UserError
from mobilekd.training.storage import Storage

SMALL, WIDE = Preprocess(width=12, height=8), Preprocess(width=30, height=9)
NARROW = Storage(Preprocess(width=1, height=1), 20, 10, narrow=True)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.PLACE, str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = make_folder(tmp_path / "data", each=8)
    photograph(folder / "benign" / "IMG_0.png", 77, size=(20, 50))
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return count_decoded(monkeypatch)


def opened(root: Path) -> Dataset:
    return load(DataTable(kind="folder", root=str(root)))


def plainly(dataset: Dataset, policy: Preprocess | Storage) -> np.ndarray:
    """What decoding every photograph gives."""
    each = [policy.apply(dataset.photograph(i)) for i in range(len(dataset))]
    return np.stack(each).transpose(0, 3, 1, 2)


def blocks(place: Path) -> list[Path]:
    return sorted(path for path in place.glob("*/*.npy"))


@pytest.mark.parametrize("policy", [SMALL, WIDE, NARROW])
def test_pixels_are_those_of_decoding(root: Path, policy: Preprocess | Storage) -> None:
    dataset = opened(root)
    wanted = plainly(dataset, policy)
    for _ in range(2):
        found = pictures(dataset, dataset.ids, policy)
        assert isinstance(found, StoredPictures)
        assert found.shape == wanted.shape
        assert found.nbytes == wanted.nbytes
        assert np.array_equal(inputs(dataset, dataset.ids, policy), wanted)
        rows = np.array([3, 0, 3, 15])
        assert np.array_equal(found[rows], wanted[rows])
        assert np.array_equal(found[2:5], wanted[2:5])
        assert np.array_equal(found[-1], wanted[-1])
        assert np.array_equal(np.stack(list(found)), wanted)
        assert np.array_equal(first(found, 5)[1:3], wanted[1:3])
        joined = JoinedPictures([found, wanted])
        assert np.array_equal(joined[np.array([17, 2, 16])], wanted[[1, 2, 0]])


def test_blocks_are_numpy_files(root: Path, place: Path) -> None:
    dataset = opened(root)
    inputs(dataset, dataset.ids, SMALL)
    (block,) = blocks(place)
    assert np.load(block, mmap_mode="r").shape == (16, 3, 8, 12)


def test_whoever_decodes_makes_every_size_that_will_be_asked_for(
    root: Path, decoded: list[str]
) -> None:
    dataset = opened(root)
    dataset.policies.extend([SMALL, NARROW])
    hashes = check_photographs(dataset)
    inputs(dataset, dataset.ids, SMALL)
    inputs(dataset, dataset.ids[:7], NARROW)
    assert sorted(decoded) == sorted(dataset.ids)
    decoded.clear()
    later = opened(root)
    assert check_photographs(later) == hashes
    inputs(later, later.ids, SMALL)
    inputs(later, later.ids, Preprocess(12, 8, mean=(0.1, 0.1, 0.1), std=(1, 1, 1)))
    assert decoded == []


def test_photographs_are_found_by_content_wherever_they_lie(
    root: Path, tmp_path: Path, decoded: list[str]
) -> None:
    dataset = opened(root)
    wanted = inputs(dataset, dataset.ids, SMALL)
    hashes = check_photographs(dataset)
    decoded.clear()
    for path in sorted(root.rglob("*.png")):
        twin = tmp_path / "twins" / path.parent.name / f"x{path.name}"
        twin.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, twin)
    twins = opened(tmp_path / "twins")
    assert np.array_equal(inputs(twins, twins.ids, SMALL), wanted)
    assert list(check_photographs(twins).values()) == list(hashes.values())
    assert decoded == []


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << (at % 8)
    path.write_bytes(data)


def test_a_flipped_byte_never_gives_a_wrong_pixel(
    root: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In any file of the store, before it is opened and while it is."""
    dataset = opened(root)
    wanted = inputs(dataset, dataset.ids, SMALL)
    hashes = check_photographs(dataset)
    draw = random.Random(0)
    for trial in range(16):
        files = sorted(p for p in place.rglob("*") if p.is_file() and p.stat().st_size)
        while_open = trial % 2 == 0
        dataset = opened(root)
        found = pictures(dataset, dataset.ids, SMALL) if while_open else None
        victim = draw.choice(files)
        flip(victim, draw.randrange(victim.stat().st_size))
        found = pictures(dataset, dataset.ids, SMALL) if found is None else found
        assert np.array_equal(found[:], wanted), (trial, victim)
        assert check_photographs(dataset) == hashes, (trial, victim)
    assert "in the store not as written there" in capsys.readouterr().err


@pytest.mark.parametrize("harm", ["cut short", "block gone", "list gone", "all gone"])
def test_what_vanishes_under_a_reader_is_read_again(root: Path, place: Path, harm: str) -> None:
    dataset = opened(root)
    wanted = plainly(dataset, SMALL)
    found = pictures(dataset, dataset.ids, SMALL)
    (block,) = blocks(place)
    if harm == "cut short":
        os.truncate(block, block.stat().st_size // 2)
    elif harm == "block gone":
        block.unlink()
    elif harm == "list gone":
        block.with_suffix(".json").unlink()
    else:
        store.empty(store.Store(place))
    assert np.array_equal(found[:], wanted)
    assert np.array_equal(found[np.array([4])], wanted[[4]])


def test_a_disk_that_is_full_costs_the_store_and_nothing_else(
    root: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At every write in turn."""
    dataset = opened(root)
    wanted, hashes = plainly(dataset, SMALL), check_photographs(opened(root))
    left = [0]
    write = os.pwrite

    def refuse(handle: int, data: object, at: int) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        return write(handle, data, at)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "pwrite", refuse)
    for allowed in (0, 1, 9, 16):
        left[0] = allowed
        own = place.with_name(f"store-{allowed}")
        monkeypatch.setenv(store.PLACE, str(own))
        dataset = opened(root)
        assert np.array_equal(inputs(dataset, dataset.ids, SMALL), wanted)
        assert check_photographs(dataset) == hashes
        assert blocks(own) == []
        said = capsys.readouterr().err
        assert said.count("cannot be written (No space left on device)") == 1


def test_what_the_store_had_no_room_for_is_held_in_memory(
    root: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    dataset = opened(root)
    half = np.arange(0, 16, 2)
    wanted = plainly(dataset, SMALL)
    inputs(dataset, [dataset.ids[i] for i in half], SMALL)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", refuse)
    found = pictures(dataset, dataset.ids, SMALL)
    decoded.clear()
    assert np.array_equal(found[:], wanted)
    assert np.array_equal(found[np.array([3, 2, 9])], wanted[[3, 2, 9]])
    assert decoded == []


def test_a_place_that_may_only_be_read_is_read(
    root: Path, place: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = opened(root)
    wanted = inputs(dataset, dataset.ids, SMALL)
    decoded.clear()

    def refuse(*_: object, **__: object) -> Iterator[None]:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(store.Store, "locked", refuse)
    store.store_at.cache_clear()
    later = opened(root)
    assert np.array_equal(inputs(later, later.ids, SMALL), wanted)
    assert decoded == []
    assert np.array_equal(inputs(later, later.ids, WIDE), plainly(later, WIDE))
    (block,) = blocks(place)
    flip(block, 200)
    assert np.array_equal(inputs(later, later.ids, SMALL), wanted)
    store.store_at.cache_clear()


def test_the_store_stays_below_its_bound(
    root: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = opened(root)
    inputs(dataset, dataset.ids, SMALL)
    one = store.describe(store.Store(place))[1]
    monkeypatch.setenv(store.BOUND, str(1.5 * one / 1e9))
    store.store_at.cache_clear()  # another process, which does not need those
    other = Preprocess(width=8, height=12)
    wanted = plainly(dataset, other)
    assert np.array_equal(inputs(opened(root), dataset.ids, other), wanted)
    count, taken, limit = store.describe(store.Store(place))
    assert (count, taken <= limit) == (16, True)
    assert np.array_equal(inputs(opened(root), dataset.ids, WIDE), plainly(dataset, WIDE))
    assert "its bound is reached" in capsys.readouterr().err
    assert store.describe(store.Store(place))[1] <= limit
    store.store_at.cache_clear()


@pytest.mark.parametrize("word", ["off", "0"])
def test_it_can_be_turned_off(
    root: Path, place: Path, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.PLACE if word == "off" else store.BOUND, word)
    dataset = opened(root)
    assert isinstance(pictures(dataset, dataset.ids, SMALL), np.ndarray)
    assert not place.exists()


def test_a_bound_that_is_no_number_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.BOUND, "many")
    with pytest.raises(UserError, match="MOBILEKD_STORE_GB=many: not a number"):
        inputs(dataset := opened(root), dataset.ids, SMALL)


def test_photographs_that_fit_nowhere_are_decoded_as_they_are_needed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.PLACE, "off")
    monkeypatch.setattr("mobilekd.data.stored_pictures.memory_bytes", lambda: 1000)
    dataset = opened(root)
    found = pictures(dataset, dataset.ids, SMALL)
    assert isinstance(found, StoredPictures)
    assert np.array_equal(found[np.array([5, 1])], plainly(dataset, SMALL)[[5, 1]])


def in_a_child(root: Path, point: int | None = None) -> int:
    """Build in a forked child, killed before its change of files number ``point``; its process."""
    child = os.fork()
    if child:
        return child
    count = [0]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o103
        if writes or event in ("os.rename", "os.remove", "os.mkdir"):
            if count[0] == point:
                os.kill(os.getpid(), signal.SIGKILL)
            count[0] += 1

    sys.addaudithook(hook)
    code = 1
    try:
        dataset = opened(root)
        inputs(dataset, dataset.ids, SMALL)
        code = 0
    finally:
        os._exit(code)


def killed_at(root: Path, own: Path, point: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the build was killed; what it left is used, and must be right and whole after."""
    monkeypatch.setenv(store.PLACE, str(own))
    wanted = plainly(opened(root), SMALL)
    _, status = os.waitpid(in_a_child(root, point), 0)
    whole = {path.with_suffix(".npy") for path in own.glob("*/*.json")}
    dataset = opened(root)
    assert np.array_equal(inputs(dataset, dataset.ids, SMALL), wanted), point
    assert whole <= set(blocks(own)), "what was whole was not made again"
    assert {path.with_suffix(".json") for path in blocks(own)} == set(own.glob("*/*.json"))
    return os.WIFSIGNALED(status)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilekd.data.reading.MOST", 6)
    monkeypatch.setattr("mobilekd.data.reading.FEWEST", 6)


@pytest.mark.usefixtures("small_parts")
def test_a_kill_leaves_a_store_that_is_right(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for point in (1, 6, 11):
        assert killed_at(root, tmp_path / f"store-{point}", point, monkeypatch)


@pytest.mark.long
@pytest.mark.usefixtures("small_parts")
def test_a_kill_at_any_point_leaves_a_store_that_is_right(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before every change of the file system in turn, until it ends before the kill."""
    point = 0
    while killed_at(root, tmp_path / f"store-{point}", point, monkeypatch):
        point += 1
    assert point >= 20


@pytest.mark.usefixtures("small_parts")
def test_two_processes_share_the_work(root: Path, place: Path) -> None:
    both = [in_a_child(root), in_a_child(root)]
    assert [os.waitpid(child, 0)[1] for child in both] == [0, 0]
    listed = [
        row[0]
        for path in place.glob("*/*.json")
        for row in json.loads(path.read_text())["photographs"]
    ]
    assert len(listed) == len(set(listed)) == 16, "each was decoded by one of them"


def test_a_broken_photograph_costs_its_neighbours_nothing(
    root: Path, place: Path, decoded: list[str]
) -> None:
    dataset = opened(root)
    assert dataset.paths is not None
    Path(dataset.paths[2]).write_bytes(b"no photograph")
    with pytest.raises(UserError, match=r"1 unreadable photograph \(benign/IMG_2\)"):
        inputs(dataset, dataset.ids, SMALL)
    decoded.clear()
    sound = [name for name in dataset.ids if name != "benign/IMG_2"]
    inputs(opened(root), sound, SMALL)
    assert decoded == []


def test_a_file_that_changes_is_read_again(root: Path, decoded: list[str]) -> None:
    dataset = opened(root)
    before = inputs(dataset, dataset.ids, SMALL)
    assert dataset.paths is not None
    photograph(Path(dataset.paths[3]), 4711)
    decoded.clear()
    after = inputs(dataset, dataset.ids, SMALL)
    assert decoded == ["benign/IMG_3"]
    assert np.flatnonzero((before != after).any((1, 2, 3))).tolist() == [3]
    assert PART >= 1 << 20


def test_sizes_are_known_from_an_earlier_command(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = opened(root)
    wanted = photograph_sizes(dataset, dataset.ids)
    check_photographs(dataset)

    def refuse(self: Dataset, i: int) -> tuple[int, int]:
        raise AssertionError(f"{self.ids[i]} was opened")

    monkeypatch.setattr(Dataset, "size", refuse)
    later = opened(root)
    assert photograph_sizes(later, later.ids) == wanted


def test_a_relative_place_is_that_of_its_working_folder(
    root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = opened(root)
    check_photographs(dataset)
    decoded.clear()
    for folder, place in ((root.parent, root.name), (root, "."), (root / "benign", "..")):
        monkeypatch.chdir(folder)
        near = opened(Path(place))
        assert list(check_photographs(near)) == list(dataset.ids)
    assert decoded == []
    twin = root.parent / "other" / "data"
    for n, path in enumerate(sorted(root.rglob("*.png"))):
        photograph(twin / path.relative_to(root), 900 + n)
    monkeypatch.chdir(twin.parent)
    assert check_photographs(opened(Path("data"))) != check_photographs(dataset)
