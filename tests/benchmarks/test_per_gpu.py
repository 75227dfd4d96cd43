"""The benchmark of many runs on one GPU works on the processor, and its page says what was run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.scripts import script


def test_it_measures_on_the_processor(checkout: Path, tmp_path: Path):
    output = tmp_path / "result.json"
    small = ("data.count=240", "data.size=32", "preprocess.width=32", "preprocess.height=32")
    command = [sys.executable, "-P", str(checkout / "benchmarks/training/per_gpu.py")]
    command += ["--per-gpu", "2", "--seeds", "2", "--output", str(output)]
    for override in (*small, "student.width=0.1", "train.epochs=2", "train.batch_size=16"):
        command += ["--set", override]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(output.read_text())["rows"]
    assert [json.loads(line) for line in done.stdout.splitlines()] == rows
    assert [(row["per_gpu"], row["runs"]) for row in rows] == [(2, 2)]
    for row in rows:
        # all runs together are not faster than all of them at their own rate
        assert 0 < row["images_per_second"] <= 2 * row["images_per_second_of_a_run"] * 1.5
        assert row["images_per_second"] == pytest.approx(row["images"] / row["seconds"], rel=0.05)


def test_the_page_is_what_the_script_writes(checkout: Path, tmp_path: Path):
    benchmark = script(checkout / "benchmarks/training/per_gpu.py")
    written = (checkout / "benchmarks/training/README.md").read_text()
    assert written == benchmark.page(), "run python benchmarks/training/per_gpu.py --page"
    assert benchmark.page(tmp_path / "none.json").count("not run |") == 3 * 4
    row = {
        "per_gpu": 4,
        "runs": 8,
        "images_per_second": 900.5,
        "images_per_second_of_a_run": 240.1,
        "seconds": 70.2,
    }
    result = tmp_path / "result.json"
    facts = {"device": "A GPU", "rows": [row], "command": "it", "created_utc": "2026-11-28T00:00"}
    result.write_text(json.dumps(facts))
    assert "| 4 | 900.5 | 240.1 | 70.2 |" in benchmark.page(result)
    result.write_text(json.dumps({**facts, "device": "CPU"}))
    assert "not run" in benchmark.page(result)
