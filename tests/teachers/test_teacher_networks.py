"""Any timm or torchvision network teaches: those that answer otherwise are mended, those of another
size refused before an epoch.
"""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from fixtures.recipes import PLAIN
from torch import nn

from mobilekd.commands.teach import teach
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.training_tables import TeacherTable
from mobilekd.students.surgery import avoid_onednn_overflow
from mobilekd.support.errors import UserError
from mobilekd.teachers.network import Teacher, build_teacher, load_teacher, save_teacher
from mobilekd.teachers.shape_check import check_output_shape

CLASSES = 7


def checked(table: TeacherTable, side: int) -> nn.Module:
    torch.manual_seed(0)
    model = build_teacher(table, CLASSES)
    check_output_shape(model, table, 2, CLASSES, Preprocess(side, side))
    return model


@pytest.mark.parametrize(
    "name",
    [
        "torchvision:googlenet",  # auxiliary heads
        "torchvision:inception_v3",
        "torchvision:squeezenet1_1",  # ends in a convolution
        "torchvision:mnasnet0_5",  # asks for its version when it is loaded
        "repvgg_a0",  # its stem's gradient kills the process in oneDNN
        "coat_lite_tiny",  # layers share weights
    ],
)
def test_networks_that_are_made_otherwise_learn_and_are_opened_again(
    name: str, tmp_path: Path
) -> None:
    table = TeacherTable(model=name, options={"img_size": 96} if name.startswith("coat") else {})
    model = checked(table, 96).to(memory_format=torch.channels_last).train()
    x = torch.randn(4, 3, 96, 96)
    logits = model(x)
    assert logits.shape == (4, CLASSES)
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    torch.optim.SGD([p for p in model.parameters() if p.grad is not None], lr=1e-3).step()
    save_teacher(model, tmp_path / "weights.safetensors")
    again = build_teacher(table, CLASSES)
    load_teacher(again, tmp_path / "weights.safetensors")
    wanted, given = Teacher(model)(x), Teacher(again)(x)
    assert float((wanted - given).abs().max()) <= 1e-3 * float(wanted.abs().max())


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("vit_tiny_patch16_224", "set teachers.2.options.img_size=96"),
        ("torchvision:vit_b_32", "set teachers.2.options.image_size=96"),
        ("torchvision:maxvit_t", "set teachers.2.width=224 and teachers.2.height=224"),
    ],
)
def test_a_network_of_another_size_is_refused_with_a_remedy_that_works(
    name: str, remedy: str
) -> None:
    table = TeacherTable(model=name)
    with pytest.raises(UserError) as refused:
        checked(table, 96)
    assert str(refused.value).startswith(
        f"teacher {name}: cannot learn from photographs of 96x96 ("
    )
    assert str(refused.value).endswith(f"; {remedy}")
    if "options" in remedy:
        key, _, value = remedy.partition("options.")[2].partition("=")
        checked(table.model_copy(update={"options": {key: int(value)}}), int(value))
    elif "224" in remedy:
        checked(table, 224)


def test_a_list_of_maps_is_no_answer() -> None:
    with pytest.raises(UserError, match=r"its answer is a list, not a tensor\); choose another"):
        checked(TeacherTable(model="test_resnet", options={"features_only": True}), 64)


def test_asking_changes_nothing() -> None:
    table = TeacherTable(model="test_resnet")
    model = build_teacher(table, CLASSES)
    before, random = (
        {key: value.clone() for key, value in model.state_dict().items()},
        torch.random.get_rng_state(),
    )
    check_output_shape(model, table, 0, CLASSES, Preprocess(32, 32))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)


def test_imagenets_weights_make_no_other_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision turns ``transform_input`` on with them. The file lies where a download would have
    put it.
    """
    original = torchvision.models.googlenet(weights=None, init_weights=False)
    name = torchvision.models.GoogLeNet_Weights.DEFAULT.url.rpartition("/")[2]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(original.state_dict(), tmp_path / "hub" / "checkpoints" / name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    taught = build_teacher(TeacherTable(model="torchvision:googlenet", weights="hub"), CLASSES)
    again = build_teacher(TeacherTable(model="torchvision:googlenet"), CLASSES)
    assert torch.equal(
        taught.state_dict()["conv1.conv.weight"], original.state_dict()["conv1.conv.weight"]
    )
    again.load_state_dict(taught.state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(taught.eval()(x), again.eval()(x))


def test_a_spared_convolution_gives_the_same_numbers() -> None:
    torch.manual_seed(0)
    plain = timm.create_model("repvgg_a0", num_classes=CLASSES).double().train()
    spared = timm.create_model("repvgg_a0", num_classes=CLASSES).double().train()
    spared.load_state_dict(plain.state_dict())
    avoid_onednn_overflow(spared)
    strides = [
        [m.stride for m in model.modules() if isinstance(m, nn.Conv2d)] for model in (plain, spared)
    ]
    assert strides[0] != strides[1]
    x = torch.randn(2, 3, 33, 64, dtype=torch.float64)
    assert torch.allclose(plain(x), spared(x), atol=1e-12)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    save_teacher(
        build_teacher(TeacherTable(model="test_resnet"), CLASSES), tmp_path / "weights.safetensors"
    )
    with pytest.raises(UserError, match="holds another network"):
        load_teacher(
            build_teacher(TeacherTable(model="test_convnext"), CLASSES),
            tmp_path / "weights.safetensors",
        )


def test_a_constructor_that_refuses_is_not_an_unknown_name() -> None:
    with pytest.raises(
        UserError,
        match=r"teacher test_resnet: cannot be made .*colour.*change its teachers.options",
    ):
        build_teacher(TeacherTable(model="test_resnet", options={"colour": 3}), CLASSES)


def test_an_inception_is_taught_from_photographs_to_file(tmp_path: Path) -> None:
    small = [
        "data.count=140",
        "preprocess.width=32",
        "preprocess.height=32",
        "teach.epochs=1",
        "teach.batch_size=16",
        "teach.threads=1",
    ]
    recipe = load_recipe(PLAIN, [*small, "teachers=[{model='torchvision:googlenet'}]"])
    (folder,) = teach(recipe, tmp_path)
    assert (folder / "weights.safetensors").exists()
