"""The plan of all runs on HAM10000: every job resolves, and a control is its student's."""

import subprocess
import sys

import pytest
from fixtures.scripts import script

from mobilekd.formats.recipe_file import load_recipe


@pytest.fixture(scope="module")
def study(checkout):
    return script(checkout / "benchmarks/ham10000/study.py")


def test_every_job_resolves_and_stands_beside_its_own_control(study, checkout):
    from mobilekd.commands.distill import control_of

    jobs = {job.name: job for job in study.read_plan(checkout / "benchmarks/ham10000/study.toml")}
    recipes = {
        name: load_recipe(job.recipe, [*job.set, f'name="{name}"']) for name, job in jobs.items()
    }
    assert len(recipes) > 20
    for name, job in jobs.items():
        if job.control:
            beside = control_of(recipes[job.control])
            assert study._training(beside) == study._training(control_of(recipes[name])), name
            assert recipes[job.control].seed == recipes[name].seed, name


def test_a_plan_runs_several_jobs_stops_and_goes_on(checkout, tmp_path):
    (tmp_path / "plan.toml").write_text("""
        [sets]
        quick = ["train.epochs=1", "teach.epochs=12"]
        [[job]]
        name = "teacher"
        do = "teach"
        recipe = "demo"
        set = ["quick"]
        [[job]]
        name = "student-control"
        do = "control"
        recipe = "demo"
        set = ["quick"]
        [[job]]
        name = "student"
        do = "distill"
        recipe = "demo"
        set = ["quick", 'teachers=[{model = "test_resnet", trained = "runs/teacher/teachers/0"}]']
        after = ["teacher"]
        control = "student-control"
        """)
    smoke = [
        part
        for key, value in load_recipe("demo").smoke.items()
        if not key.startswith(("teachers.", "teach.epochs"))
        for part in ("--set", f"{key}={value!r}".replace("'", '"'))
    ]
    command = [
        sys.executable,
        checkout / "benchmarks/ham10000/study.py",
        "plan.toml",
        "--jobs",
        "2",
        *smoke,
    ]
    stopped = subprocess.run(
        [*command, "--minutes", "0"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "0 of 3 finished" in stopped.stdout
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "3 of 3 finished" in done.stdout, (
        done.stdout + done.stderr + "".join(p.read_text() for p in tmp_path.glob("runs/logs/*"))
    )
    from mobilekd.formats.runs import open_run

    assert open_run(tmp_path / "runs/student").info.control == "student-control"
