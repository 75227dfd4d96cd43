"""A sweep on a Ray cluster of two nodes leaves what a local sweep leaves, whatever happens to a
node.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures.experiment import experiment
from fixtures.ray_cluster import cluster, processes, started, swept

#: Four cells with a shared teacher and their controls.
GRID = ("small.toml", "--grid", "student.width=0.1,0.15", "--seeds", "0,1", "--json")
#: Cells that have nobody to wait for.
ALONE = ("--no-control", "--set", "teachers=[]", "--set", "losses=[{name='cross_entropy'}]")
#: What says how long something took and when it was, and hashes over that.
TIMES = {"seconds", "images_per_second", "created_utc", "sha256", "metrics.jsonl"}
#: A folder that every process sees as another one: its own working folder.
OWN = "/proc/self/cwd"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster of two nodes, which were started in a folder without anything, as a shell starts
    background jobs: they ignore Ctrl-C.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("nodes"))
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        with cluster() as made:
            made.add_node(num_cpus=1, node_name="two")
            signal.signal(signal.SIGINT, before)
            yield made


def without_times(value: Any) -> Any:
    """A JSON value without what differs between two runs of the same."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def files(runs: Path) -> dict[str, Any]:
    """Every file of finished runs and teachers by name: documents without times, else bytes."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in runs.rglob("*") if path.is_file()):
        name = str(path.relative_to(runs))
        if name.startswith(".cache"):
            continue
        if path.suffix in (".json", ".jsonl"):
            text = path.read_text()
            documents = text.splitlines() if path.suffix == ".jsonl" else [text]
            found[name] = [without_times(json.loads(document)) for document in documents]
        else:
            found[name] = path.read_bytes()
    return found


def wait_for(what: Callable[[], Any], sweep: "subprocess.Popen[str]") -> Any:
    """The first true answer of ``what`` while a sweep runs."""
    deadline = time.monotonic() + 400
    while not (answer := what()):
        assert sweep.poll() is None, f"it ended too early: {sweep.stderr.read()}"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


@pytest.mark.parametrize("place", ["seen by the nodes", "not seen by them"])
def test_two_nodes_leave_what_a_local_sweep_leaves(place: str, two: Any, tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    words = [*GRID]
    if place.startswith("not"):
        runs = f"{OWN}/runs"
        words += ["--runs", runs, "--set", f"data.root='{tmp_path / 'photographs'}'"]
        words[words.index("0,1")] = "0"
        experiment(tmp_path)
    for folder in (here, there):
        folder.mkdir()
        experiment(folder)
    local = swept(here, *words, "--jobs", "2")
    assert local.returncode == 0, local.stderr
    spread = swept(there, *words, "--on", "ray", "--address", two.address)
    assert spread.returncode == 0, spread.stderr
    assert json.loads(spread.stdout) == json.loads(local.stdout)
    assert " on one" in spread.stderr
    assert " on two" in spread.stderr
    assert ("runs travel" in spread.stderr) == place.startswith("not")
    expected = files(here / "runs")
    assert len(expected) > 30
    assert files(there / "runs") == expected
    left = {path.name for path in (there / "runs").iterdir()}
    assert left - {".cache"} == {name.partition("/")[0] for name in expected}, "nothing else stays"

    again = swept(there, *words, "--on", "ray", "--address", two.address)
    assert {cell["state"] for cell in json.loads(again.stdout)["cells"]} == {"done"}


def test_a_lost_nodes_cell_goes_on_elsewhere(tmp_path: Path):
    """Each cell ends once, and a cell whose node was lost repeats no epoch that was kept."""
    experiment(tmp_path)
    epochs = 150
    words = [*GRID, *ALONE, "--set", f"train.epochs={epochs}", "--on", "ray"]
    with cluster() as made:
        lost = made.add_node(num_cpus=1, node_name="two")
        sweep = started(tmp_path, [*words, "--address", made.address])
        lines: list[str] = []

        def cell_on_two() -> str:
            os.set_blocking(sweep.stderr.fileno(), False)
            while line := sweep.stderr.readline():
                lines.append(line.strip())
            found = [line.split()[2] for line in lines if line.endswith(" on two")]
            return found[0] if found else ""

        def kept(name: str) -> int:
            path = tmp_path / "runs" / name / "metrics.jsonl"
            return len(path.read_text().splitlines()) if path.exists() else 0

        name = wait_for(cell_on_two, sweep)
        wait_for(lambda: kept(name) > 5, sweep)
        made.remove_node(lost, allow_graceful=False)
        before = kept(name)
        counts = [before]
        while sweep.poll() is None:
            counts.append(kept(name))
            time.sleep(0.02)
        os.set_blocking(sweep.stderr.fileno(), True)
        out, rest = sweep.communicate(timeout=60)
        said = "\n".join([*lines, rest])
    assert sweep.returncode == 0, said
    assert before < epochs - 20, "it was nearly done: nothing was shown"
    assert {cell["state"] for cell in json.loads(out)["cells"]} == {"trained"}
    assert f"distill {name} on one again, its node was lost" in said
    names = [cell["name"] for cell in json.loads(out)["cells"]]
    assert len(names) == 4
    for one in names:
        assert said.count(f"{one}: trained") == 1
        metrics = (tmp_path / "runs" / one / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in metrics] == list(range(1, epochs + 1))
    assert min(counts) >= before, "it began from nothing again"


def test_nodes_that_are_not_alike_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    experiment(tmp_path)
    other = tmp_path / "other/mobilekd/support"
    other.mkdir(parents=True)
    for package in (other, other.parent):
        (package / "__init__.py").touch()
    (other / "version.py").write_text('VERSION = "0.0.9"\n')
    seen = ("--set", f"data.root='{OWN}/photographs'")
    monkeypatch.chdir(tmp_path)
    with cluster() as made:
        on = ["--on", "ray", "--address", made.address]
        monkeypatch.chdir(tmp_path / "other")
        made.add_node(num_cpus=1, node_name="two")
        missing = swept(tmp_path, *GRID, *seen, *on)
        paths = os.pathsep.join([str(tmp_path / "other"), os.environ.get("PYTHONPATH", "")])
        made.add_node(num_cpus=1, node_name="three", env_vars={"PYTHONPATH": paths})
        older = swept(tmp_path, *GRID, *on)
        crowded = swept(tmp_path, *GRID, *on, "--cpus", "64")
    for refused, words in (
        (missing, f"node two: data.root {OWN}/photographs: not there"),
        (older, "node three: has mobilekd 0.0.9, and the sweep was started with 0.1.0"),
        (crowded, "--cpus 64: no node has so many cores; the largest has 1"),
    ):
        assert refused.returncode == 2, refused.stderr
        assert words in refused.stderr.splitlines()[-1]
        assert json.loads(refused.stdout)["exit_code"] == 2
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_leaves_no_process(two: Any, tmp_path: Path):
    """Neither on a cluster that stays, nor of one that was started for the sweep."""
    experiment(tmp_path)
    words = (*GRID, *ALONE, "--set", "train.epochs=5000", "--on", "ray", "--address")
    for address in (two.address, "local"):
        mark = uuid.uuid4().hex
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        sweep = started(tmp_path, (*words, address), marked=mark)
        wait_for(lambda: list(tmp_path.glob("runs/*/metrics.jsonl")), sweep)
        assert processes(folder=tmp_path)
        os.killpg(sweep.pid, signal.SIGINT)
        _, said = sweep.communicate(timeout=100)
        assert sweep.returncode == 130, said
        assert said.splitlines()[-1] == "mobilekd sweep: stopped; what was finished is kept"
        assert "Traceback" not in said
        deadline = time.monotonic() + 30
        while (left := processes(folder=tmp_path) + processes(marked=mark)) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.2)
        assert not left
        assert not list((tmp_path / "runs").glob(".*.lock")), "a cell was not let unwind"


def test_a_gpu_takes_as_many_as_it_is_told_and_a_failure_stops_no_other(tmp_path: Path):
    """Ray believes that there is a GPU, and cells find none: they run on the processor."""
    experiment(tmp_path)
    words = [*GRID, *ALONE, "--on", "ray", "--per-gpu", "2"]
    words[words.index("student.width=0.1,0.15")] = "student.model=mobilenetv2,no_such_net"
    with cluster(num_cpus=4, num_gpus=1) as made:
        done = swept(tmp_path, *words, "--address", made.address)
    assert done.returncode == 2, done.stderr
    running = [int(number) for number in re.findall(r"(\d+) running", done.stderr)]
    assert max(running) <= 2
    cells = json.loads(done.stdout)["cells"]
    assert [cell["state"] for cell in cells] == ["trained"] * 2 + ["refused"] * 2
    assert all("no_such_net" in cell["detail"] for cell in cells[2:])


def test_without_ray_or_a_cluster_one_line_says_what_to_do(tmp_path: Path):
    experiment(tmp_path)
    program = (
        "import sys; sys.modules['ray'] = None; from mobilekd.cli import main;"
        " sys.exit(main(['sweep', 'small.toml', '--on', 'ray']))"
    )
    bare = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert bare.returncode == 2
    assert bare.stderr.splitlines()[-1] == (
        "mobilekd sweep: --on ray: the package ray is not installed; pip install 'mobilekd[ray]'"
    )
    nowhere = swept(tmp_path, "small.toml", "--on", "ray", "--address", "no-such-cluster:1")
    assert nowhere.returncode == 2
    assert "--address no-such-cluster:1: no Ray cluster can be used" in nowhere.stderr
    assert "Traceback" not in nowhere.stderr
    assert not (tmp_path / "runs").exists()
