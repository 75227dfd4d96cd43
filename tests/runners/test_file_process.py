"""A file of ONNX Runtime or LiteRT on this machine holds to the C++ runner's protocol: answers,
phases, failures.
"""

import json
from contextlib import suppress

import numpy as np
import pytest
from fixtures import litert
from fixtures.bench import has_every_phase
from fixtures.coreml import pictures
from fixtures.run import exported

from mobilekd.commands.bench import bench
from mobilekd.commands.report import report
from mobilekd.formats.artifact import open_artifact
from mobilekd.graphs import onnx_file
from mobilekd.runners import get, host
from mobilekd.runners.base import BindError, DeviceError, Setting
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json


@pytest.fixture(scope="module")
def artifact():
    return open_artifact(exported("int8", "onnx"))


def test_answers_are_the_golden_ones(artifact):
    golden = artifact.golden()
    given = host.answers(artifact.model, golden.inputs)
    np.testing.assert_allclose(given, golden.probabilities, atol=1e-6)


def test_every_session_is_told_the_same(artifact, monkeypatch):
    """The file is measured with the settings with which it was proved."""
    monkeypatch.setattr(onnx_file, "SESSION", {"session.no_such_key_of_any_runtime": "1"})
    said: list[list[str]] = []
    monkeypatch.setattr(
        host.program, "run", lambda command, **_: said.append(list(map(str, command))) or _ended()
    )
    with pytest.raises(DeviceError):
        host.answers(artifact.model, artifact.golden().inputs)
    assert said[0][-2:] == ["--session", "session.no_such_key_of_any_runtime=1"]


def test_a_tflite_file_is_run_and_refused_alike(tmp_path):
    x = pictures(3)
    given = host.answers(litert.FILE, x.astype(np.uint8))
    np.testing.assert_array_equal(given, litert.BACKEND.run(litert.FILE, x.astype(np.uint8))[0])
    with pytest.raises(DeviceError, match="not a whole number of the model's inputs"):
        host.answers(litert.FILE, x[:1, :, :-1].astype(np.uint8))
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(litert.FILE.read_bytes()[:1000])
    with pytest.raises(DeviceError, match=r"cut\.tflite: cannot be loaded"):
        host.answers(cut, x.astype(np.uint8))


def _ended():
    return host.program.CompletedCommand(1, "", "mobilekd-runner: ended")


def test_a_measurement_has_every_phase(artifact):
    has_every_phase(artifact)


def test_sustained_and_memory(artifact):
    started: list[int] = []
    runner = get("host")
    reading = runner.measure(
        artifact, Setting(threads=1, samples=0, seconds=0.2), watch=lambda: started.append(1)
    )
    assert started == [1]
    assert reading.sustained.blocks
    memory = runner.memory(artifact, 1)
    assert memory.peak_rss_bytes > memory.baseline_rss_bytes > 0


def test_what_it_cannot_do_is_one_line(artifact, tmp_path):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(artifact.model.read_bytes()[:1000])
    with pytest.raises(DeviceError, match=r"cut\.onnx: cannot be loaded"):
        host.answers(cut, artifact.golden().inputs)
    with pytest.raises(DeviceError, match="not a whole number of the model's inputs"):
        host.answers(artifact.model, artifact.golden().inputs[:1, :, :-1])
    with pytest.raises(BindError, match="refuses to bind"):
        get("host").measure(artifact, Setting(threads=1, samples=20, cores="9999"))


def test_two_runtimes_are_measured_in_turn(tmp_path):
    """The same student for ExecuTorch and for ONNX Runtime, interleaved in one session."""
    places = [exported("int8"), exported("int8", "onnx")]
    with suppress(UserError):  # where others use the machine no series may be steady
        bench(places, threads=(1,), samples=20, output=tmp_path, cool_wait=0)
    ours, theirs = (
        json.loads((tmp_path / f"tiny-{backend}-int8.json").read_text())
        for backend in ("xnnpack", "onnx")
    )
    assert ours["session"] == theirs["session"]
    assert ours["golden"]["passed"]
    assert theirs["golden"]["passed"]
    assert [one["order"] for one in theirs["series"]] == [1, 2, 5]
    assert theirs["versions"]["onnxruntime"]


def test_the_app_runs_no_onnx(artifact):
    with pytest.raises(UserError, match=r"the app has ExecuTorch alone; leave --via app out"):
        bench([artifact.folder], device="adb", via="app")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_three_runtimes_stand_side_by_side_in_one_report(tmp_path):
    """``.pte``, ``.onnx`` and ``.tflite`` of one student: measured in turn, equal in int8."""
    places = [exported("int8", backend) for backend in ("xnnpack", "onnx", "litert")]
    with suppress(UserError):  # as above
        bench(places, threads=(1,), samples=20, output=tmp_path / "results", cool_wait=0)
    golden = [open_artifact(place).golden().probabilities for place in places]
    np.testing.assert_allclose(golden[2], golden[0], atol=1e-6)
    np.testing.assert_allclose(golden[1], golden[0], atol=0.02)
    report([*places, tmp_path / "results"], tmp_path / "report.html")
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    measured = [read_json(path, "result") for path in sorted((tmp_path / "results").iterdir())]
    assert [one["backend"] for one in measured] == ["litert", "onnx", "xnnpack"]
    assert len({one["session"] for one in measured}) == 1
    assert all(one["golden"]["passed"] for one in measured)
    assert all(one["artifact"] in page for one in measured)
    if all(one["valid"] for one in measured):  # where nobody else uses the machine
        assert "LiteRT (XNNPACK)" in page.partition("Which runtime for this file")[2]
