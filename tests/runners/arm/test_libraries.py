"""ONNX Runtime's and LiteRT's files on emulated Arm: their packages' libraries for arm64 Linux
answer as this machine does, and the runner that opens them keeps to the protocol.
"""

import numpy as np
import pytest
from fixtures import litert
from fixtures.coreml import EXAMPLE, facts, pictures, small
from fixtures.libraries import library_artifact
from fixtures.run import run_folder

from mobilekd.backends import get, names
from mobilekd.commands.bench import bench
from mobilekd.commands.export import export
from mobilekd.formats.artifact import open_artifact
from mobilekd.formats.runs import DEFAULT_REFERENCE
from mobilekd.graphs import torch_graph
from mobilekd.runners import host, program, qemu, runtimes
from mobilekd.runners.base import DeviceError
from mobilekd.runners.native import build
from mobilekd.support.files import sha256_file
from mobilekd.support.process import run_bounded

BACKENDS = ("onnx", "litert")


@pytest.fixture(scope="module", params=BACKENDS)
def artifact(request, tmp_path_factory):
    return open_artifact(library_artifact(tmp_path_factory.mktemp("a") / "small", request.param))


@pytest.fixture(scope="module")
def fp32(tmp_path_factory):
    """The network in ONNX, in floating point, with a map of classes as its second output."""
    graph, folder = (
        torch_graph.capture(small("v2", cam=True), EXAMPLE),
        tmp_path_factory.mktemp("fp"),
    )
    constants = facts("onnx", "fp32", cam=True)
    return get("onnx").lower(graph, EXAMPLE, "fp32", constants, folder).model_path


def run(artifact_or_model, *words, library=None, cpu="cortex-a53", tmp_path=None):
    """The arm64 program of a model file, by hand; the model is the second word."""
    model = getattr(artifact_or_model, "model", artifact_or_model)
    used = library or runtimes.linux_library(runtimes.of(model))
    bundle = build.arm_bundle()
    line = ["qemu-aarch64", "-cpu", cpu, "-L", qemu.root(tmp_path, cpu)]
    line += [bundle / build.LOADER, "--library-path", bundle, bundle / runtimes.program(used)]
    line += [words[0], model, *words[1:], "--library", used.path]
    return run_bounded(line, timeout=120)


@pytest.mark.parametrize("cpu", qemu.TRUSTED)
def test_int8_answers_equal_the_hosts(artifact, cpu):
    golden = artifact.golden()
    given = qemu.answers(artifact.model, golden.inputs, cpu, threads=2)
    np.testing.assert_allclose(given, golden.probabilities, atol=1e-6)


@pytest.mark.parametrize("cpu", ["cortex-a53", "a64fx"])
def test_every_output_of_an_fp32_file_equals_the_hosts(fp32, cpu):
    x = pictures(3).astype(np.uint8)
    given, wanted = qemu.outputs(fp32, x, cpu), get("onnx").run(fp32, x)
    assert len(given) == len(wanted) == 2
    for one, other in zip(given, wanted, strict=True):
        np.testing.assert_allclose(one.reshape(other.shape), other, rtol=1e-4, atol=1e-5)


def test_under_emulated_sme_xnnpacks_int8_is_wrong_in_litert_too():
    """The recorded finding about ``max`` (see ``test_qemu.py``) is of the kernels, not of
    ExecuTorch.
    """
    x = pictures(3).astype(np.uint8)
    wanted = host.answers(litert.FILE, x)
    assert np.abs(qemu.answers(litert.FILE, x, "max") - wanted).max() > 0.01
    np.testing.assert_allclose(qemu.answers(litert.FILE, x, "max,sve=off"), wanted, atol=1e-6)


def test_bench_gives_answers_no_latency_and_says_which_library(artifact, tmp_path):
    (measurement,) = bench([artifact.folder], device="qemu:cortex-a76", output=tmp_path / "r.json")
    assert measurement.valid
    assert measurement.golden.passed
    assert measurement.device.emulated
    assert (measurement.series, measurement.cold, measurement.memory) == ((), (), None)
    library = runtimes.linux_library(runtimes.of(artifact.model))
    package = library.runtime.package
    assert measurement.versions[package] == library.version
    assert measurement.versions[f"{package} library sha256"] == sha256_file(library.path)


