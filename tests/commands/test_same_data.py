"""Evaluate, export, verify and a resumed run ask one question, "is this still the data it was
trained on?", and get one answer.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures.data import KEYS
from fixtures.run import make_run
from PIL import Image

from mobilekd.commands.distill import distill
from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.export import export
from mobilekd.commands.verify import verify
from mobilekd.data import load
from mobilekd.formats.integrity import write_sealed
from mobilekd.formats.runs import Run, open_run
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_tree
from mobilekd.training.state import CHECKPOINT


def noise(path: Path, seed: int) -> None:
    """A bitmap of noise: every one has the same number of bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run on bitmaps of noise, and its artifact, which keeps its test photographs' decisions."""
    root = tmp_path_factory.mktemp("bitmaps")
    for c, key in enumerate(KEYS):
        for n in range(12):
            noise(root / "photographs" / key / f"{n}.bmp", 100 * c + n)
    data = {"kind": "folder", "root": str(root / "photographs")}
    run = make_run(root / "runs", data=data)
    return run, export(run.folder, output=root / "artifact").folder


@pytest.fixture
def swapped(trained: tuple[Run, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copies of the run and the artifact, and test photographs of the same names and sizes that
    show something else.
    """
    run, artifact = trained
    root = tmp_path / "photographs"
    assert run.recipe.data.root is not None
    shutil.copytree(run.recipe.data.root, root)
    folder, split = tmp_path / "runs" / run.folder.name, run.split
    shutil.copytree(run.folder, folder)
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["data"]["root"] = str(root)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    copied = tmp_path / "artifact"
    shutil.copytree(artifact, copied)
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["provenance"]["recipe"]["data"]["root"] = str(root)
    write_sealed(copied / "manifest.json", manifest)
    assert split is not None
    for n, name in enumerate(split.test):
        noise(root / f"{name}.bmp", 5000 + n)
    assert load(run.recipe.data.model_copy(update={"root": str(root)})).hash == split.data_hash
    return folder, copied


CHANGED = "photographs of test show something else"


def test_evaluate_refuses_photographs_that_changed_behind_their_names(
    swapped: tuple[Path, Path],
) -> None:
    with pytest.raises(UserError, match=CHANGED):
        evaluate(swapped[0])
    assert not (swapped[0] / "evaluation").exists()


def test_export_refuses_them(swapped: tuple[Path, Path], tmp_path: Path) -> None:
    before = sha256_tree(tmp_path)
    with pytest.raises(UserError, match=CHANGED):
        export(swapped[0], output=tmp_path / "new")
    for refused in ({"precision": "int3"}, {"overrides": ["train.epochs=1"]}, {"verify": ["moon"]}):
        with pytest.raises(UserError):
            export(swapped[0], output=tmp_path / "new", **refused)
    assert sha256_tree(tmp_path) == before, "nothing is written before all is checked"


def test_verify_does_not_judge_by_them(
    trained: tuple[Run, Path], swapped: tuple[Path, Path], tmp_path: Path
) -> None:
    checks = {
        check.name: check for check in verify(trained[1], runs=trained[0].folder.parent).checks
    }
    assert checks["decisions"].passed is True
    before = sha256_tree(tmp_path)
    checks = {check.name: check for check in verify(swapped[1], runs=swapped[0].parent).checks}
    assert checks["decisions"].passed is None
    with pytest.raises(UserError):
        verify(swapped[0])
    assert sha256_tree(tmp_path) == before, "verify writes nothing, refused or not"
    assert CHANGED in checks["decisions"].detail


def test_a_resumed_run_refuses_them(swapped: tuple[Path, Path]) -> None:
    folder = swapped[0]
    recipe = open_run(folder).recipe
    (folder / "run.json").unlink()
    (folder / CHECKPOINT).write_bytes(b"")
    with pytest.raises(UserError, match=CHANGED):
        distill(recipe, folder.parent, resume=True)
