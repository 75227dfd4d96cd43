"""What a run says of itself."""

import dataclasses

import pytest
from fixtures.run import run_folder

from mobilekd.formats.runs import TeacherSummary, open_run, references


@pytest.mark.parametrize("name", references())
def test_a_shipped_student_names_every_network_that_taught_it(name: str):
    run = open_run(f"reference:{name}")
    assert len(run.info.teachers) == len(run.recipe.teachers) > 0
    assert all(table.model in run.title for table in run.recipe.teachers)
    assert f"\n{run.title}. " in (run.folder / "README.md").read_text(encoding="utf-8")


def test_titles_follow_what_taught_the_run_and_not_its_recipe():
    run = open_run(run_folder())
    assert run.title.endswith(" without a teacher")
    teachers = tuple(
        TeacherSummary(model=name, weights_sha256="", validation={}, seconds=0.0) for name in "abc"
    )
    taught = dataclasses.replace(run, info=run.info.model_copy(update={"teachers": teachers}))
    assert (
        taught.title
        == f"{run.recipe.student.model} x{run.recipe.student.width:g} on synthetic, taught by a,"
        " b, c"
    )
