"""Students: built by name, adapted by named edits, and brought back from a run."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from fixtures.student import shaken, student
from torch import nn

from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.labels import Label
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import Run, RunInfo
from mobilekd.formats.training_tables import StudentTable
from mobilekd.students import NAMES, bounds, build, load
from mobilekd.students.bounds import BOUND, NORM_EPS, PRETRAINED_BOUND
from mobilekd.students.mobilenet import Relu6Gate
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json


def parameters(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


# ---- the named networks
# ------------------------------------------------------------


@pytest.mark.parametrize("model", NAMES)
def test_a_student_gives_one_logit_per_class_and_learns(model: str) -> None:
    network = student(model, classes=4, dropout=0.0)
    x = torch.randn(2, 3, 40, 64)  # height and width are not alike, and no multiple of 32
    logits = network(x)
    assert logits.shape == (2, 4)
    logits.sum().backward()
    assert all(value.grad is not None for value in network.parameters())
    torch.testing.assert_close(network.eval().forward_head(network.forward_features(x)), network(x))


@pytest.mark.parametrize(
    ("model", "width", "timms"),
    [
        ("mobilenetv2", 0.35, "mobilenetv2_035"),
        ("mobilenetv2", 1.0, "mobilenetv2_100"),
        ("mobilenetv3_small", 0.5, "mobilenetv3_small_050"),
        ("mobilenetv3_small", 1.0, "mobilenetv3_small_100"),
        ("mobilenetv3_large", 1.0, "mobilenetv3_large_100"),
    ],
)
def test_without_edits_a_student_is_timms_network(model: str, width: float, timms: str) -> None:
    ours, theirs = (
        shaken(student(model, width)),
        timm.create_model(timms, num_classes=7, pad_type="", bn_eps=NORM_EPS).eval(),
    )
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x))


def test_no_convolution_pads_outside_itself() -> None:
    """TensorFlow's 'same' padding would become a pad operator in front of every stride."""
    for model in NAMES:
        assert not [
            type(layer).__name__
            for layer in student(model).modules()
            if "Same" in type(layer).__name__
        ]


def test_lesionnet_keeps_to_its_own_rules() -> None:
    network = student("lesionnet", 1.0)
    assert parameters(network) <= 500_000
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    dense = [layer for layer in convolutions if layer.kernel_size != (1, 1) and layer.groups == 1]
    assert dense == [network.conv_stem]
    assert all(layer.out_channels % 8 == 0 for layer in convolutions)
    clamps = [
        layer
        for layer in network.modules()
        if not list(layer.parameters()) and not list(layer.children())
    ]
    clamps = [
        layer for layer in clamps if not isinstance(layer, (nn.Dropout, nn.AdaptiveAvgPool2d))
    ]
    assert all(isinstance(layer, nn.Hardtanh) for layer in clamps)
    assert {layer.max_val for layer in clamps} == {BOUND}
    widths = [parameters(student("lesionnet", width)) for width in (0.5, 0.75, 1.0)]
    assert widths == sorted(widths)


# ---- adaptations
# ------------------------------------------------------------


def names_of(network: nn.Module, kind: str) -> list[str]:
    return [name for name, module in network.named_modules() if type(module).__name__ == kind]


def test_no_se_removes_every_squeeze_and_excitation_and_nothing_else() -> None:
    before, after = student("mobilenetv3_small"), student("mobilenetv3_small", adapt=("no_se",))
    assert names_of(before, "SqueezeExcite")
    assert not names_of(after, "SqueezeExcite")
    assert set(after.state_dict()) == {name for name in before.state_dict() if ".se." not in name}


def test_relu6_leaves_only_what_the_quantizer_covers() -> None:
    network = student("mobilenetv3_small", adapt=("relu6",))
    kinds = {type(module).__name__ for module in network.modules()}
    assert not kinds & {"Hardswish", "Hardsigmoid", "HardSwish", "HardSigmoid"}
    assert "ReLU6" in kinds
    gates = [module for module in network.modules() if isinstance(module, Relu6Gate)]
    x = torch.linspace(-5, 5, 101)
    assert gates
    torch.testing.assert_close(gates[0](x), nn.functional.hardsigmoid(x))


