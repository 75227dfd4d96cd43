"""The guard goes with the student: fitted at the end of training, exported, proven, asked."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures.run import reseal_run, run_folder
from PIL import Image

from mobilekd.backends import get
from mobilekd.commands.export import export
from mobilekd.commands.predict import predict
from mobilekd.commands.verify import verify
from mobilekd.formats.artifact import Artifact, open_artifact
from mobilekd.formats.calibration import Sets
from mobilekd.formats.guard import read_guard
from mobilekd.formats.parity_names import GateId, Part
from mobilekd.formats.runs import DEFAULT_REFERENCE, Run, open_run
from mobilekd.formats.training_tables import StudentTable
from mobilekd.graphs import pte, torch_graph, torch_nodes
from mobilekd.inference.guard import looked_at, shown
from mobilekd.inference.predictor import open_predictor
from mobilekd.lowering import quantize
from mobilekd.lowering.pipeline import guard_inside
from mobilekd.students import Deployable, build, load
from mobilekd.students.deployable import early_stages
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tiny run with sets, whose export fitted a guard, in fp32."""
    place = tmp_path_factory.mktemp("guarded")
    shutil.copytree(run_folder(), place / "tiny")
    keys = [label.key for label in open_run(place / "tiny").info.labels]
    thresholds = {key: 0.02 * index for index, key in enumerate(keys)}
    calibration = open_run(place / "tiny").calibration.model_copy(
        update={"sets": Sets(coverage=0.9, thresholds=thresholds)}
    )
    write_json(place / "tiny" / "calibration.json", calibration.model_dump(mode="json"))
    reseal_run(place / "tiny")
    export(place / "tiny", guard=True, output=place / "fp32")
    return open_run(place / "tiny")


def artifact(run: Run) -> Path:
    return run.folder.parent / "fp32"


@pytest.mark.parametrize(
    ("model", "stages"),
    [
        ("mobilenetv2", {"blocks.1": 8, "blocks.2": 16, "blocks.3": 24}),
        ("mobilenetv3_small", {"blocks.0": 8, "blocks.1": 8, "blocks.2": 16}),
        ("lesionnet", {"blocks.0": 16, "blocks.1": 32}),
    ],
)
def test_early_stages_are_the_first_of_each_grid(model: str, stages: dict[str, int]) -> None:
    student = build(StudentTable(model=model, width=0.35), 3).eval()
    assert early_stages(student, torch.zeros(1, 3, 128, 128)) == stages


@pytest.mark.parametrize(
    ("photographs", "layers", "deviations"),
    [
        (5000, ("a", "b", "c"), True),
        (150, ("a", "b"), True),
        (60, ("a",), True),
        (30, ("a",), False),
        (3, ("a",), False),
    ],
)
def test_fewer_photographs_fit_fewer_numbers(
    photographs: int, layers: tuple[str, ...], deviations: bool
) -> None:
    assert looked_at({"a": 8, "b": 16, "c": 24, "d": 40}, photographs) == (layers, deviations)


def test_the_graph_gives_the_document_s_score(guarded: Run) -> None:
    guard = guarded.guard
    assert guard is not None
    student, preprocess = load(guarded), guarded.recipe.preprocess.to_preprocess()
    pictures = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32)).astype(np.uint8)
    model = Deployable(student, preprocess, guarded.calibration, guard=guard).eval()
    with torch.inference_mode():
        probabilities, scores = model(torch.from_numpy(pictures).float())
        plain = Deployable(student, preprocess, guarded.calibration).eval()
        assert torch.equal(plain(torch.from_numpy(pictures).float()), probabilities)
    seen = shown(student, guard.layers, preprocess, pictures, deviations=guard.deviations)
    wanted = guard.scores(seen)
    np.testing.assert_allclose(scores[:, 0].numpy(), wanted, atol=1e-4)


