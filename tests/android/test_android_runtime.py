"""The app's own ExecuTorch class over Android's own libraries: the golden set, refusals, benchmark;
x86_64, and arm64 emulated.
"""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from android_fixtures import GOLDEN
from host_jvm import HostJvm, host_jvm

from mobilekd.backends.xnnpack import BACKEND
from mobilekd.formats.artifact import open_artifact
from mobilekd.formats.measurement import Series, Sustained
from mobilekd.graphs import torch_graph


@pytest.fixture(scope="module")
def jvm(tools, community, tmp_path_factory) -> HostJvm:
    return host_jvm("x86_64", tools, community, tmp_path_factory.mktemp("shim"))


def pictures(artifact, folder):
    """The golden set's inputs as the app's resize leaves them: RGB, pixel by pixel."""
    golden = open_artifact(artifact).golden()
    files = []
    for index, planes in enumerate(golden.inputs):
        files.append(folder / f"{index:02d}.rgb")
        files[-1].write_bytes(planes.transpose(1, 2, 0).tobytes())
    return golden, files


def check_golden(jvm, artifact, folder):
    opened = open_artifact(artifact)
    golden, files = pictures(artifact, folder)
    answer = jvm.run("golden", opened.model, *files)
    found = (
        np.array(answer["probabilities"], np.float32)[:, 0]
        if np.ndim(answer["probabilities"]) == 3
        else np.array(answer["probabilities"], np.float32)
    )
    assert np.abs(found - golden.probabilities).max() <= golden.index.max_error
    labels = [label.text for label in opened.manifest.labels]
    assert answer["labels"] == labels
    assert answer["best"] == [labels[best] for best in golden.probabilities.argmax(1)]
    assert golden.decisions is not None
    texts = {label.key: label.text for label in opened.manifest.labels}
    assert answer["decisions"] == [
        {
            "answer": texts.get(said.answer, said.answer),
            "set": None if said.set is None else [texts[key] for key in said.set],
            "outside": bool(said.outside),
        }
        for said in golden.decisions
    ]
    assert answer["threshold"] == opened.manifest.calibration.threshold
    if golden.cam is not None:
        assert np.abs(np.array(answer["maps"]).reshape(golden.cam.shape) - golden.cam).max() <= 1e-4


def test_golden_set(jvm, artifact, tmp_path):
    check_golden(jvm, artifact, tmp_path)


def test_golden_set_of_the_shipped_reference(jvm, reference, tmp_path):
    check_golden(jvm, reference, tmp_path)


def test_the_whole_path_from_photograph_to_answer(jvm, artifact, decoded):
    """Decoded, cropped and resized by the app under Robolectric, then answered by the app's
    engine.
    """
    golden = open_artifact(artifact).golden()
    answer = jvm.run(
        "golden", open_artifact(artifact).model, *(decoded / f"{name}.u8" for name in GOLDEN)
    )
    assert (
        np.abs(np.array(answer["probabilities"]) - golden.probabilities).max()
        <= golden.index.max_error
    )


def test_where_decoders_differ_the_answer_hardly_does(jvm, artifact, decoded, shots):
    opened = open_artifact(artifact)
    preprocess = opened.manifest.preprocess
    names = ("exif8.webp", "huge.png")
    answer = jvm.run("golden", opened.model, *(decoded / f"{name}.u8" for name in names))
    inputs = np.stack([preprocess.load(shots / name).transpose(2, 0, 1) for name in names]).astype(
        np.float32
    )
    assert (
        np.abs(np.array(answer["probabilities"]) - BACKEND.run(opened.model, inputs)[0]).max()
        <= 0.02
    )


def test_another_model_without_a_map(jvm, other_artifact, tmp_path):
    said = open_artifact(other_artifact).golden().decisions
    assert [(one.answer, one.set) for one in said] == [
        ("not sure", ("mel",)),  # the set excludes the likeliest class
        ("bkl", ("bkl", "mel")),
    ]
    check_golden(jvm, other_artifact, tmp_path)


