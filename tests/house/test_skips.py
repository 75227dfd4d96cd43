"""The list of allowed skips holds with the real data and without it: where the data is, the suite
runs its tests; here it is hidden, what skips must be listed, and what is listed must skip.
"""

import ast
import fnmatch
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Fixtures that ask for what a machine may lack: photographs and published weights.
DATA = {"ham10000", "pretrained"}

#: Runs pytest on the tests that may skip, and writes {test: outcome}.
PROGRAM = """\
import fnmatch, json, sys
import pytest

output, data, patterns, arguments = json.loads(sys.argv[1])

class OnlyThoseThatMaySkip:
    outcomes = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        items[:] = [
            item for item in items
            if set(data) & set(item.fixturenames)
            or any(fnmatch.fnmatch(item.nodeid, pattern) for pattern in patterns)
        ]

    def pytest_runtest_logreport(self, report):
        if report.outcome != "passed" or report.when == "call":
            self.outcomes[report.nodeid] = (report.outcome, str(report.longrepr or ""))

    def pytest_collectreport(self, report):
        if report.outcome != "passed":
            self.outcomes[report.nodeid] = (report.outcome, str(report.longrepr or ""))

pytest.main(arguments, plugins=[OnlyThoseThatMaySkip()])
json.dump(OnlyThoseThatMaySkip.outcomes, open(output, "w"))
"""


def listed(checkout: Path) -> dict[str, str]:
    """Pattern of test names -> the machine that runs them."""
    lines = (checkout / "tests/allowed_skips.txt").read_text(encoding="utf-8").splitlines()
    rows = (line.partition(" : ") for line in lines if line.strip() and not line.startswith("#"))
    return {pattern.strip(): machine.strip() for pattern, _, machine in rows}


def of_data(checkout: Path) -> dict[str, str]:
    """The lines whose machine is one that has the data."""
    return {name: machine for name, machine in listed(checkout).items() if "MOBILEKD_" in machine}


def asks_for_data(file: Path) -> bool:
    """Whether a function of this file takes one of the fixtures of real data."""
    arguments = {
        argument.arg
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        for argument in node.args.args
    }
    return bool(DATA & arguments)


@pytest.fixture(scope="module")
def bare(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Outcome and words of every test of real data, on a machine that has none."""
    folder = tmp_path_factory.mktemp("bare")
    files = [
        str(file) for file in sorted((checkout / "tests").rglob("test_*.py")) if asks_for_data(file)
    ]
    patterns = list(of_data(checkout))
    arguments = ["-c", str(checkout / "pyproject.toml"), "--rootdir", str(checkout), "-q"]
    arguments += ["-p", "no:cacheprovider", "-p", "no:xdist", *files]
    given = json.dumps([str(folder / "outcomes.json"), sorted(DATA), patterns, arguments])
    hidden = {name: str(folder / "none") for name in ("MOBILEKD_HAM10000", "MOBILEKD_WEIGHTS")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, given],
        cwd=folder,
        env=os.environ | hidden,
        capture_output=True,
        text=True,
    )
    assert (folder / "outcomes.json").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    outcomes: dict[str, tuple[str, str]] = json.loads((folder / "outcomes.json").read_text())
    assert outcomes, done.stdout[-3000:]
    return outcomes


def test_without_the_data_its_tests_skip_and_none_fails(bare):
    """``conftest.forbid`` makes a failure of a skip that is not listed."""
    others = {name: words[-600:] for name, (outcome, words) in bare.items() if outcome != "skipped"}
    assert not others, "\n".join(f"{name}\n{words}" for name, words in others.items())


def test_every_line_of_data_is_needed(bare, checkout):
    for pattern in of_data(checkout):
        assert any(fnmatch.fnmatch(name, pattern) for name in bare), (
            f"{pattern}: no such test needs the data; take the line out"
        )


def test_only_fixtures_know_where_the_data_lies(checkout):
    """Else a test could need it and say nothing."""
    for file in (checkout / "tests").rglob("*.py"):
        if file.name in ("conftest.py", Path(__file__).name):
            continue
        text = file.read_text(encoding="utf-8")
        for word in ("MOBILEKD_HAM10000", "MOBILEKD_WEIGHTS", "shared/data", "shared/weights"):
            assert word not in text, f"{file.name}: take the fixture ham10000 or pretrained"