def test_export_asks_four_processors(tmp_path):
    """As for ``.pte``: each has its row and its gate."""
    artifact = export(
        run_folder(), backend="onnx", precision="int8", output=tmp_path / "out", verify=("arm",)
    )
    rows = [stage for stage in artifact.manifest.parity if stage.stage.processor]
    assert [row.where for row in rows] == [f"qemu:{cpu}" for cpu in qemu.TRUSTED]
    assert all(row.verified for row in rows)
    gates = {str(gate.name) for gate in artifact.manifest.gates if gate.passed}
    assert gates >= {f"golden set on {cpu}" for cpu in qemu.TRUSTED}


@pytest.mark.long
@pytest.mark.parametrize("backend", [name for name in names() if get(name).processor])
def test_the_default_student_answers_on_arm(backend, tmp_path):
    """Real layers, 53 of them, whose differences add up as a small network's do not. What rounds
    alike everywhere repeats its answers; ONNX Runtime's int8 may not.
    """
    precision = "int8" if "int8" in get(backend).precisions else "fp32"
    artifact = export(
        f"reference:{DEFAULT_REFERENCE}",
        backend=backend,
        precision=precision,
        output=tmp_path / "out",
        verify=("arm",),
    )
    rows = [stage for stage in artifact.manifest.parity if stage.stage.processor]
    assert {row.where for row in rows} == {f"qemu:{cpu}" for cpu in qemu.TRUSTED}
    for row in rows:
        assert row.max_error <= artifact.golden().index.max_error
        assert (row.max_error < 1e-3) == get(backend).rounds_alike
        assert row.agreement == 1
    (measurement,) = bench([artifact.folder], device="qemu:cortex-a76", output=tmp_path / "r.json")
    assert measurement.golden.passed


def test_the_program_keeps_to_the_protocol(artifact, tmp_path):
    """Cold start, warm-up, samples, a sustained part, memory; the threads are those asked for."""
    inputs = artifact.folder / "golden/inputs.u8"
    words = ["--inputs", inputs, "--threads", "2", "--warmup", "20", "--samples", "20"]
    done = run(artifact, "measure", *words, tmp_path=tmp_path)
    answer = program.document(done, "qemu")
    assert answer["threads_in_effect"] == 2
    assert answer["input_shape"] == [1, 3, 32, 32]
    assert len(answer["warmup_ns"]) == len(answer["samples_ns"]) == 20
    phases = [answer[f"{phase}_ns"] for phase in ("file_load", "method_load", "first_inference")]
    assert min(phases) > 0
    done = run(artifact, "measure", "--seconds", "0.2", "--warmup", "20", tmp_path=tmp_path)
    answer = program.document(done, "qemu")
    assert program.STEADY in done.stdout.splitlines()
    assert len(answer["offsets_ns"]) == len(answer["samples_ns"]) > 0
    answer = program.document(run(artifact, "memory", tmp_path=tmp_path), "qemu")
    assert answer["peak_rss_bytes"] > answer["baseline_rss_bytes"] > 0


def test_what_cannot_be_run_is_refused_in_one_line(artifact, tmp_path):
    """A damaged model, other inputs, another runtime's library, none at all, no profile. LiteRT
    ends in a fault of its own where a file is cut short.
    """
    cut, inputs = tmp_path / artifact.model.name, artifact.folder / "golden/inputs.u8"
    cut.write_bytes(artifact.model.read_bytes()[:2000])
    short = tmp_path / "short.u8"
    short.write_bytes(inputs.read_bytes()[:-1])
    other = next(
        runtimes.linux_library(one)
        for one in runtimes.RUNTIMES.values()
        if one.suffix != artifact.model.suffix
    )
    none = runtimes.Library(other.runtime, tmp_path / "none.so", "")
    out = tmp_path / "out"
    damaged = (-11, "the model file is not whole") if cut.suffix == ".tflite" else (3, "damaged")
    refused = [
        (run(cut, "golden", inputs, out, tmp_path=tmp_path), *damaged),
        (run(artifact, "golden", short, out, tmp_path=tmp_path), 4, "not a whole number"),
        (run(artifact, "golden", inputs, out, library=other, tmp_path=tmp_path), 6, ": has no "),
        (run(artifact, "golden", inputs, out, library=none, tmp_path=tmp_path), 6, "not load"),
        (run(artifact, "profile", out, tmp_path=tmp_path), 2, "keeps no profile"),
    ]
    for done, code, words in refused:
        assert done.code == code, done.stderr
        with pytest.raises(DeviceError, match=f"^qemu: .*{words}"):
            program.document(done, "qemu")
    assert not out.with_suffix(".0").exists()


def test_a_file_of_neither_runtime_is_refused(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"\x00" * 100)
    with pytest.raises(DeviceError, match="neither an ONNX nor a LiteRT file"):
        qemu.answers(model, pictures(1).astype(np.uint8), "cortex-a53")