def test_unfit_files_are_refused_in_the_app_s_own_words(jvm, artifact, tmp_path):
    whole = open_artifact(artifact).model.read_bytes()
    files = {
        "empty.pte": b"",
        "short.pte": whole[:100],
        "half.pte": whole[: len(whole) // 2],
        "noise.pte": np.random.default_rng(0).bytes(5000),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    foreign = foreign_model(tmp_path / "foreign.pte")
    liar = lying_model(tmp_path / "liar.pte")
    said = jvm.run(
        "refuse", *(tmp_path / name for name in files), tmp_path / "missing.pte", foreign, liar
    )
    for name in (*files, "missing.pte"):
        assert said[name].startswith("Unreadable("), said
    assert said["foreign.pte"] == "Foreign(missing=schema_version)"
    assert said["liar.pte"].startswith("WrongShape("), said


def test_a_file_whose_delegate_the_runtime_lacks_is_passed_over(
    jvm, artifact, hexagon_artifact, tmp_path
):
    """What the app's own code hears from Android's own runtime, and which file it takes then."""
    files = [tmp_path / "any.pte", tmp_path / "SM8650.pte"]
    for file, folder in zip(files, (artifact, hexagon_artifact), strict=True):
        file.write_bytes(open_artifact(folder).model.read_bytes())
    fits = jvm.run("choose", Path("SM8650"), *files)
    assert fits["answers"] == "any.pte"
    assert fits["passed"]["SM8650.pte"].startswith("NoDelegate(detail=")
    other = jvm.run("choose", Path("Tensor G3"), *files)
    assert other["answers"] == "any.pte"
    assert other["passed"] == {"SM8650.pte": "OtherChip(wanted=SM8650, found=Maker Tensor G3)"}


def foreign_model(path):
    """An ExecuTorch model that mobilekd did not export."""
    import torch
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(torch.nn.Linear(3, 2).eval(), (torch.zeros(1, 3),))
    path.write_bytes(to_edge_transform_and_lower(exported).to_executorch().buffer)
    return path


def lying_model(path):
    """All constants are there, but the network wants another size than they say."""
    import torch
    from artifact_fixture import LABELS, Small

    from mobilekd.formats.calibration import Calibration
    from mobilekd.formats.constants import constants
    from mobilekd.formats.preprocess import Preprocess
    from mobilekd.students import Deployable

    preprocess = Preprocess(width=40, height=40)
    told = constants(
        name="liar",
        backend="xnnpack",
        precision="fp32",
        labels=LABELS,
        preprocess=preprocess,
        calibration=Calibration(),
        outputs=("probabilities",),
        card="",
        student="",
        versions={},
    )
    folder = path.with_suffix("")
    folder.mkdir()
    model = Deployable(Small().eval(), preprocess, Calibration()).eval()
    example = torch.zeros(1, 3, 24, 24)
    BACKEND.lower(
        torch_graph.capture(model, example), example, "fp32", told, folder
    ).model_path.rename(path)
    return path


def test_benchmark_core_answers_as_the_contract_says(jvm, artifact):
    opened = open_artifact(artifact)
    answer = jvm.run("bench", opened.model, opened.folder / "golden/inputs.u8")
    golden = opened.golden()
    found = np.frombuffer(base64.b64decode(answer["golden"]["answers"]), "<f4").reshape(
        golden.probabilities.shape
    )
    assert np.abs(found - golden.probabilities).max() <= golden.index.max_error
    for measured in answer["measure"]:
        assert measured["model_sha256"] == opened.manifest.files["model.pte"]
        series = Series.model_validate(measured["series"])
        assert len(series.samples_ns) == 20
        assert min(series.samples_ns) > 0
        assert series.steady_rule.startswith("median of 10")
        assert Sustained.model_validate(measured["sustained"]).blocks
        assert all(
            measured["cold"][key] > 0
            for key in ("file_load_ns", "method_load_ns", "first_inference_ns")
        )
        assert measured["memory"]["peak_rss_bytes"] >= measured["memory"]["baseline_rss_bytes"]


def test_loading_again_and_again_gives_the_same(jvm, artifact):
    assert jvm.run("reload", open_artifact(artifact).model) == {"distinct": 1}


@pytest.mark.long
def test_golden_set_on_emulated_arm64(tools, community, artifact, tmp_path_factory):
    arm = host_jvm("aarch64", tools, community, tmp_path_factory.mktemp("shim-arm64"))
    check_golden(arm, artifact, tmp_path_factory.mktemp("pictures"))


def test_the_app_compiles_against_the_official_api(tools, community, tmp_path):
    """The official 1.5 classes are Kotlin where the community's are Java; signatures as published,
    bodies empty.
    """
    from mobilekd.android.compile import kotlin
    from mobilekd.android.maven import classpath
    from mobilekd.android.sources import demo_sources

    model = demo_sources() / "app/src/main/kotlin/org/mobilekd/demo/model"
    sources = [
        Path(__file__).with_name("official_api.kt"),
        model / "ExecuTorchEngine.kt",
        model / "Engine.kt",
    ]
    kotlin(sources, classpath("app", tools), tmp_path / "classes", tools)
    assert (tmp_path / "classes/org/mobilekd/demo/model/ExecuTorchEngine.class").is_file()


def test_answers_are_json(jvm, artifact):
    assert (
        json.dumps(jvm.run("refuse", open_artifact(artifact).model)) == '{"model.pte": "accepted"}'
    )
