"""Which licences a student's run names: those of all that it learned from."""

from pathlib import Path

import pytest
from fixtures.experiment import experiment
from PIL import Image

from mobilekd import distill, teach
from mobilekd.data import load
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.runs import DEFAULT_REFERENCE, open_run
from mobilekd.formats.teacher import read_teacher
from mobilekd.training.licences import joined


def test_student_control_and_teacher_name_what_each_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(experiment(tmp_path))
    (tmp_path / "more").mkdir()
    for shade in (40, 90, 200):
        Image.new("RGB", (32, 32), (shade, 0, shade)).save(tmp_path / "more" / f"{shade}.png")
    said = [
        'data.licence="the clinic\'s own"',
        'unlabelled.folders=["more"]',
        'unlabelled.licence="CC BY 4.0 (elsewhere)"',
    ]
    teach("small.toml", overrides=said)
    made = distill("small.toml", overrides=said)
    assert made.info.data_licence == (
        "the clinic's own; unlabelled photographs: CC BY 4.0 (elsewhere)"
    )
    # it has no teacher that could answer them
    assert open_run(tmp_path / "runs" / "small-control").info.data_licence == "the clinic's own"
    assert read_teacher(made.folder / "teachers" / "0").data_licence == "the clinic's own"
    assert made.info.teachers[0].data_licence == "the clinic's own"


def test_each_licence_is_named_once() -> None:
    theirs = open_run(f"reference:{DEFAULT_REFERENCE}").info.data_licence
    assert theirs.startswith("CC BY-NC 4.0")
    own = "not stated: the user's own photographs"
    assert joined(own, [("starting weights (w)", theirs), ("teacher t", theirs)]) == (
        f"{own}; starting weights (w): {theirs}"
    )
    assert joined(theirs, [("teacher t", theirs), ("teacher u", "MIT")]) == (
        f"{theirs}; teacher u: MIT"
    )
    assert joined("CC0", [("teacher t", "")]) == "CC0; teacher t: not stated"
    assert joined("", []) == "not stated"


@pytest.mark.parametrize(
    ("photographs", "teacher"),
    [("CC BY-NC 4.0", "CC BY"), ("CC BY-NC-SA 4.0", "CC BY-NC"), ("the MIT hospital's", "MIT")],
)
def test_a_licence_within_another_one_s_name_is_its_own(photographs: str, teacher: str) -> None:
    line = joined(photographs, [("teacher t", teacher), ("teacher u", teacher)])
    assert line == f"{photographs}; teacher t: {teacher}"


def test_a_licence_belongs_to_each_source(tmp_path: Path) -> None:
    for source in ("one", "two"):
        for name in ("mel", "nv"):
            (tmp_path / source / name).mkdir(parents=True)
            shade = 10 * len(list(tmp_path.rglob("*.png")))
            Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / source / name / "a.png")
    tables = [
        {"kind": "folder", "root": str(tmp_path / "one"), "origin": "one", "licence": "MIT"},
        {"kind": "folder", "root": str(tmp_path / "two"), "origin": "two"},
    ]
    several = {"kind": "several", "sources": tables}
    assert load(DataTable.model_validate(several)).licence == (
        "MIT; not stated: the user's own photographs"
    )
    with pytest.raises(ValueError, match="licence belong to each source"):
        DataTable.model_validate({**several, "licence": "MIT"})
