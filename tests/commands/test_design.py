"""``design``: from a budget to a recipe on this machine, and every refusal before anything is
measured. A few chains and one small family stand for all of them, measured for real.
"""

import json
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from mobilekd.cli import main
from mobilekd.commands.design import Design, design
from mobilekd.designing import chains, families, files, ranking
from mobilekd.designing.proposal import recipe_text
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.support.errors import UserError

#: A stem, products, depthwise convolutions and a residual, of the smallest sizes.
FEW = ("patches onto 16 channels of 64", "3 pointwise by 2 and back, 144 channels at 4")
FEW += ("6 depthwise 3 x 3, 160 channels at 4", "4 residual depthwise, 144 channels at 8")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """What is measured, made small; the table that a first call leaves."""
    with pytest.MonkeyPatch.context() as patch:
        plans = tuple(plan for plan in chains.PLANS if plan.name in FEW)
        assert len(plans) == len(FEW)
        patch.setattr(chains, "PLANS", plans)
        patch.setattr(families, "WIDTHS", (0.1, 0.2, 0.3))
        patch.setattr(families, "DEPTHS", (0.5,))
        patch.setattr(files, "ROUNDS", 3)
        patch.setattr(files, "SAMPLES", 20)
        yield tmp_path_factory.mktemp("design") / "operators.json"


@pytest.fixture(scope="module")
def proposed(small) -> Design:
    output = small.with_name("wanted.toml")
    return design(5.0, sides=(32, 64), candidates=2, table=small, output=output)


def test_what_is_proposed_was_measured_within_the_budget_and_becomes_a_recipe(proposed, small):
    best = proposed.proposals[0]
    assert best.meets
    assert 0 < best.measured_ms <= best.median_ms
    assert best.share == pytest.approx(best.measured_ms / 5.0)
    recipe = load_recipe(str(proposed.recipe))
    assert recipe.name == "wanted"
    assert (recipe.student.model, recipe.student.width) == ("lesionnet", best.width)
    assert recipe.student.adapt == best.adapt == ("depth:0.5",)
    assert (recipe.preprocess.width, recipe.preprocess.height) == (best.side, best.side)
    assert recipe.data.kind == "ham10000"
    assert proposed.next == (f"mobilekd distill {proposed.recipe}",)
    kept = json.loads(small.read_text())
    assert {row["name"] for row in kept["networks"]} == {one.student for one in proposed.proposals}
    assert proposed.error.files == len(kept["networks"])
    assert proposed.error.median <= proposed.error.worst


def test_a_second_call_takes_the_kept_table_and_refuses_what_nothing_meets(
    proposed, small, capsys, monkeypatch
):
    assert proposed
    before = json.loads(small.read_text())["chains"]
    output = small.with_name("impossible.toml")
    words = ["--latency", "0.001", "--sides", "32", "--table", str(small), "--json"]
    assert main(["design", *words, "--output", str(output)]) == 2
    captured = capsys.readouterr()
    line = json.loads(captured.out)["error"]
    assert "the fastest is lesionnet x0.1 depth:0.5 at 32 with 0." in line
    assert "chains of operators" not in captured.err
    assert not output.exists()
    assert json.loads(small.read_text())["chains"] == before


