"""Rows of the demo's seeds are made one at a time, so each says which program trained it."""

from fixtures.scripts import script

from mobilekd.formats.runs import open_run, references


def test_a_row_names_the_program_that_trained_it(checkout):
    seeds = script(checkout / "benchmarks/demo_seeds.py")
    info = open_run(f"reference:{references()[0]}").info
    judged = lambda value: {"metrics": {"balanced_accuracy": {"value": value}}}  # noqa: E731
    row = seeds.row_of(3, {**judged(0.61234), "teacher": judged(0.7)}, judged(0.6), info)
    assert {name: row[name] for name in ("seed", "student", "control", "teacher", "gain")} == {
        "seed": 3,
        "student": 0.6123,
        "control": 0.6,
        "teacher": 0.7,
        "gain": 0.0123,
    }
    assert (row["commit"], row["versions"]) == (info.commit, info.versions)