def test_threads_that_ask_one_student_do_not_see_each_other_s_maps(guarded: Run) -> None:
    preprocess = guarded.recipe.preprocess.to_preprocess()
    model = Deployable(load(guarded), preprocess, guarded.calibration, guard=guarded.guard).eval()
    pictures = torch.arange(64).view(-1, 1, 1, 1).expand(-1, 3, 32, 32) * 4.0
    alone = [model(one[None])[1].item() for one in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda one: model(one[None])[1].item(), pictures))
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_the_file_holds_the_guard_and_gates_prove_it(guarded: Run) -> None:
    opened = open_artifact(artifact(guarded))
    manifest = opened.manifest
    assert manifest.outputs == ("probabilities", "outside")
    assert manifest.guard is not None
    assert guarded.guard is not None
    assert manifest.guard.threshold == guarded.guard.threshold
    assert pte.constants(opened.model)["guard_threshold"] == manifest.guard.threshold
    gates = {gate.name.id for gate in manifest.gates}
    assert {GateId.GUARD, GateId.GUARD_AGREEMENT} <= gates
    rows = [row for row in manifest.parity if row.stage.part is Part.GUARD]
    assert len(rows) >= 3
    assert all(row.agreement == 1 for row in rows)
    golden = opened.golden()
    assert golden.outside is not None
    assert golden.outside.shape == (golden.index.count,)
    failed = [
        check
        for check in verify(opened.folder, runs=guarded.folder.parent).checks
        if check.passed is False
    ]
    assert not failed


def test_sets_travel_in_the_file_and_are_told_of_every_golden_photograph(guarded: Run) -> None:
    opened = open_artifact(artifact(guarded))
    sets = opened.manifest.calibration.sets
    assert sets is not None
    inside = pte.constants(opened.model)
    assert inside["set_thresholds"] == [sets.thresholds[one.key] for one in guarded.info.labels]
    assert (inside["set_coverage"], inside["schema_version"]) == (0.9, 1)
    said = opened.golden().decisions
    assert said is not None
    predicted = predict(
        opened.folder, [opened.folder / "golden" / name for name in opened.golden().index.images]
    )
    assert [(one.answer, one.set, one.outside) for one in said] == [
        (one.answer, one.set, one.outside) for one in predicted
    ]
    texts = {label.key: label.text for label in guarded.info.labels}
    for one in predicted:
        if one.set is not None and 1 < len(one.set) < len(texts):
            assert one.set_text is not None
            assert one.set_text.startswith(texts[one.set[0]])
            assert one.set_text.endswith(f" or {texts[one.set[-1]]}")
    (opened.folder / "golden" / "decisions.json").rename(opened.folder / "kept")
    try:
        older = {
            name: sha for name, sha in opened.manifest.files.items() if "decisions" not in name
        }
        manifest = opened.manifest.model_copy(update={"files": older})
        assert Artifact(opened.folder, manifest).golden().decisions is None
    finally:
        (opened.folder / "kept").rename(opened.folder / "golden" / "decisions.json")


def test_what_is_refused_is_said_in_words(guarded: Run, tmp_path: Path) -> None:
    strict = tmp_path / "strict"
    shutil.copytree(guarded.folder, strict)
    assert guarded.guard is not None
    refusing = guarded.guard.model_copy(update={"threshold": 0.0})
    write_json(strict / "guard.json", refusing.model_dump(mode="json"))
    reseal_run(strict)
    Image.new("RGB", (64, 64), (180, 110, 90)).save(tmp_path / "plain.png")
    (answer,) = predict(strict, [tmp_path / "plain.png"])
    assert answer.outside is True
    assert answer.answer == "outside"
    assert answer.text == "this does not look like the photographs this model knows"
    assert not answer.sure
    lenient = refusing.model_copy(update={"threshold": 1.0})
    write_json(strict / "guard.json", lenient.model_dump(mode="json"))
    reseal_run(strict)
    assert predict(strict, [tmp_path / "plain.png"])[0].outside is False


def test_run_and_file_refuse_the_same(guarded: Run) -> None:
    pictures = open_artifact(artifact(guarded)).golden().inputs
    run, file = (
        open_predictor(place).answers(pictures) for place in (guarded.folder, artifact(guarded))
    )
    assert run.scores is not None
    assert file.scores is not None
    np.testing.assert_allclose(run.scores, file.scores, atol=1e-4)
    np.testing.assert_array_equal(run.outside, file.outside)


