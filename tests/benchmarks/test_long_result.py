"""What takes longer than ``make test`` has its last result in the repository, and no long test is
forgotten there.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.long_result import RESULT, outcomes, write_result


def report(name: str, when: str, outcome: str, seconds: float) -> pytest.TestReport:
    return pytest.TestReport(name, ("", 0, ""), {}, outcome, None, when, duration=seconds)


def long_tests(checkout: Path) -> set[str]:
    """Names of all long tests, as pytest collects them from the files that speak of the marker."""
    files = [
        file
        for file in sorted((checkout / "tests").rglob("test_*.py"))
        if "mark.long" in file.read_text(encoding="utf-8")
    ]
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-c",
        checkout / "pyproject.toml",
        "--rootdir",
        checkout,
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, "-q", "--collect-only", "-m", "long", *files], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_the_committed_result_names_every_long_test_and_all_passed(checkout):
    result = json.loads((checkout / RESULT).read_text(encoding="utf-8"))
    assert set(result["tests"]) == long_tests(checkout), "run make test-long and commit its result"
    assert {
        name: test["outcome"]
        for name, test in result["tests"].items()
        if test["outcome"] != "passed"
    } == {}
    for tested in (result, *result["tests"].values()):
        assert tested.get("commit", result["commit"])
        assert not tested.get("commit", result["commit"]).endswith("-dirty"), (
            "commit first, then run make test-long: the result names what was tested"
        )


def test_make_writes_it_where_it_is_read(checkout):
    recipe = (
        (checkout / "Makefile")
        .read_text(encoding="utf-8")
        .partition("\ntest-long:")[2]
        .partition("\n\n")[0]
    )
    assert f"--record $(CURDIR)/{RESULT.as_posix()}" in recipe


def test_the_worst_outcome_and_all_the_seconds_count():
    reports = [
        report("a", "setup", "passed", 1.04),
        report("a", "call", "passed", 2.0),
        report("a", "teardown", "failed", 0.5),
    ]
    reports += [
        report("b", "setup", "skipped", 0.1),
        report("b", "teardown", "passed", 0.1),
        report("0", "call", "passed", 0),
    ]
    assert outcomes(reports) == {
        "0": {"outcome": "passed", "seconds": 0.0},
        "a": {"outcome": "failed", "seconds": 3.5},
        "b": {"outcome": "skipped", "seconds": 0.2},
    }


def test_what_was_not_run_again_keeps_its_outcome_and_its_commit(tmp_path):
    result = tmp_path / "result.json"
    for name, text in (("test_a.py", "mark.long"), ("test_b.py", "mark.long"), ("test_c.py", "")):
        (tmp_path / name).write_text(text)
    rows = {
        f"{name}::t": {"outcome": "passed", "seconds": 1.0} for name in ("test_a.py", "gone.py")
    }
    rows |= {f"test_{name}.py::t": {"outcome": "failed", "seconds": 2.0} for name in "bc"}
    result.write_text(json.dumps({"commit": "one", "tests": rows}))
    write_result(result, tmp_path, [report("test_a.py::u", "call", "passed", 3.0)])
    assert json.loads(result.read_text())["tests"] == {
        "test_a.py::u": {"outcome": "passed", "seconds": 3.0},
        "test_b.py::t": {"outcome": "failed", "seconds": 2.0, "commit": "one"},
    }


def test_what_differs_from_the_commit_is_said(tmp_path):
    def git(*words: str) -> str:
        names = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        return subprocess.run(
            ["git", "-C", tmp_path, *names, *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    def commit() -> str:
        write_result(tmp_path / "result.json", tmp_path, [])
        return json.loads((tmp_path / "result.json").read_text())["commit"]

    assert commit() is None
    git("init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git("add", "code.py")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "--short=12", "HEAD")
    assert commit() == head, "an earlier result is no change of the code"
    (tmp_path / "code.py").write_text("2\n")
    assert commit() == f"{head}-dirty"


def test_a_run_with_record_leaves_its_outcomes(tmp_path, checkout):
    (tmp_path / "conftest.py").write_bytes((checkout / "tests/conftest.py").read_bytes())
    shutil.copytree(checkout / "tests/fixtures", tmp_path / "fixtures")
    (tmp_path / "test_some.py").write_text(
        "def test_right(): pass\ndef test_wrong(): assert False\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        tmp_path,
        "-c",
        "/dev/null",
        "--record",
        "r.json",
    ]
    subprocess.run([*command, tmp_path], capture_output=True, cwd=tmp_path)
    tests = json.loads((tmp_path / "r.json").read_text())["tests"]
    assert {name: test["outcome"] for name, test in tests.items()} == {
        "test_some.py::test_right": "passed",
        "test_some.py::test_wrong": "failed",
    }
