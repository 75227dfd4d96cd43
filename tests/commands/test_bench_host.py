"""The shipped students on this machine by one command: table, page, results as data, and the
harness's own overhead.
"""

import json
import subprocess
import sys

from mobilekd.formats.measurement import read_measurement
from mobilekd.formats.runs import references


def test_every_reference_is_measured_shown_and_kept(checkout, tmp_path):
    """On a busy machine it must refuse to keep anything, and still make the page; both are right,
    neither is a failure.
    """
    page, results = tmp_path / "report.html", tmp_path / "results"
    line = [
        sys.executable,
        checkout / "benchmarks/host.py",
        page,
        "--precision",
        "fp32",
        "--samples",
        "20",
        "--minutes",
        "0.005",
    ]
    done = subprocess.run(
        [*line, "--results", results], capture_output=True, text=True, timeout=500, cwd=tmp_path
    )
    text = page.read_text(encoding="utf-8")
    for name in references():
        assert f"{name}-xnnpack-fp32" in text
    assert "Accuracy against latency" in text or "Invalid measurements" in text
    if done.returncode:
        assert (
            "nothing written, because the measurements are invalid (the machine was busy"
            in done.stderr
        ), done.stderr
        assert not results.exists()
        return
    kept = [
        read_measurement(path) for path in results.glob("*/*.json") if path.parent.name != "harness"
    ]
    assert {one.artifact for one in kept} == {f"{name}-xnnpack-fp32" for name in references()}
    summary = json.loads((results / "harness/overhead.json").read_text())["summary"]
    assert 0 < summary["overhead_share_of_smallest_latency"] < 1
    assert all(0.5 < ratio < 2 for ratio in summary["runner_over_etdump"].values())
