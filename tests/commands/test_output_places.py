"""Where a result cannot be written, each command says so before it works, and what it did not make
it does not replace.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fixtures.run import exported, run_folder
from PIL import Image

from mobilekd.cli import main
from mobilekd.commands import apk as packing
from mobilekd.commands import calibrate as fitting
from mobilekd.commands import compare as comparing
from mobilekd.commands import evaluate as judging
from mobilekd.commands import export as lowering
from mobilekd.commands import inspect as looking
from mobilekd.commands import report as reporting

#: Each command, where its work begins, and its option for the place.
COMMANDS = {
    "report": (reporting, "collect", ["{run}", "--output", "{place}.html"]),
    "evaluate": (judging, "open_predictor", ["{run}", "--output", "{place}"]),
    "compare": (comparing, "open_run", ["{run}", "--output", "{place}"]),
    "export": (
        *(lowering, "root_of"),
        ["{run}", "--guard-photographs", "{root}", "--output", "{place}"],
    ),
    "inspect": (looking, "layer_rows", ["{file}", "--picture", "{place}.svg"]),
    "apk": (packing, "toolchain", ["{file}", "--output", "{place}.apk"]),
    "calibrate": (
        *(fitting, "other_data"),
        ["{file}", "--data", "folder", "--root", "{root}", "--output", "{place}"],
    ),
}


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, Path], str]:
    """Runs a command whose result is to lie at a place, and returns its one line."""

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("the work was begun")

    def run(command: str, place: Path) -> str:
        module, first, words = COMMANDS[command]
        monkeypatch.setattr(module, first, begun)
        paths = {
            "run": run_folder(),
            "file": exported("fp32"),
            "root": tmp_path,
            "place": place,
        }
        assert main([command, *(word.format(**paths) for word in words)]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_in_the_way_is_told_before_the_work(
    command: str, tmp_path: Path, refused: Callable[[str, Path], str]
) -> None:
    (tmp_path / "file").write_text("x")
    said = refused(command, tmp_path / "file" / "new" / "result")
    option = "--picture" if command == "inspect" else "--output"
    assert said.startswith(f"mobilekd {command}: {option} {tmp_path}/file/new/result")
    assert f"{tmp_path}/file cannot be written (Not a directory); a file is where a folder" in said
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("command", ["report", "inspect", "apk"])
def test_a_folder_in_the_way_is_told_before_the_work(
    command: str, tmp_path: Path, refused: Callable[[str, Path], str]
) -> None:
    for ending in ("html", "svg", "apk"):
        (tmp_path / f"result.{ending}").mkdir()
    said = refused(command, tmp_path / "result")
    assert "cannot be written (Is a directory); a folder is where a file should be" in said


@pytest.mark.parametrize("command", ["evaluate", "compare", "export", "calibrate"])
def test_a_folder_of_other_things_stays(
    command: str, tmp_path: Path, refused: Callable[[str, Path], str]
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(mine / "photograph.png")
    said = refused(command, mine)
    assert str(mine) in said
    assert "remove it" in said or "move it away" in said or "name a new folder" in said
    assert [path.name for path in mine.iterdir()] == ["photograph.png"]