@pytest.mark.parametrize("model", ["mobilenetv2", "mobilenetv3_small", "mobilenetv3_large"])
def test_bounded_starts_as_the_pretrained_network_wherever_no_bound_is_met(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shaken(student(model))
    safetensors.torch.save_file(source.state_dict(), tmp_path / "weights.safetensors")
    monkeypatch.setattr(bounds, "PRETRAINED_BOUND", 1e6)
    free = student(model, adapt=("bounded",), weights=str(tmp_path / "weights.safetensors")).eval()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        free.forward_features(x), source.forward_features(x), rtol=1e-3, atol=1e-4
    )
    assert free.state_dict().keys() == source.state_dict().keys()
    assert (
        max(
            block.bn3.weight.abs().max()
            for stage in free.blocks
            for block in stage
            if hasattr(block, "bn3")
        )
        <= 1.001
    )


@pytest.mark.parametrize("model", ["mobilenetv2", "mobilenetv3_small"])
def test_bounded_blocks_hand_on_nothing_beyond_the_bound(model: str) -> None:
    network = shaken(student(model, adapt=("bounded",)))
    handed: list[torch.Tensor] = []
    for block in (block for stage in network.blocks for block in stage if hasattr(block, "bn2")):
        block.register_forward_hook(lambda module, inputs, output: handed.append(output))
    network(100 * torch.randn(2, 3, 64, 64))
    assert max(float(value.detach().abs().max()) for value in handed) == PRETRAINED_BOUND


def test_depth_drops_the_last_blocks_of_a_stage() -> None:
    before, after = student(), student(adapt=("depth:0.5",))
    assert [len(stage) for stage in before.blocks] == [1, 2, 3, 4, 3, 3, 1]
    assert [len(stage) for stage in after.blocks] == [1, 1, 2, 2, 2, 2, 1]
    assert set(after.state_dict()) < set(before.state_dict())


def test_head_sets_the_last_hidden_layer() -> None:
    assert student(adapt=("head:512",)).classifier.in_features == 512
    assert student("mobilenetv3_small", adapt=("head:256", "no_se")).classifier.in_features == 256


@pytest.mark.parametrize(
    ("adapt", "words"),
    [
        ("no_ce", "did you mean no_se"),
        ("depth", "needs a number"),
        ("depth:deep", "'deep' is not a number"),
        ("depth:0", "not between 0 and 2"),
        ("head:3.5", "whole number"),
        ("relu6:1", "takes no value"),
    ],
)
def test_a_wrong_adaptation_is_named_with_its_remedy(adapt: str, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(adapt) + ".*" + words) as error:
        student(adapt=(adapt,))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "mobilenetv4", "width": 1}, "did you mean mobilenetv"),
        ({"model": "lesionnet", "adapt": ("no_se",)}, "takes no adapt but depth"),
        ({"model": "lesionnet", "adapt": ("depth:3",)}, "not between 0 and 2"),
        ({"weights": "hub"}, "0.5, 1, 1.4, not 0.35"),
        ({"weights": "nowhere.pth"}, "no such weights file"),
    ],
)
def test_a_wrong_student_is_named_with_its_remedy(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        student(**options)  # type: ignore[arg-type]


# ---- a run's student
# ------------------------------------------------------------


def a_run(folder: Path, network: nn.Module, table: StudentTable) -> Run:
    recipe = Recipe(name="r", data=DataTable(kind="synthetic"), student=table)
    write_json(folder / "recipe.json", recipe.to_dict())
    safetensors.torch.save_file(
        {
            name: value.half() if value.is_floating_point() else value
            for name, value in network.state_dict().items()
        },
        folder / "student.safetensors",
    )
    info = RunInfo(
        name="r",
        recipe_hash="",
        split_hash="",
        split_by="lesion",
        data_hash="",
        parameters=0,
        macs=0,
        epochs=1,
        seconds=0,
        labels=tuple(Label(key=str(i), text=str(i)) for i in range(3)),
        created_utc="",
        versions={},
    )
    return Run(folder, info)


def test_load_brings_back_a_reference_in_float32_and_eval(tmp_path: Path) -> None:
    table = StudentTable(model="lesionnet", width=0.5, weights="long gone.pth")
    network = shaken(build(table.model_copy(update={"weights": None}), 3))
    loaded = load(a_run(tmp_path, network, table))
    assert not loaded.training
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(loaded(x), network(x), atol=2e-2, rtol=2e-2)


def test_weights_of_another_recipe_do_not_load(tmp_path: Path) -> None:
    run = a_run(
        tmp_path, student("lesionnet", 0.5, classes=3), StudentTable(model="lesionnet", width=1.0)
    )
    with pytest.raises(UserError, match="does not fit the student"):
        load(run)
