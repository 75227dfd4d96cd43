"""The benchmarks page is what the results give, and refuses what is no latency."""

import json
import subprocess
import sys

import pytest
from fixtures.scripts import script

from mobilekd.formats.measurement import Conditions, Device, GoldenCheck, Measurement, Series
from mobilekd.support.errors import UserError
from mobilekd.support.files import json_text


@pytest.fixture
def index(checkout, tmp_path, monkeypatch):
    """``benchmarks/index.py`` over an empty folder of results."""
    module = script(checkout / "benchmarks/index.py")
    (tmp_path / "results/d").mkdir(parents=True)
    plan(tmp_path)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    return module


def plan(folder, **studies):
    """``studies.toml`` with patterns by title."""
    lines = [f"[[study]]\ntitle = {title!r}\nfiles = {files!r}" for title, files in studies.items()]
    (folder / "studies.toml").write_text("\n".join(lines))


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


def test_a_device_is_one_row_with_its_medians(index, tmp_path):
    put(tmp_path)
    row = (
        "| M, 4 cores | 2026-01-02 | [a-xnnpack-int8](results/d/a.json) (`0123abcd`, shell): 2.00"
        " (1 thread) |"
    )
    assert row in index.page()


def test_invalid_series_are_listed_without_figures(index, tmp_path):
    put(tmp_path, valid=False)
    assert "(`0123abcd`, shell): none (1 thread); not valid: hot |" in index.page()


def test_emulated_times_are_refused(index, tmp_path):
    put(tmp_path, emulated=True)
    with pytest.raises(UserError, match="no latency"):
        index.page()


def test_a_study_is_one_row_with_its_words_and_command(index, tmp_path):
    document = {"what": "sizes", "command": "a | b"}
    for name in ("other", "other-2"):
        (tmp_path / f"results/{name}.json").write_text(json.dumps(document))
    plan(tmp_path, sizes=["other.json", "other*.json"])
    row = "| sizes | sizes |  | [other.json](results/other.json) and 1 more | `a \\| b` |"
    assert row in index.page()


@pytest.mark.parametrize(
    ("split", "mark"), [("lesion", ""), ("photograph", ", LEAKY (split by photograph)")]
)
def test_runs_are_told_with_their_range_and_a_leaky_split_by_that_name(
    index, tmp_path, split, mark
):
    for number, value in enumerate((0.7, 0.6)):
        document = {
            "run": {"split_by": split},
            "test": {"metrics": {"balanced_accuracy": {"value": value}}},
        }
        (tmp_path / f"results/run-{number}.json").write_text(json.dumps(document))
    plan(tmp_path, runs=["run-*.json"])
    assert f"| 2 runs, balanced accuracy 0.600 to 0.700{mark} |" in index.page()


@pytest.mark.parametrize(
    ("studies", "message"),
    [
        ({}, "belongs to no study"),
        ({"a": ["x.json"], "b": ["*.json"]}, "belongs to two studies, a and b"),
        ({"a": ["x.json"], "b": ["y.json"]}, "b: no result has such a name"),
    ],
)
def test_every_result_belongs_to_one_study(index, tmp_path, studies, message):
    (tmp_path / "results/x.json").write_text("{}")
    plan(tmp_path, **studies)
    with pytest.raises(UserError, match=message):
        index.page()


def test_results_are_laid_out_as_they_are_written(checkout):
    """An array is one line: no commit of three hundred thousand lines."""
    files = sorted((checkout / "benchmarks").rglob("*.json"))
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert text == json_text(json.loads(text)), path
