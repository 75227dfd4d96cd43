"""Teachers from ONNX and ``.pt2`` files, and ``trained`` that names a finished file."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures.onnx_file import write_onnx
from fixtures.recipes import PLAIN
from fixtures.teachers import believe
from torch import Tensor, nn

from mobilekd.commands.distill import distill
from mobilekd.commands.teach import teach
from mobilekd.data import load
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.teacher import finished_file, read_teacher, teacher_folder
from mobilekd.formats.training_tables import TeacherTable
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_file
from mobilekd.teachers.engine import fastest
from mobilekd.teachers.network import Teacher, build_teacher
from mobilekd.teachers.program import check_alone, check_program
from mobilekd.teachers.shape_check import check_output_shape

WEIGHT = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
SMALL = Preprocess(width=32, height=32)


class Colours(nn.Module):
    """What ``write_onnx`` writes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(WEIGHT))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) @ self.weight.T


def photographs(count: int = 5) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def table(path: Path, **options: object) -> TeacherTable:
    kind = path.suffix.removeprefix(".")
    return TeacherTable(model=kind, trained=str(path), options=options)


def write_pt2(path: Path, batch: int | None = None) -> None:
    dynamic = None if batch else {"x": {0: torch.export.Dim("batch", min=1, max=4096)}}
    x = photographs(batch or 2)
    torch.export.save(torch.export.export(Colours(), (x,), dynamic_shapes=dynamic), path)


@pytest.mark.parametrize(
    ("name", "batch"), [("a.pt2", None), ("a.pt2", 2), ("a.onnx", None), ("a.onnx", 2)]
)
def test_a_program_answers_as_its_network(name: str, batch: int | None, tmp_path: Path) -> None:
    if name.endswith("pt2"):
        write_pt2(tmp_path / name, batch)
    else:
        write_onnx(tmp_path / name, WEIGHT, shape=(batch or "batch", 3, 32, 32))
    program = build_teacher(table(tmp_path / name), 9, finished=True)
    check_output_shape(program, table(tmp_path / name), 0, 9, SMALL)
    check_program(program, 0, SMALL)
    x = photographs()
    torch.testing.assert_close(program(x), Colours()(x).detach(), rtol=1e-5, atol=1e-6)
    teacher = Teacher(program)  # frozen like a network
    engine, name_of_engine = fastest(teacher, x, 10**6)
    assert name_of_engine == "its own program"
    torch.testing.assert_close(engine(x), program(x))


def test_pixels_last_and_probabilities(tmp_path: Path) -> None:
    path, x = tmp_path / "a.onnx", photographs()
    write_onnx(path, WEIGHT, shape=("batch", 32, 32, 3), softmax=True)
    with pytest.raises(UserError, match=r"set teachers.0.options.probabilities=true"):
        check_program(build_teacher(table(path), 9), 0, SMALL)
    program = build_teacher(table(path, probabilities=True), 9)
    check_program(program, 0, SMALL)
    torch.testing.assert_close(program(x).softmax(1), Colours()(x).detach().softmax(1))
    write_onnx(path, WEIGHT)
    with pytest.raises(UserError, match=r"sum to other than 1; leave it out"):
        check_program(build_teacher(table(path, probabilities=True), 9), 0, SMALL)


