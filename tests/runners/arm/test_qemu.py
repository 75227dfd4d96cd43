"""The same answers on Arm: a small fp32 and an int8 network on four emulated processors, and the
finding about SME.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.bench import spoil_answers, tiny_artifact
from fixtures.run import run_folder

from mobilekd.commands.bench import bench
from mobilekd.commands.export import export
from mobilekd.commands.verify import verify
from mobilekd.formats.artifact import open_artifact
from mobilekd.formats.measurement import read_measurement
from mobilekd.lowering import arm
from mobilekd.runners import qemu
from mobilekd.runners.native import build
from mobilekd.support.errors import GateError, UserError
from mobilekd.support.files import cache_folder, sha256_file


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    return {
        precision: tiny_artifact(folder / precision, precision) for precision in ("fp32", "int8")
    }


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_export_and_verify_ask_four_processors(precision, tmp_path):
    """The commands themselves: every processor has its row and its gate, and ``verify --arm`` asks
    all of them again.
    """
    artifact = export(run_folder(), precision=precision, output=tmp_path / "out", verify=("arm",))
    rows = {str(stage.stage): stage for stage in artifact.manifest.parity if stage.stage.processor}
    assert list(rows) == [f"saved file on Arm ({cpu})" for cpu in qemu.TRUSTED]
    assert len(rows) == 4
    assert all(
        stage.verified and stage.where == f"qemu:{cpu}"
        for cpu, stage in zip(qemu.TRUSTED, rows.values(), strict=True)
    )
    assert {f"golden set on {cpu}" for cpu in qemu.TRUSTED} <= {
        str(gate.name) for gate in artifact.manifest.gates if gate.passed
    }
    checks = {
        check.name: check.passed
        for check in verify(artifact.folder, arm=True, runs=run_folder().parent).checks
    }
    assert all(checks[f"golden set on {cpu}"] for cpu in qemu.TRUSTED)


def test_a_processor_that_answers_otherwise_is_named(tmp_path, monkeypatch):
    """One emulated processor is fed red for blue: the export is refused by that processor's gate
    and stage.
    """
    sound = arm.outputs

    def swapped(model_path: Path, inputs: np.ndarray, cpu: str) -> list[np.ndarray]:
        return sound(model_path, inputs[:, ::-1] if cpu == "a64fx" else inputs, cpu)

    monkeypatch.setattr(arm, "outputs", swapped)
    with pytest.raises(GateError, match=r"golden set on a64fx: .*'saved file on Arm \(a64fx\)'"):
        export(run_folder(), output=tmp_path / "out", verify=("arm",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cpu", qemu.TRUSTED)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_answers_equal_the_hosts(artifacts, cpu, precision):
    artifact = open_artifact(artifacts[precision])
    golden = artifact.golden()
    np.testing.assert_allclose(
        qemu.answers(artifact.model, golden.inputs, cpu), golden.probabilities, atol=1e-6
    )


def test_under_emulated_sme_int8_answers_are_wrong(artifacts):
    """A recorded finding, not a wish: XNNPACK 1.5.1's SME int8 kernels under qemu 7.2's ``max``;
    with ``sve=off`` they are right.

    When this fails because the answers became right, the finding is out of date: say so where it is
    told (benchmarks/protocol.md).
    """
    artifact = open_artifact(artifacts["int8"])
    golden = artifact.golden()
    assert (
        np.abs(qemu.answers(artifact.model, golden.inputs, "max") - golden.probabilities).max()
        > 0.01
    )
    np.testing.assert_allclose(
        qemu.answers(artifact.model, golden.inputs, "max,sve=off"), golden.probabilities, atol=1e-6
    )


def test_bench_on_an_emulated_processor_gives_answers_and_no_latency(artifacts, tmp_path):
    (measurement,) = bench(
        [artifacts["int8"]], device="qemu:cortex-a53", output=tmp_path / "r.json"
    )
    assert measurement.valid
    assert measurement.golden.passed
    assert measurement.device.emulated
    assert (measurement.series, measurement.cold, measurement.sustained, measurement.memory) == (
        (),
        (),
        None,
        None,
    )


def test_wrong_answers_are_reported(artifacts, tmp_path):
    spoilt = tmp_path / "spoilt"
    shutil.copytree(artifacts["fp32"], spoilt)
    spoil_answers(spoilt)
    with pytest.raises(UserError, match=r"wrong answers, so no latency: picture 2"):
        bench([spoilt], device="qemu:cortex-a53", output=tmp_path / "r.json")
    assert not read_measurement(tmp_path / "r.json").valid


def test_unknown_processors_are_refused(artifacts):
    with pytest.raises(UserError, match="qemu:pentium: unknown; known: cortex-a53"):
        qemu.answers(artifacts["fp32"] / "model.pte", np.zeros((1, 3, 32, 32), np.uint8), "pentium")


def test_the_bundle_needs_nothing_but_itself_and_the_kernel(artifacts, tmp_path):
    """An empty root: no C library, no linker, no shell; only the kernel's /proc and /sys, which
    every phone has.
    """
    if shutil.which("proot") is None:
        pytest.skip("proot is not on this machine; mobilekd doctor --install")
    sys.path.insert(0, str(Path(__file__).parents[1] / "adb"))
    from pretend_phone import hide_new_calls

    place = tmp_path / "root" / "b"
    place.mkdir(parents=True)
    artifact = open_artifact(artifacts["int8"])
    for file in [
        *build.arm_bundle().iterdir(),
        artifact.model,
        artifact.folder / "golden/inputs.u8",
    ]:
        shutil.copy(file, place)
    line = [
        "proot",
        "-v",
        "-1",
        "-r",
        str(place.parent),
        "-b",
        "/proc",
        "-b",
        "/sys",
        "-q",
        "qemu-aarch64 -cpu cortex-a53",
        "-w",
        "/b",
    ]
    line += [
        "/b/ld-linux-aarch64.so.1",
        "--library-path",
        "/b",
        "/b/mobilekd-runner",
        "golden",
        "model.pte",
        "inputs.u8",
        "out",
    ]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=120, preexec_fn=hide_new_calls()
    )
    assert done.returncode == 0, done.stderr
    answers = np.fromfile(place / "out.0", "<f4").reshape(artifact.golden().probabilities.shape)
    np.testing.assert_allclose(answers, artifact.golden().probabilities, atol=1e-6)


def test_the_bundle_carries_licences_and_knows_its_files():
    bundle = build.arm_bundle()
    notices = (bundle / "NOTICES.txt").read_text(encoding="utf-8")
    assert "ExecuTorch" in notices
    assert "LGPL" in notices
    assert "GCC RUNTIME LIBRARY EXCEPTION" in notices.upper() or "GCC runtime exception" in notices
    description = json.loads((bundle / "bundle.json").read_text())
    assert {name: sha256_file(bundle / name) for name in description["files"]} == description[
        "files"
    ]


def test_libraries_are_aligned_for_16_kb_pages():
    for file in build.arm_bundle().iterdir():
        if file.suffix in (".txt", ".json"):
            continue
        text = subprocess.run(
            ["aarch64-linux-gnu-readelf", "-lW", file], capture_output=True, text=True, check=True
        ).stdout
        alignments = [
            int(line.split()[-1], 16)
            for line in text.splitlines()
            if line.strip().startswith("LOAD")
        ]
        assert alignments
        assert min(alignments) >= 0x4000, file.name


@pytest.mark.long
def test_the_build_is_reproducible(tmp_path, monkeypatch):
    """Another cache folder, so another path of the wheel too: the same bytes."""
    first = sha256_file(build.arm_bundle() / build.PROGRAM)
    shutil.copytree(
        cache_folder() / f"executorch-{build.executorch_version()}-aarch64",
        tmp_path / "wheel",
    )
    monkeypatch.setattr(build, "arm_wheel", lambda: tmp_path / "wheel" / "executorch")
    monkeypatch.setenv("MOBILEKD_CACHE", str(tmp_path / "cache"))
    bundle = build.arm_bundle()
    assert bundle.is_relative_to(tmp_path)
    assert sha256_file(bundle / build.PROGRAM) == first
    assert str(tmp_path).encode() not in (bundle / build.PROGRAM).read_bytes()
    assert os.path.expanduser("~").encode() not in (bundle / build.PROGRAM).read_bytes()
