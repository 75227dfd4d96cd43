"""Before a training: too few steps are said. After it: chance, control, teachers, and what to
change first.
"""

from dataclasses import replace

import pytest
from fixtures.run import make_recipe, run_folder

from mobilekd.formats.interval import Interval
from mobilekd.formats.recipe_file import with_overrides
from mobilekd.formats.runs import DEFAULT_REFERENCE, Run, TeacherSummary, open_run
from mobilekd.training.summary import count_steps, few_steps, summarise


def of(value: float, low: float, high: float) -> dict[str, Interval]:
    return {"balanced_accuracy": Interval(value=value, low=low, high=high)}


def finished(validation: dict[str, Interval], **facts: object) -> Run:
    run = open_run(run_folder())
    return replace(run, info=run.info.model_copy(update={"validation": validation, **facts}))


@pytest.mark.parametrize(("weights", "epochs", "said"), [("", 99, True), ("", 100, False)])
def test_few_steps_from_random_weights_are_said_with_the_way_out(weights, epochs, said):
    settings = [f"train.epochs={epochs}", "train.batch_size=70", f"student.weights='{weights}'"]
    recipe = with_overrides(make_recipe("mine"), settings)
    assert count_steps(recipe, 210) == 3 * epochs
    words = few_steps(recipe, 210, 3)
    assert (words is not None) is said
    if words:
        assert "297 in all (99 epochs of 210 photographs in batches of 70)" in words
        assert "chance (0.333)" in words
        assert f"reference:{DEFAULT_REFERENCE}" in words


def test_an_own_network_is_not_sent_to_anothers_weights():
    recipe = with_overrides(make_recipe("mine"), ["train.epochs=1", "train.batch_size=70"])
    own = recipe.model_copy(
        update={"student": recipe.student.model_copy(update={"model": "my_student.py:tiny"})}
    )
    words = few_steps(own, 210, 3)
    assert words is not None
    assert words.endswith("to leave chance (0.333); raise train.epochs")


def test_weights_that_know_photographs_need_fewer_steps():
    settings = ["student.weights='reference:any'", "train.epochs=30", "train.batch_size=70"]
    assert few_steps(with_overrides(make_recipe("mine"), settings), 210, 3) is None


def test_a_student_at_chance_is_not_sent_to_export():
    summary = summarise(finished(of(0.2, 0.1, 0.3)))
    assert not summary.better_than_chance
    assert "chance is 0.143: not shown to be better than chance" in summary.sentences[0]
    assert "start from a shipped student" in summary.sentences[-1]


def test_a_student_is_set_beside_its_teacher():
    teacher = TeacherSummary(
        model="big", weights_sha256="", validation=of(0.9, 0.8, 1.0), seconds=1.0
    )
    summary = summarise(finished(of(0.6, 0.5, 0.7), teachers=(teacher,)))
    assert summary.better_than_chance
    assert "its best teacher has 0.900: -0.300" in summary.sentences
    assert "raise train.epochs" in summary.sentences[-1]


def test_a_doubt_stands_beside_the_figure():
    doubt = "reference:x was trained on 96 photographs of 121 that choose and judge here"
    summary = summarise(finished(of(0.6, 0.5, 0.7), doubts=(doubt,)))
    assert doubt in summary.sentences


def test_runs_from_before_say_nothing():
    assert summarise(finished({})).sentences == ()