def test_what_a_program_cannot_be_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.onnx"
    write_onnx(path, WEIGHT, two_outputs=True)
    with pytest.raises(UserError, match=r"2 outputs: flat, logits; set .*options.output"):
        build_teacher(table(path), 9)
    with pytest.raises(UserError, match="none is called answer"):
        build_teacher(table(path, output="answer"), 9)
    for output in ("logits", 1):
        assert build_teacher(table(path, output=output), 9)(photographs()).shape == (5, 9)
    with pytest.raises(UserError, match=r"options.temperature: a program takes"):
        build_teacher(table(path, temperature=2), 9)
    write_onnx(path, WEIGHT, elsewhere=True)
    with pytest.raises(UserError, match="keeps its weights in another file; write it as one"):
        build_teacher(table(path), 9)
    write_onnx(path, WEIGHT, shape=("n", 3, 32))
    with pytest.raises(UserError, match=r"a\.onnx: "):
        build_teacher(table(path), 9)
    write_onnx(path, WEIGHT, shape=("n", 3, 224, 224))
    with pytest.raises(UserError, match=r"set teachers.0.width=224 and teachers.0.height=224"):
        check_output_shape(build_teacher(table(path), 9), table(path), 0, 9, SMALL)
    write_onnx(path, WEIGHT)
    for named in ((), ("a", "b")):
        given = table(path).model_copy(update={"classes": named})
        with pytest.raises(UserError, match=r"order of its answers in teachers.0.classes"):
            check_output_shape(build_teacher(given, 7), given, 0, 7, SMALL)
    # its own size is proposed, with its classes where their number is another
    write_onnx(path, WEIGHT, shape=("n", 3, 40, 48))
    size = r"cannot answer photographs of 32x32 .*set teachers.0.width=48 and teachers.0.height=40"
    for classes, rest in {9: "$", 7: ", and name its 9 classes .* in teachers.0.classes$"}.items():
        with pytest.raises(UserError, match=size + rest):
            check_output_shape(build_teacher(table(path), classes), table(path), 0, classes, SMALL)
    write_onnx(path, WEIGHT)
    with pytest.raises(UserError, match="it answers for 9 classes, and the data have 11; choose"):
        check_output_shape(build_teacher(table(path), 11), table(path), 0, 11, SMALL)
    for name, words in {"a.onnx": "not an ONNX file", "a.pt2": r"not a \.pt2 file"}.items():
        (tmp_path / name).write_bytes(b"neither of both\xff")
        with pytest.raises(UserError, match=words):
            build_teacher(table(tmp_path / name), 9)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'mobilekd\[onnx\]'"):
        build_teacher(table(path), 9)


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(3), nn.Dropout()], ids=["batch norm", "dropout"])
def test_a_program_that_was_saved_in_training_mode_is_refused(
    layer: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "a.pt2"
    network = nn.Sequential(layer, Colours())
    for training in (False, True):
        shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
        made = torch.export.export(
            network.train(training), (photographs(2),), dynamic_shapes=shapes
        )
        torch.export.save(made, path)
        program = build_teacher(table(path), 9)
        if not training:
            check_alone(program, "pt2", SMALL)
    with pytest.raises(UserError, match=r"teacher pt2: .*changes with the other .*model.eval\(\)"):
        check_alone(program, "pt2", SMALL)


@pytest.mark.parametrize(
    "rest", [lambda z: (z, None), lambda z: (None, z, 3), lambda z: {"loss": None, "logits": z}]
)
def test_outputs_of_a_program_that_are_no_tensors_are_passed_over(
    rest: Callable[[Tensor], object], tmp_path: Path
) -> None:
    class Answers(Colours):
        def forward(self, x: Tensor) -> object:
            return rest(super().forward(x))

    batch = ({0: torch.export.Dim("batch", min=1, max=64)},)
    made = torch.export.export(Answers(), (photographs(2),), dynamic_shapes=batch)
    torch.export.save(made, tmp_path / "a.pt2")
    x = photographs()
    torch.testing.assert_close(
        build_teacher(table(tmp_path / "a.pt2"), 9)(x), Colours()(x).detach()
    )


def test_what_is_no_program_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n"
    for name in ("a.onnx", "a.pt2"):
        for content, said in {b"": "an empty file", pointer: "a git-lfs pointer"}.items():
            (tmp_path / name).write_bytes(content)
            with pytest.raises(UserError, match=rf"{name}: is {said}.*; give the program itself"):
                build_teacher(table(tmp_path / name), 9)
    torch.jit.script(Colours()).save(tmp_path / "a.pt2")
    with pytest.raises(UserError, match=r"a.pt2: is TorchScript.*; give the program itself"):
        build_teacher(table(tmp_path / "a.pt2"), 9)
    torch.save(Colours().state_dict(), tmp_path / "a.pt2")
    with pytest.raises(UserError, match=r"it holds no program\); .*set teachers.N.model to their"):
        build_teacher(table(tmp_path / "a.pt2"), 9)
    assert capfd.readouterr().err == ""  # torch logs a traceback


def test_a_sigmoid_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its answers sum to other than 1, and as logits they teach next to nothing."""
    made = torch.export.export(nn.Sequential(Colours(), nn.Sigmoid()), (photographs(2),))
    torch.export.save(made, tmp_path / "a.pt2")
    check_program(build_teacher(table(tmp_path / "a.pt2"), 9), 0, SMALL)
    assert "lie between 0 and 1, and losses take logits; where a sigmoid" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"options.probabilities is 'false'; write true or false"):
        build_teacher(table(tmp_path / "a.pt2", probabilities="false"), 9)


def test_what_does_not_belong_together_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    write_onnx(path, WEIGHT)
    wrong = {
        "set teachers.N.model to onnx": {"model": "test_resnet", "trained": str(path)},
        "set teachers.N.model=onnx and teachers.N.trained=a.onnx": {"model": "a.onnx"},
        "set teachers.N.trained to its file": {"model": "pt2"},
        "no such file": {"model": "onnx", "trained": str(tmp_path / "b.onnx")},
        "leave weights out": {"model": "onnx", "trained": str(path), "weights": "hub"},
        "onnx is no pth": {"model": "onnx", "trained": str(tmp_path / "w.pth")},
    }
    (tmp_path / "w.pth").touch()
    for words, keys in wrong.items():
        with pytest.raises(UserError, match=words):
            build_teacher(TeacherTable(**keys), 9)
    # a folder, or what is not there yet, is one that teach wrote
    for trained in (tmp_path, tmp_path / "teachers" / "0"):
        kept = TeacherTable(model="test_resnet", trained=str(trained))
        assert finished_file(kept) is None
        assert teacher_folder(kept, Path("run"), 0) == trained
    assert teacher_folder(table(path), Path("run"), 0) == Path("run/teachers/0")


def recipe_of(path: Path, *overrides: str) -> Recipe:
    small = ["data.count=140", "data.size=40", "preprocess.width=32", "preprocess.height=32"]
    once = ["train.epochs=1", "train.views=1", "train.threads=1", "student.width=0.35"]
    teacher = f'teachers=[{{model="{path.suffix[1:]}", trained="{path}"}}]'
    return load_recipe(PLAIN, [*small, *once, "student.model=mobilenetv2", teacher, *overrides])


@pytest.mark.parametrize("name", ["a.onnx", "a.pt2"])
def test_a_student_learns_from_a_program(name: str, tmp_path: Path) -> None:
    path, runs = tmp_path / name, tmp_path / "runs"
    if name == "a.onnx":
        write_onnx(path, WEIGHT)
    else:
        write_pt2(path)
    keys = [label.key for label in load(recipe_of(path).data).classes]
    own = [*keys[::-1], "other", "none"]  # more than the data's, in another order
    classes = f"teachers.0.classes={own}".replace("'", '"')
    (folder,) = teach(recipe_of(path, classes), runs)
    record = read_teacher(folder)
    assert (record.seconds, record.classes) == (0, tuple(own))
    assert record.weights_sha256 == sha256_file(folder / f"program{path.suffix}")
    believe(folder, 0.01)
    with pytest.raises(
        UserError,
        match=r"luck alone comes to .* \(chance is 0.*\); check its file, teachers.0.classes",
    ):
        distill(recipe_of(path, classes), runs, control=False)
    believe(folder)
    path.unlink()  # the folder has all that is needed
    with pytest.raises(UserError, match=r"teacher 0 is a program .* that has none"):
        distill(
            recipe_of(
                path,
                classes,
                'losses=[{name="attention_transfer", student_layer="a", teacher_layer="b"}]',
            ),
            runs,
        )
    run = distill(recipe_of(path, classes), runs, control=False)
    assert run.info.teachers[0].weights_sha256 == record.weights_sha256
    (doubt,) = run.info.doubts
    assert "may have seen photographs that choose and judge here" in doubt
    assert doubt in run.info.notes


def test_a_checkpoint_in_trained_is_finished_beside_one_that_is_taught(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(
        "from torch import nn\n\n\ndef own(classes):\n    return nn.Sequential(\n"
        "        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))\n"
    )
    weights = tmp_path / "w.pth"
    count = len(load(recipe_of(tmp_path / "a.onnx").data).classes)
    state = {"2.weight": torch.ones(count, 3), "2.bias": torch.zeros(count)}
    torch.save({"state_dict": state}, weights)
    (tmp_path / "r.toml").write_text(
        'base = "demo"\nname = "r"\n'
        f'[[teachers]]\nmodel = "my.py:own"\ntrained = "{weights}"\n'
        '[[teachers]]\nmodel = "my.py:own"\n'
    )
    small = ["data.count=140", "data.size=40", "preprocess.width=32", "preprocess.height=32"]
    recipe = load_recipe(str(tmp_path / "r.toml"), [*small, "teach.epochs=1"])
    finished, taught = map(read_teacher, teach(recipe, tmp_path / "runs"))
    assert finished.seconds == 0 < taught.seconds
    # other epochs are another teaching, and the finished one stays what it is
    with pytest.raises(UserError, match=r"teachers/1: was taught by another recipe"):
        teach(load_recipe(str(tmp_path / "r.toml"), [*small, "teach.epochs=2"]), tmp_path / "runs")
