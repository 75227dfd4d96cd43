"""The whole flow in one command, without a network, ending in a page that needs nothing else."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mobilekd.commands.demo import demo
from mobilekd.support.errors import UserError


def offline() -> list[str]:
    """A prefix that runs a command without any network, where the kernel lets us."""
    prefix = ["unshare", "--net"]
    works = (
        shutil.which("unshare")
        and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    )
    return prefix if works else []


def test_the_whole_flow_offline(tmp_path: Path):
    command = [*offline(), sys.executable, "-m", "mobilekd", "demo", "--smoke", "--output", "demo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    page = tmp_path / done.stdout.splitlines()[-1]
    assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")
    assert page.with_suffix(".md").exists()
    assert page.with_suffix(".json").exists()
    run = json.loads((tmp_path / "demo/runs/demo/run.json").read_text())
    assert len(run["teachers"]) == 1
    assert (tmp_path / "demo/runs" / run["control"] / "evaluation/metrics.json").exists()
    precisions = {
        json.loads(path.read_text())["precision"]
        for path in tmp_path.glob("demo/artifacts/*/manifest.json")
    }
    assert precisions == {"fp32", "int8"}
    assert len(list((tmp_path / "demo/results").rglob("*.json"))) == 2


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not an earlier demo"):
        demo(tmp_path, smoke=True)
    assert (tmp_path / "thesis.tex").exists()
