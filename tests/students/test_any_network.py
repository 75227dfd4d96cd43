"""Any classifier as a student: by a library's name or from an own file, adapted by layers' types,
fused as it is deployed.
"""

from pathlib import Path

import pytest
import torch
from torch import nn

from mobilekd.formats.recipe_file import from_dict, with_own_code
from mobilekd.formats.training_tables import StudentTable
from mobilekd.students import build, check_student, deployed
from mobilekd.students.any_network import fitting_adaptations
from mobilekd.support.errors import UserError

OWN = """
from torch import nn

def small(classes, channels=8, dropout=0.0):
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=4), nn.BatchNorm2d(channels), nn.SiLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, classes),
    )

def wrong(channels):
    return nn.Linear(channels, 2)

def nothing(classes):
    return None
"""


def table(model: str, **values: object) -> StudentTable:
    return StudentTable.model_validate({"model": model, **values})


def own(folder: Path, function: str, **values: object) -> StudentTable:
    (folder / "my.py").write_text(OWN)
    document = {
        "name": "x",
        "data": {"kind": "synthetic"},
        "student": {"model": f"my.py:{function}", **values},
    }
    return with_own_code(from_dict(document, "x"), [folder]).student


@pytest.mark.parametrize(
    "model",
    ["timm:mobilenetv4_conv_small_035", "torchvision:shufflenet_v2_x0_5", "timm:lcnet_035"],
)
def test_a_librarys_network_is_a_student_by_its_name(model: str) -> None:
    student = build(table(model), 4)
    logits = student(torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, 4)
    assert logits.abs().max() < 1  # its classifier starts small


@pytest.mark.parametrize(
    ("model", "values", "said"),
    [
        ("timm:mobilenetv4_conv_smal", {}, "not a timm model; did you mean mobilenetv4_conv_small"),
        ("torchvision:shufflenet", {}, "not a torchvision model"),
        ("torchvision:fcn_resnet50", {}, "not a torchvision model"),
        ("mobilenetv4_conv_small", {}, "write timm:mobilenetv4_conv_small"),
        ("timm:lcnet_035", {"adapt": ["depth:0.5"]}, "student.adapt depth:0.5"),
        ("mobilenetv2", {"options": {"a": 1}}, "mobilenetv2 takes none"),
    ],
)
def test_what_is_no_student_is_named(model: str, values: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_student(table(model, **values))


def test_adaptations_find_layers_by_their_type() -> None:
    for model in ("timm:mobilenetv3_small_050", "torchvision:mobilenet_v3_small"):
        plain = build(table(model), 4)
        assert fitting_adaptations(plain) == ("no_se", "relu6")
        adapted = build(table(model, adapt=["no_se", "relu6", "bounded"]), 4)
        assert fitting_adaptations(adapted) == ()
        names = {type(module).__name__ for module in adapted.modules()}
        assert not {"Hardswish", "SqueezeExcite", "SqueezeExcitation"} & names
        assert adapted(torch.randn(2, 3, 64, 64)).shape == (2, 4)


def test_relu6_alone_spells_the_gates_that_stay() -> None:
    adapted = build(table("torchvision:mobilenet_v3_small", adapt=["relu6"]), 4)
    assert any(type(module).__name__ == "Relu6Gate" for module in adapted.modules())


@pytest.mark.parametrize("model", ["timm:mobilenetv4_conv_small_035", "torchvision:mobilenet_v2"])
def test_bounded_clamps_what_blocks_hand_on(model: str) -> None:
    torch.manual_seed(0)
    student = build(table(model, adapt=["bounded"]), 4)
    seen = []
    blocks = [
        module
        for module in student.modules()
        if getattr(module, "has_skip", False) or getattr(module, "use_res_connect", False)
    ]
    for block in blocks:
        block.register_forward_hook(lambda _m, _i, output: seen.append(output.abs().max()))
    student(100 * torch.randn(2, 3, 64, 64))
    assert len(seen) == len(blocks) > 2
    assert max(seen) <= 4


@pytest.mark.parametrize("name", ["no_se", "relu6", "bounded"])
def test_an_adaptation_that_fits_no_layer_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"student.adapt {name}: torchvision:resnet18 has no"):
        build(table("torchvision:resnet18", adapt=[name], dropout=0.0), 4)


@pytest.mark.parametrize("model", ["timm:mobileone_s0", "timm:repvgg_a0", "timm:fastvit_t8"])
def test_a_network_is_deployed_fused_and_answers_the_same(model: str) -> None:
    torch.manual_seed(0)
    student = build(table(model, dropout=0.0), 4)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        student.train()(x)  # batch norms far from the identity
        fused = deployed(student.eval())
        assert fused is not student
        assert len(list(fused.parameters())) < 0.7 * len(list(student.parameters()))
        torch.testing.assert_close(fused(x), student(x), rtol=1e-3, atol=1e-4)


def test_a_network_without_other_forms_is_deployed_as_it_is() -> None:
    student = build(table("timm:mobilenetv4_conv_small_035"), 4)
    assert deployed(student) is student


def test_an_own_student_is_built_from_the_source_in_the_recipe(tmp_path: Path) -> None:
    wanted = own(tmp_path, "small", options={"channels": 4}, dropout=0.3, adapt=["relu6"])
    (tmp_path / "my.py").unlink()
    stored = StudentTable.model_validate_json(wanted.model_dump_json())
    student = build(stored, 5)
    assert student(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    assert student[5].p == 0.3
    assert isinstance(student[2], nn.ReLU6)


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        ("small", {"chanels": 4}, "did you mean channels"),
        ("wrong", {}, "first argument is channels"),
        ("nothing", {}, "returns a NoneType"),
        ("smal", {}, "has no function smal; did you mean small"),
        ("small", {"channels": "x"}, "cannot be made"),
    ],
)
def test_an_own_student_that_cannot_be_built_is_named(
    tmp_path: Path, function: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        build(own(tmp_path, function, options=options), 4)


def test_the_network_of_a_title_has_a_width_only_where_it_has_one() -> None:
    assert table("mobilenetv2", width=0.35).title == "mobilenetv2 x0.35"
    assert table("timm:lcnet_035").title == "timm:lcnet_035"