def test_with_a_recipe_at_hand_validation_ranks(proposed, small, tmp_path, monkeypatch):
    """Both sizes are trained for an epoch, without a control, and the better one is the recipe."""
    assert proposed
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(
        'base = "demo"\nname = "tiny"\nteachers = []\n'
        '[data]\ncount = 120\n[train]\nviews = 1\n[[losses]]\nname = "cross_entropy"\n',
        "utf-8",
    )
    wanted = {"sides": (32, 64), "candidates": 2, "epochs": 1, "table": small}
    found = design(5.0, base="tiny.toml", output=Path("new.toml"), **wanted)
    scores = [one.balanced_accuracy for one in found.proposals]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    assert "after 1 epoch of tiny.toml, one seed" in found.ranked_by
    finished = sorted(path.parent.name for path in Path("runs").glob("*/run.json"))
    assert len(finished) == 2
    assert all(name.startswith("design-tiny-lesionnet-x") for name in finished)
    recipe = load_recipe("new.toml")
    assert recipe.data.count == 120
    assert recipe.preprocess.width == found.proposals[0].side
    assert recipe.train == load_recipe("tiny.toml").train, "the short training was for ranking"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latency": 0.0}, "--latency 0: milliseconds lie between"),
        ({"latency": float("nan")}, "--latency nan: milliseconds lie between"),
        ({"device": "adb"}, "--device adb: operators are measured on this machine alone so far"),
        ({"device": "phone"}, "did you mean adb"),
        ({"precision": "int4"}, "did you mean int8"),
        ({"student": "timm:resnet18"}, "a student of a library has one width"),
        ({"student": "lesionet"}, "did you mean lesionnet"),
        ({"threads": 0}, "--threads 0: thread counts lie between 1 and 64"),
        ({"candidates": 0}, "--candidates 0: from 1 to 16"),
        ({"sides": (100,)}, "--sides 100: multiples of 32"),
        ({"epochs": 0}, "--epochs 0: a short training has 1 or more"),
        ({"base": "nowhere.toml"}, "nowhere.toml: neither a recipe file nor a shipped recipe"),
        ({"base": "ham10000"}, "data/ham10000: no such folder"),
        ({"base": "demo"}, "run mobilekd teach with the same recipe first"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_is_measured(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = {"latency": 1.0, "table": tmp_path / "table.json", **options}
    with pytest.raises(UserError, match=words) as error:
        design(**wanted)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_what_would_fail_after_minutes_is_refused_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    source = "from torch import nn\n\ndef flat(classes):\n    return nn.Linear(3, classes)\n"
    Path("my.py").write_text(source)
    wrong = {
        r"--table file/t.json: .*/file cannot be written": {"table": Path("file/t.json")},
        r"--output file/o.toml: .*/file cannot be written": {"output": Path("file/o.toml")},
        "--epochs 5: nothing is trained without --base": {"epochs": 5},
        r"--student my.py:flat: a family has a width, and it takes none": {"student": "my.py:flat"},
    }
    for words, options in wrong.items():
        with pytest.raises(UserError, match=words):
            design(**{"latency": 1.0, "table": tmp_path / "table.json", **options})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "my.py"]


def test_a_recipe_that_is_there_is_not_overwritten(tmp_path):
    place = tmp_path / "mine.toml"
    place.write_text("mine")
    with pytest.raises(UserError, match=r"mine.toml: exists already; remove it or choose another"):
        design(1.0, output=place)
    assert place.read_text() == "mine"


def test_a_recipe_names_a_base_beside_it_and_starts_from_no_weights(tmp_path, small):
    base = tmp_path / "mine" / "base.toml"
    base.parent.mkdir()
    base.write_text(
        'base = "ham10000"\nname = "base"\n[student]\nwidth = 0.5\nweights = "hub"\n', "utf-8"
    )
    output = tmp_path / "other" / "new.toml"
    output.parent.mkdir()
    student = load_recipe(str(base)).student
    one = families.members(student, (96,), (0.5,))[0]
    output.write_text(recipe_text(one, str(base), output, "fp32", 1.0, "a test"), "utf-8")
    recipe = load_recipe(str(output))
    assert (recipe.student.weights or None) is None
    assert recipe.student.adapt == ("bounded", "depth:0.5")
    assert recipe.preprocess.width == 96
    assert recipe.train == load_recipe(str(base)).train


def test_a_short_training_is_the_base_with_the_students_size_and_the_bases_teachers(small):
    base = load_recipe("ham10000")
    one = families.members(base.student, (96,), (0.5,))[0]
    short = ranking.short_recipe(base, Path("runs"), one, 2)
    assert short.train == base.train.model_copy(update={"epochs": 2})
    assert short.preprocess.width == short.preprocess.height == 96
    assert short.preprocess.mean == base.preprocess.mean
    assert [table.trained for table in short.teachers] == ["runs/ham10000/teachers/0"]
    assert short.losses == base.losses
    other = ranking.short_recipe(base, Path("runs"), one, 3)
    assert other.name != short.name


def test_the_guess_is_worth_what_is_said_of_it(checkout):
    """Of the kept study, by scipy's own rank correlation."""
    study = checkout / "benchmarks/student_design"
    scores: dict[str, list[float]] = {}
    for row in json.loads((study / "accuracy.json").read_text())["rows"]:
        scores.setdefault(row["variant"], []).append(row["balanced_accuracy"])
    macs = {
        row["variant"]: row["macs"]
        for row in json.loads((study / "latency.json").read_text())["rows"]
    }
    ours = [name for name in scores if not name.startswith("MobileNet")]
    found = spearmanr(
        [macs[one] for one in ours], [sum(scores[one]) / len(scores[one]) for one in ours]
    )
    assert len(ours) == ranking.GUESS_VARIANTS
    assert found.statistic == pytest.approx(ranking.GUESS_CORRELATION, abs=0.005)
    assert found.pvalue == pytest.approx(ranking.GUESS_P, abs=0.005)
