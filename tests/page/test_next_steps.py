"""Every command that the page's "What next" prints is one that the command line takes."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.manifest import manifest_of

from mobilekd.backends import get, names
from mobilekd.cli import commands
from mobilekd.formats.artifact import Artifact
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.runs import Run, on_command_line, open_run, references
from mobilekd.page.blocks import Points
from mobilekd.page.collect import collect
from mobilekd.page.inputs import Inputs, TrainedRun
from mobilekd.page.next_steps import section
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json, write_json

REFERENCE = f"reference:{references()[0]}"

#: What follows a command in a sentence.
AFTER = r"(?= gives| trains| makes| measures| puts| goes|[;,]|\.?$)"


def steps(*runs: Run, artifacts: tuple[Artifact, ...] = ()) -> dict[str, str]:
    trained = tuple(TrainedRun(run, (), None) for run in runs)
    found = section(Inputs(runs=trained, artifacts=artifacts))
    assert found is not None
    (points,) = found.blocks
    assert isinstance(points, Points)
    return dict(points.items)


def parsed(sentence: str) -> list[list[str]]:
    """The commands of a sentence, each taken by the grammar, as words."""
    given = [shlex.split(line) for line in re.findall(rf"mobilekd (.+?){AFTER}", sentence)]
    for words in given:
        commands().parse(words)
    return given


def run_at(folder: Path, **data: object) -> Run:
    """A shipped student as a run of one's own in ``folder``, without a control."""
    shipped = open_run(REFERENCE)
    shutil.copytree(shipped.folder, folder)
    recipe = read_json(folder / "recipe.json", "recipe")
    if data:
        recipe |= {"data": DataTable(**data).model_dump(mode="json")}
        write_json(folder / "recipe.json", recipe)
    info = shipped.info.model_copy(update={"control": None, "name": folder.name})
    return Run(folder, info)


def test_a_reference_is_named_as_one_and_has_no_control_to_train() -> None:
    run = open_run(REFERENCE)
    alone = replace(run, info=run.info.model_copy(update={"control": None}))
    found = steps(alone)
    assert "Train its control" not in found
    assert parsed(found["Judge it"]) == [["evaluate", REFERENCE]]
    assert parsed(found["Make the file"]) == [["export", REFERENCE, "--precision", "int8"]]


def test_a_run_is_found_wherever_it_lies(tmp_path: Path) -> None:
    run = run_at(tmp_path / "their runs" / "mole")
    found = steps(run)
    assert parsed(found["Judge it"]) == [["evaluate", str(run.folder)]]
    assert parsed(found["Train its control"]) == [
        ["distill", str(run.folder), "--runs", str(run.folder.parent)]
    ]
    # of another name, distill would train the student anew
    assert "Train its control" not in steps(
        replace(run, info=run.info.model_copy(update={"name": "another"}))
    )
    usual = replace(run, folder=Path("runs/mole"))
    assert on_command_line(usual.folder) == "mole"
    assert on_command_line(run.folder) == f"mole --runs '{run.folder.parent}'"


def test_only_a_file_for_android_goes_onto_a_phone_there(tmp_path: Path) -> None:
    run = run_at(tmp_path / "mole")
    made = Artifact(Path("artifacts/my mole"), manifest_of(run))
    given = parsed(steps(run, artifacts=(made,))["Measure on a phone"])
    assert given == [
        ["bench", "artifacts/my mole", "--device", "adb"],
        ["apk", "artifacts/my mole", "--install"],
    ]
    others = [
        Artifact(Path(f"artifacts/{name}"), manifest_of(run, backend=name)) for name in names()
    ]
    given = parsed(steps(run, artifacts=tuple(others))["Measure on a phone"])
    here = [f"artifacts/{name}" for name in names() if get(name).processor]
    assert {"artifacts/onnx", "artifacts/litert", "artifacts/xnnpack"} < {*here}
    assert given == [
        ["bench", *here, "--device", "adb"],
        ["apk", "artifacts/portable", "--install"],
    ]
    again = replace(made, folder=Path("artifacts/again"))
    given = parsed(steps(run, artifacts=(made, again))["Measure on a phone"])
    assert given[0] == ["bench", "artifacts/my mole", "--device", "adb"], "one of each title"
    (alone,) = parsed(steps(run, artifacts=(others[names().index("onnx")],))["Measure on a phone"])
    assert alone == ["bench", "artifacts/onnx", "--device", "adb"], "the app cannot run it"
    for name in ("coreai", "coreml", "coreml-pte", "qnn", "vulkan"):
        other = others[names().index(name)]
        assert "Measure on a phone" not in steps(run, artifacts=(other,)), name


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("folder", "a table image,lesion_id (data.metadata) with split.by = lesion"),
        ("csv", "a column lesion_id (data.columns names it) with split.by = lesion"),
        ("ham10000", "too good; split.by = lesion"),
    ],
)
def test_lesions_are_told_by_what_the_data_have(kind: str, told: str, tmp_path: Path) -> None:
    run = run_at(tmp_path / "mole", kind=kind)
    split_by = "photograph, no lesion ids"
    leaky = replace(run, info=run.info.model_copy(update={"split_by": split_by}))
    assert told in steps(leaky)["Say which photographs show one lesion"]
    by_choice = replace(run, info=run.info.model_copy(update={"split_by": "photograph"}))
    assert "data." not in steps(by_choice)["Say which photographs show one lesion"]


def test_an_unfinished_run_is_gone_on_with_where_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mole"
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").touch()
    wanted = ["distill", "mole", "--runs", str(folder.parent), "--resume"]
    for ask in (lambda: collect([folder.parent]), lambda: open_run(folder)):
        with pytest.raises(UserError) as refused:
            ask()
        assert parsed(str(refused.value)) == [wanted]
