"""A sweep does what is missing and nothing twice, whatever happened to it before."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fixtures.experiment import experiment
from fixtures.recipes import PLAIN
from fixtures.run import make_run
from fixtures.small import contents, photographs, settings

from mobilekd.cli import main
from mobilekd.commands.sweep import cells, parse_grid, parse_seeds, shared_teachers, sweep
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json
from mobilekd.sweeps.place import job

COMMAND = [
    sys.executable,
    "-m",
    "mobilekd",
    "sweep",
    "small.toml",
    "--grid",
    "student.width=0.1,0.15",
    "--seeds",
    "0",
    "--json",
]


def test_cells_are_the_product_of_recipes_grid_and_seeds():
    found = cells(
        ["demo"],
        grid={"student.width": ["0.25", "0.5"], "train.lr": ["1e-3", "3e-3"]},
        seeds=(0, 7),
        smoke=True,
    )
    assert len(found) == 8
    assert len({recipe.name for recipe in found}) == 8
    assert found[1].name == "demo-width0.25-lr1e-3-s7"
    assert (found[1].student.width, found[1].train.lr, found[1].seed) == (0.25, 1e-3, 7)


def test_a_cell_is_named_after_what_sets_it_apart():
    assert [recipe.name for recipe in cells(["demo"], grid={}, seeds=())] == ["demo"]
    with pytest.raises(UserError, match="two runs would be called"):
        cells(["demo"], grid={"train.lr": ["1e-3", "1e-3"]}, seeds=())


def test_folds_are_cells():
    folds = cells(["demo"], grid={}, seeds=(0, 1), overrides=["split.folds=3"], smoke=True)
    assert [recipe.name for recipe in folds][:3] == [
        "demo-fold0-s0",
        "demo-fold0-s1",
        "demo-fold1-s0",
    ]
    assert [(recipe.split.fold, recipe.seed) for recipe in folds] == [
        (fold, seed) for fold in range(3) for seed in (0, 1)
    ]
    teachings, _ = shared_teachers(folds, Path("runs"))
    assert len(teachings) == 3, "a teacher for each fold, which has not seen its test part either"
    for told in (["split.folds=3", "split.fold=2"], []):
        assert len(cells(["demo"], grid={}, seeds=(), overrides=told, smoke=True)) == 1
    some = {"split.folds": ["3"], "split.fold": ["0", "2"]}
    assert len(cells(["demo"], grid=some, seeds=(), smoke=True)) == 2
    assert len(cells(["demo"], grid={"split.folds": ["4"]}, seeds=(), smoke=True)) == 4
    with pytest.raises(UserError, match="several numbers of folds"):
        cells(["demo"], grid={"split.folds": ["3", "4"]}, seeds=(), smoke=True)


def test_grid_values_may_be_toml():
    grid = parse_grid(['student.adapt=["no_se","relu6"],[]', "losses.0.name=hinton,dkd"])
    assert grid == {
        "student.adapt": ['["no_se","relu6"]', "[]"],
        "losses.0.name": ["hinton", "dkd"],
    }
    assert parse_seeds("0, 1,2") == (0, 1, 2)
    with pytest.raises(UserError, match="KEY=A,B"):
        parse_grid(["student.width"])
    with pytest.raises(UserError, match="whole numbers"):
        parse_seeds("a")


def test_cells_that_may_share_teachers_do(tmp_path: Path):
    same = cells([PLAIN], grid={"student.width": ["0.25", "0.35"]}, seeds=(0, 1), smoke=True)
    teachings, students = shared_teachers(same, tmp_path)
    assert len(teachings) == 1
    assert {table.trained for recipe in students for table in recipe.teachers} == {
        str(tmp_path / teachings[0].name / "teachers" / index) for index in "01"
    }
    other = cells([PLAIN], grid={"split.seed": ["0", "1"]}, seeds=(), smoke=True)
    assert len(shared_teachers(other, tmp_path)[0]) == 2, (
        "another split must have teachers of its own"
    )


def test_a_teachers_file_with_other_content_is_another_teacher(tmp_path: Path):
    file = tmp_path / "teacher.onnx"
    names = set()
    for content in (b"one", b"another", b"one"):
        file.write_bytes(content)
        (recipe,) = cells(
            [PLAIN],
            grid={},
            seeds=(),
            overrides=[f'teachers=[{{model="onnx", trained="{file}"}}]'],
            smoke=True,
        )
        names.add(shared_teachers([recipe], tmp_path / "runs")[0][0].name)
    assert len(names) == 2


def test_a_killed_sweep_goes_on_and_repeats_nothing(tmp_path: Path):
    experiment(tmp_path)
    first = subprocess.Popen(
        COMMAND, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    done = tmp_path / "runs/small-width0.1-s0/run.json"
    deadline = time.monotonic() + 900
    while not done.exists():
        assert first.poll() is None, "ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    stamp = done.stat().st_mtime_ns

    second = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    states = {cell["name"]: cell["state"] for cell in json.loads(second.stdout)["cells"]}
    assert states == {"small-width0.1-s0": "done", "small-width0.15-s0": "trained"}
    assert done.stat().st_mtime_ns == stamp, "a finished cell was trained again"
    assert second.stderr.count("teach teachers-") == 0, (
        "teachers that were there already were trained again"
    )

    third = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True)
    assert {cell["state"] for cell in json.loads(third.stdout)["cells"]} == {"done"}
    assert "0 to train" in third.stderr


def test_two_at_a_time_and_a_failure_that_stops_nobody_else(tmp_path: Path):
    experiment(tmp_path)
    found = sweep(
        [str(tmp_path / "small.toml")],
        grid={"student.model": ["mobilenetv2", "no_such_net"]},
        overrides=[f"data.root='{tmp_path / 'photographs'}'"],
        runs=tmp_path / "runs",
        jobs=2,
        control=False,
    )
    assert [cell.state for cell in found] == ["trained", "refused"]
    assert "no_such_net" in found[1].detail


def test_a_refused_run_is_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    experiment(tmp_path)
    words = ["sweep", str(tmp_path / "small.toml"), "--grid", "student.model=no_such_net"]
    words += ["--set", f"data.root='{tmp_path / 'photographs'}'", "--runs", str(tmp_path / "runs")]
    assert main([*words, "--no-control", "--json"]) == 2
    answer, said = capsys.readouterr()
    assert [cell["state"] for cell in json.loads(answer)["cells"]] == ["refused"]
    assert "mobilekd sweep: 1 of 1 run not trained; mend what the table says" in said


def test_a_run_of_another_recipe_is_never_taken_for_done(tmp_path: Path):
    place = tmp_path / "demo"
    place.mkdir()
    (place / "run.json").write_text(json.dumps({"recipe_hash": "other", "control": None}))
    with pytest.raises(UserError, match=r"run.json: not a valid run"):
        sweep(["demo"], smoke=True, runs=tmp_path)
    shutil.rmtree(place)
    run = make_run(tmp_path, name="demo")
    assert run.folder == place
    with pytest.raises(UserError, match="another recipe"):
        sweep(["demo"], smoke=True, runs=tmp_path)


def test_a_cell_ends_when_its_sweep_does():
    """Its standard input is its life line: closed, as it is when the sweep dies, it stops in the
    middle of the work.
    """
    recipe = load_recipe(PLAIN, ["train.epochs=5000"], smoke=True)
    told = job("distill", recipe, Path("runs"), control=False)
    program = (
        "import sys, time, mobilekd.commands.sweep as s; s._work = lambda job: time.sleep(60);"
        " sys.exit(s.main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()
    time.sleep(0.5)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=20) == 143


def test_the_users_own_modules_do_not_stand_for_the_librarys(tmp_path: Path):
    """Cells do not have the working folder on their path, where a ``random.py`` may lie."""
    experiment(tmp_path)
    for name in ("random", "torch", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the user's own module was run')")
    command = [
        sys.executable,
        "-P",
        "-m",
        "mobilekd",
        "sweep",
        "small.toml",
        "--no-control",
        "--json",
        "--set",
        "teachers=[]",
        "--set",
        "losses=[{name='cross_entropy'}]",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert [cell["state"] for cell in json.loads(done.stdout)["cells"]] == ["trained"], done.stderr


def test_ctrl_c_ends_it_with_one_line_and_keeps_what_is_finished(tmp_path: Path):
    """The terminal sends its signal to the whole group; cells do not belong to it."""
    experiment(tmp_path)
    sweeping = subprocess.Popen(
        COMMAND,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # started in the background, this process ignores the signal, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    taught = "runs/teachers-*/teachers/0/teacher.json"
    deadline = time.monotonic() + 900
    while not list(tmp_path.glob(taught)):
        assert sweeping.poll() is None, "ended before it was stopped"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(sweeping.pid, signal.SIGINT)
    _, said = sweeping.communicate(timeout=100)
    assert sweeping.returncode == 130
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "mobilekd sweep: stopped; what was finished is kept"
    assert list(tmp_path.glob(taught))
    assert not list((tmp_path / "runs").glob(".*.lock")), "a cell goes on, or was not let unwind"


def test_moved_photographs_are_not_trained_on_again(tmp_path: Path):
    alone = ["teachers=[]", "losses=[{name='cross_entropy'}]"]
    photographs(tmp_path / "here")
    sweep([PLAIN], overrides=[*settings(tmp_path / "here"), *alone], runs=tmp_path / "runs")
    before = contents(tmp_path / "runs")
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = [*settings(tmp_path / "there"), *alone]
    assert sweep([PLAIN], overrides=moved, runs=tmp_path / "runs")[0].state != "failed"
    assert contents(tmp_path / "runs") == before


def test_a_run_keeps_its_teachers_where_its_photographs_moved(tmp_path: Path):
    (here,) = cells([PLAIN], grid={}, seeds=(), overrides=settings(tmp_path / "here"))
    _, (student,) = shared_teachers([here], tmp_path)
    write_json(tmp_path / "demo/recipe.json", student.to_dict())
    (there,) = cells([PLAIN], grid={}, seeds=(), overrides=settings(tmp_path / "there"))
    assert len(shared_teachers([there], tmp_path)[0]) == 1, "they are not taught yet"
    write_json(Path(student.teachers[0].trained) / "teacher.json", {})
    assert shared_teachers([there], tmp_path)[1][0].teachers == student.teachers