def test_a_guard_that_was_added_is_in_a_file_where_it_is_asked_for(guarded: Run) -> None:
    """So a shipped student exports to the bytes that it had before."""
    shipped, backend = open_run("reference:ham10000-mobilenetv2-035"), get("xnnpack")
    assert shipped.guard is not None
    without, notes = guard_inside(shipped, backend, "int8", asked=False)
    assert without is None
    assert "--guard puts it in" in notes[0]
    assert guard_inside(shipped, backend, "int8", asked=True) == (shipped.guard, ())
    assert guard_inside(guarded, backend, "int8", asked=False) == (guarded.guard, ())
    assert "added" not in json.loads((guarded.folder / "guard.json").read_text())


def test_a_shipped_student_refuses_what_no_camera_made(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    Image.new("RGB", (300, 200), (40, 90, 200)).save(tmp_path / "blue.png")
    noise = random.integers(0, 256, (200, 300, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    bars = np.zeros((200, 300, 3), np.uint8)
    bars[:, ::20] = 255
    Image.fromarray(bars).save(tmp_path / "bars.png")
    said = predict(f"reference:{DEFAULT_REFERENCE}", sorted(tmp_path.iterdir()))
    assert [(one.answer, one.outside) for one in said] == [("outside", True)] * 3


def test_a_transformer_has_no_early_stages() -> None:
    class Tokens(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = torch.nn.Sequential(torch.nn.Linear(3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks(x.flatten(2).transpose(1, 2)).mean(1)

    assert early_stages(Tokens(), torch.zeros(1, 3, 8, 8)) == {}


def test_an_old_run_says_nothing_of_it(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (180, 110, 90)).save(tmp_path / "plain.png")
    (answer,) = predict(run_folder(), [tmp_path / "plain.png"])
    assert answer.outside is None
    assert open_predictor(run_folder()).guard is None


def test_int8_keeps_the_guard_in_floating_point(guarded: Run, tmp_path: Path) -> None:
    made = export(guarded.folder, precision="int8", output=tmp_path / "int8")
    agreement = next(g for g in made.manifest.gates if g.name.id is GateId.GUARD_AGREEMENT)
    assert agreement.value >= 0.9
    assert made.manifest.outputs == ("probabilities", "outside")


def test_a_guard_reads_floats_and_leaves_the_student_s_rounding_as_it_is(guarded: Run) -> None:
    """So parameters that were frozen without a guard serve a file that holds one."""
    backend, preprocess = get("xnnpack"), guarded.recipe.preprocess.to_preprocess()
    pictures = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32)).astype(np.uint8)
    example = torch.zeros(1, 3, 32, 32)

    def rounded(graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
        prepared = quantize.prepare(graph, backend.quantizer("int8", frozenset()), "minmax")
        quantize.calibrate(prepared, pictures)
        return quantize.convert(prepared)

    graphs = []
    for guard in (None, guarded.guard):
        model = Deployable(load(guarded), preprocess, guarded.calibration, guard=guard).eval()
        graphs.append(torch_graph.capture(model, example))
        torch_graph.fold_calibration(graphs[-1])
    plain, whole = map(rounded, graphs)
    inside = set(torch_nodes.guard_nodes(whole))
    assert inside
    assert not [node for node in torch_nodes.ranged(whole) if node.args[0] in inside]
    names = quantize.range_names(rounded(torch_nodes.without_guard(graphs[1])))
    kept = quantize.freeze(plain)
    assert quantize.freeze(whole, names=names).ranges == kept.ranges
    answers, scores = quantize.thaw(whole, kept, names)(torch.from_numpy(pictures[:1]).float())
    assert torch.equal(answers, plain(torch.from_numpy(pictures[:1]).float()))
    assert 0 <= float(scores) <= 1


@pytest.mark.parametrize("backend", ["coreml", "coreml-pte"])
def test_core_ml_gives_the_score_and_compressed_says_that_it_cannot(
    guarded: Run, backend: str, tmp_path: Path
) -> None:
    made = export(guarded.folder, backend=backend, precision="fp16", output=tmp_path / "fp16")
    assert made.manifest.outputs == ("probabilities", "outside")
    small = export(guarded.folder, backend=backend, precision="int8", output=tmp_path / "int8")
    assert small.manifest.outputs == ("probabilities",)
    assert small.manifest.guard is None
    assert any("without the guard" in note for note in small.manifest.notes)


def clinic(folder: Path, count: int) -> Path:
    """Photographs of a clinic whose lamp is yellow; two of them are equal."""
    folder.mkdir()
    random = np.random.default_rng(5)
    for index in range(count):
        lamp = np.array([230, 190, 60]) + random.normal(0, 8, 3)
        pixels = np.clip(random.normal(lamp, 12, (40, 40, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03}.png")
    shutil.copy(folder / "000.png", folder / "copy.png")
    return folder


def test_a_guard_knows_a_clinic_s_photographs_besides(
    guarded: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs = clinic(tmp_path / "clinic", 120)
    made = export(
        guarded.folder,
        precision="int8",
        guard_photographs=photographs,
        output=tmp_path / "int8",
        overrides=["gates.agreement=0.5", "gates.accuracy_drop=1.0"],
    )
    said = capsys.readouterr().err
    assert "1 photograph (copy) equal to another one, as the student takes them, left" in said
    assert "its guard knows 120 photographs of a clinic besides those of training" in said
    guard = made.manifest.guard
    assert guard is not None
    assert guard.clinic == 120
    assert any("its guard knows 120 photographs" in note for note in made.manifest.notes)
    agreement = [one for one in made.manifest.gates if one.name.id is GateId.GUARD_AGREEMENT]
    assert [one.recorded for one in agreement] == [False]
    assert [one for one in verify(made.folder).checks if one.passed is False] == []
    # the run's own guard stays, and so does a file without the clinic
    assert open_run(guarded.folder).guard == guarded.guard
    names = sorted(photographs.glob("*.png"))
    knows, does_not = (
        sum(bool(one.outside) for one in predict(place, names))
        for place in (made.folder, artifact(guarded))
    )
    assert does_not > 100
    assert knows < 10


def test_verify_asks_the_student_with_the_guard_that_the_file_has(
    guarded: Run, tmp_path: Path
) -> None:
    """The run's own gives other scores than one that knows a clinic."""
    made = export(
        guarded.folder,
        guard_photographs=clinic(tmp_path / "clinic", 110),
        output=tmp_path / "fp32",
    )
    kept = read_guard(made.folder)
    assert kept is not None
    assert kept.summary() == made.manifest.guard
    checks = {one.name: one for one in verify(made.folder, runs=guarded.folder.parent).checks}
    assert checks["student"].passed is True
    assert checks["decisions"].passed is not False
    assert read_guard(artifact(guarded)) is None, "the run's guard is the file's"


def test_what_a_guard_cannot_know_is_refused(guarded: Run, tmp_path: Path) -> None:
    few = clinic(tmp_path / "few", 90)
    with pytest.raises(UserError, match=r"90 photographs, too few .* give more than 100"):
        export(guarded.folder, guard_photographs=few, output=tmp_path / "none")
    flat = tmp_path / "flat"
    flat.mkdir()
    for side in range(40, 150):  # one colour: all are equal once the student takes them
        Image.new("RGB", (side, 40), (180, 110, 90)).save(flat / f"{side:03}.png")
    with pytest.raises(UserError, match="guard: 1 photograph, too few to know"):
        export(guarded.folder, guard_photographs=flat, output=tmp_path / "none")
    with pytest.raises(UserError, match="absent: no such folder; give a folder of photographs"):
        export(guarded.folder, guard_photographs=tmp_path / "absent", output=tmp_path / "none")
    with pytest.raises(UserError, match=r"000\.png: a file, not a folder; give a folder of"):
        export(guarded.folder, guard_photographs=few / "000.png", output=tmp_path / "none")
    with pytest.raises(UserError, match="--guard-photographs: tiny gets no guard here"):
        export(
            guarded.folder,
            backend="coreml",
            precision="int8",
            guard_photographs=few,
            output=tmp_path / "none",
        )
    assert not (tmp_path / "none").exists()
