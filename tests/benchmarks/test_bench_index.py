"""The benchmarks page is what the results give, and refuses what is no latency."""

import importlib.util
import json
import subprocess
import sys

import pytest

from mobilekd.formats.measurement import Conditions, Device, GoldenCheck, Measurement, Series
from mobilekd.support.errors import UserError


@pytest.fixture
def index(checkout, tmp_path, monkeypatch):
    """``benchmarks/index.py`` over an empty folder of results."""
    spec = importlib.util.spec_from_file_location("index", checkout / "benchmarks/index.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "results/d").mkdir(parents=True)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    return module


def put(folder, *, emulated=False, valid=True):
    series = Series(
        threads_asked=1,
        warmup_ns=(),
        samples_ns=tuple(range(1_000_000, 3_000_001, 10_000)),
        valid=valid,
        reasons=() if valid else ("hot",),
    )
    measurement = Measurement(
        artifact="a-xnnpack-int8",
        artifact_sha256="0123abcd" * 8,
        backend="xnnpack",
        precision="int8",
        via="shell",
        device=Device(id="d", kind="host", model="M", cores=4, emulated=emulated),
        golden=GoldenCheck(passed=True, samples=1, limit=0.1),
        series=(series,),
        before=Conditions(utc=""),
        after=Conditions(utc=""),
        session="s",
        started_utc="2026-01-02T03:04:05Z",
        versions={},
    )
    (folder / "results/d/a.json").write_text(
        json.dumps(measurement.model_dump(mode="json")), encoding="utf-8"
    )


def test_the_committed_page_is_up_to_date(checkout):
    done = subprocess.run(
        [sys.executable, checkout / "benchmarks/index.py", "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_percentiles_and_links(index, tmp_path):
    put(tmp_path)
    assert (
        "| [a-xnnpack-int8](results/d/a.json) | `0123abcd` | 2026-01-02 | shell | 1 | 2.00 | 2.80 |"
        " 2.98 | 2.00 to 2.00 | 201 | yes |" in index.page()
    )


def test_invalid_series_are_listed_without_figures(index, tmp_path):
    put(tmp_path, valid=False)
    assert "| none | none | none | none | 0 | hot |" in index.page()


def test_emulated_times_are_refused(index, tmp_path):
    put(tmp_path, emulated=True)
    with pytest.raises(UserError, match="no latency"):
        index.page()


def test_other_results_are_listed_with_their_command(index, tmp_path):
    (tmp_path / "results/other.json").write_text(
        json.dumps({"what": "sizes", "command": "python x.py"})
    )
    assert "- [other.json](results/other.json): sizes (`python x.py`)" in index.page()


@pytest.mark.parametrize(
    ("split", "mark"), [("lesion", ""), ("photograph", ", LEAKY (split by photograph)")]
)
def test_a_run_is_listed_with_its_accuracy_and_a_leaky_split_by_that_name(
    index, tmp_path, split, mark
):
    score = {"value": 0.7, "low": 0.65, "high": 0.75}
    document = {"run": {"split_by": split}, "test": {"metrics": {"balanced_accuracy": score}}}
    (tmp_path / "results/run.json").write_text(json.dumps(document))
    words = f"a run, its recipe and its test split{mark}: balanced accuracy 0.700 (0.650 to 0.750)"
    assert f"- [run.json](results/run.json): {words}" in index.page()
