"""A run knows its photographs by what they are, not by where they lie: its own data elsewhere are
its own, and what it may have seen never counts as unseen.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures.data import KEYS
from fixtures.run import make_run
from PIL import Image

from mobilekd.commands.evaluate import evaluate
from mobilekd.data import load, training_hashes
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.runs import Run, Split, open_run, references, write_run_info
from mobilekd.inference.predictor import own_split
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_tree, write_json


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    root = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(0)
    for key in KEYS:
        for n in range(12):
            path = root / "photographs" / key / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    data = {"kind": "folder", "root": str(root / "photographs")}
    run = make_run(root / "runs", steps=3, data=data)
    seen = training_hashes(load(run.recipe.data), parts(run))
    write_json(run.folder / "training_hashes.json", seen.model_dump(mode="json"))
    return run, root / "photographs"


def parts(run: Run) -> Split:
    assert run.split is not None
    return run.split


@pytest.fixture
def moved(trained: tuple[Run, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The run, whose recipe names a place that is not there any more, and where they lie now."""
    run, photographs = trained
    folder, now = tmp_path / "runs" / "tiny", tmp_path / "now"
    shutil.copytree(run.folder, folder)
    shutil.copytree(photographs, now)
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["data"]["root"] = str(tmp_path / "before")
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return folder, now


def test_photographs_that_moved_are_its_own(moved: tuple[Path, Path]) -> None:
    folder, now = moved
    with pytest.raises(UserError, match="--root says where they lie now"):
        evaluate(folder)
    split = parts(open_run(folder))
    for given in ({"root": now}, {"data": DataTable(kind="folder", root=str(now))}):
        document = evaluate(folder, **given)
        assert document["data"]["role"] == "test"
        assert document["data"]["photographs"] == len(split.test)
        assert document["data"]["left_out"]["overlap"] == len(split.train) + len(split.validation)
        assert document["data"]["leaky"] is False
        assert (folder / "evaluation" / "metrics.json").exists()


@pytest.mark.parametrize("hashes", [True, False])
def test_its_photographs_among_others_are_left_out(moved: tuple[Path, Path], hashes: bool) -> None:
    folder, now = moved
    Image.new("RGB", (32, 32), "brown").save(now / "mel" / "another.png")
    if not hashes:
        (folder / "training_hashes.json").unlink()
    split = parts(open_run(folder))
    data = evaluate(folder, root=now)["data"]
    seen = len(split.train) + len(split.validation)
    assert data["role"] == "all"
    assert data["photographs"] == len(split.test) + 1
    if hashes:
        assert (data["left_out"]["overlap"], data["leaky"]) == (seen, False)
    else:
        assert (data["left_out"]["overlap"], data["leaky"]) == (None, None)
        assert data["left_out"]["overlap_by_name"] == seen
        assert "overlap with training is unknown" in data["left_out"]["reason"]
    assert any(f"{seen} photographs (" in note for note in data["notes"])


def test_photographs_that_were_saved_again_are_not_called_unseen(
    moved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Resized, they have other pixels, and only class and name are as in training."""
    folder, now = moved
    for path in now.rglob("*.png"):
        Image.open(path).resize((30, 30)).save(path.with_suffix(".jpg"))
        path.unlink()
    split = parts(open_run(folder))
    seen = len(split.train) + len(split.validation)
    (folder / "split.json").unlink()  # as for an artifact, which carries hashes alone
    now = now.rename(now.with_name("resized"))
    data = evaluate(folder, data=DataTable(kind="folder", root=str(now)))["data"]
    assert (data["left_out"]["overlap"], data["left_out"]["called_alike"]) == (0, seen)
    assert data["leaky"] is None
    assert "so overlap with training is unknown" in capsys.readouterr().err


def test_the_split_of_another_run_of_the_name_is_not_taken(
    trained: tuple[Run, Path], tmp_path: Path
) -> None:
    run, _ = trained
    path = tmp_path / "runs" / "tiny" / "split.json"
    path.parent.mkdir(parents=True)
    split = parts(run)
    write_json(path, split.model_dump(mode="json"))
    assert own_split(path, run.info.split_hash) == split
    other = split.model_copy(update={"train": split.test, "test": split.train})
    write_json(path, other.model_dump(mode="json"))
    assert own_split(path, run.info.split_hash) is None


def test_a_reference_knows_its_photographs_without_their_list(
    moved: tuple[Path, Path], tmp_path: Path
) -> None:
    """Its split is made again; changed photographs of equal size are told by the pixels that its
    record kept.
    """
    folder, now = moved
    split = parts(open_run(folder))
    info = open_run(folder).info.model_copy(update={"pixels": split.pixels})
    (folder / "split.json").unlink()
    write_run_info(folder, info)
    assert evaluate(folder, root=now)["data"]["role"] == "test"
    name = now / f"{split.test[0]}.png"
    size = name.stat().st_size
    pixels = np.asarray(Image.open(name))[::-1]
    Image.fromarray(np.ascontiguousarray(pixels)).save(name)
    raw = name.read_bytes()
    if len(raw) < size:
        name.write_bytes(raw + bytes(size - len(raw)))
    assert name.stat().st_size == size
    assert evaluate(folder, root=now)["data"]["role"] == "all"


def test_every_shipped_student_keeps_what_its_photographs_show() -> None:
    for name in references():
        run = open_run(f"reference:{name}")
        assert set(run.info.pixels) == {"train", "validation", "test"}
        assert run.info.files["student.safetensors"]


def test_where_nothing_is_known_it_never_says_that_nothing_leaks(moved: tuple[Path, Path]) -> None:
    folder, now = moved
    (folder / "training_hashes.json").unlink()
    (folder / "split.json").unlink()
    Image.new("RGB", (32, 32), "brown").save(now / "mel" / "another.png")
    data = evaluate(folder, root=now)["data"]
    assert (data["left_out"]["overlap"], data["leaky"]) == (None, None)
    assert "nothing can be compared" in data["left_out"]["reason"]


def test_a_whole_class_left_out_is_told(
    trained: tuple[Run, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(1)
    for key, count in (("Melanoma", 30), ("nv", 20), ("bcc", 10)):
        for n in range(count):
            (tmp_path / "data" / key).mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / key / f"{n}.png")
    table = DataTable(kind="folder", root=str(tmp_path / "data"))
    data = evaluate(trained[0].folder, data=table, output=tmp_path / "out")["data"]
    told = "30 photographs (Melanoma/0, Melanoma/1, "
    assert told in capsys.readouterr().err
    assert any(told in note and "--map Melanoma=mel" in note for note in data["notes"])
    assert data["left_out"]["unmapped"] == {"Melanoma": 30}
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["data"] == data


def test_a_refusal_leaves_the_run_as_it_was(moved: tuple[Path, Path], tmp_path: Path) -> None:
    folder, now = moved
    for path in now.rglob("*.png"):
        Image.new("RGB", (32, 32), "black").save(path)
    before = sha256_tree(tmp_path)
    for given in ({}, {"root": now}, {"data": DataTable(kind="folder", root=str(now / "mel"))}):
        with pytest.raises(UserError):
            evaluate(folder, **given)
        assert sha256_tree(tmp_path) == before
