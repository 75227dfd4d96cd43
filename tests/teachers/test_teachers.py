"""Teachers are frozen by structure, several are one, and weights files are taken only where they
fit.
"""

import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from mobilekd.formats.training_tables import EnsembleTable, TeacherTable
from mobilekd.support.errors import UserError
from mobilekd.teachers.engine import fastest
from mobilekd.teachers.network import (
    Teacher,
    build_teacher,
    check_teacher,
    combine,
    load_matching,
    save_teacher,
)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


def test_a_teacher_cannot_be_trained_or_changed() -> None:
    teacher = Teacher(small())
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    teacher.train()
    x = torch.randn(4, 3, 8, 8, requires_grad=True)
    out = teacher(x)
    assert not out.requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_one_teacher_passes_unchanged_and_equal_ones_are_one() -> None:
    logits = torch.randn(5, 4)
    assert combine([logits], EnsembleTable(), [1.0], [[1.0] * 4]) is logits
    for rule in ("mean", "weighted", "per_class"):
        both = combine(
            [logits, logits],
            EnsembleTable(rule=rule),
            [0.2, 3.0],
            [[0.5, 0.1, 0.9, 0.2], [0.7, 0.3, 0.1, 0.4]],
        )
        assert torch.allclose(torch.softmax(both, 1), torch.softmax(logits, 1), atol=1e-6)


def test_rules_weigh_as_they_say() -> None:
    a, b = torch.tensor([[8.0, 0.0]]), torch.tensor([[0.0, 8.0]])
    recalls = [[1.0, 0.0], [0.0, 1.0]]
    assert torch.softmax(combine([a, b], EnsembleTable(), [1, 1], recalls), 1)[
        0, 0
    ] == pytest.approx(0.5, abs=1e-4)
    assert torch.softmax(combine([a, b], EnsembleTable(rule="weighted"), [3, 1], recalls), 1)[
        0, 0
    ] == pytest.approx(0.75, abs=1e-3)
    # Each teacher is trusted on the class that it knows: both say yes there, so both classes keep
    # their share.
    assert torch.softmax(combine([a, b], EnsembleTable(rule="per_class"), [1, 1], recalls), 1)[
        0, 0
    ] == pytest.approx(0.5, abs=1e-3)
    blind = [[1.0, 1.0], [0.0, 0.0]]
    assert (
        torch.softmax(combine([a, b], EnsembleTable(rule="per_class"), [1, 1], blind), 1)[0, 0]
        > 0.99
    )


def test_the_lowered_engine_gives_the_teachers_numbers() -> None:
    teacher = Teacher(small())
    x = torch.randn(8, 3, 16, 16)
    forward, name = fastest(teacher, x, photographs=10**6)
    assert name == "executorch-xnnpack"
    for batch in (
        x,
        torch.randn(8, 3, 16, 16).to(memory_format=torch.channels_last),
        torch.randn(3, 3, 16, 16),
    ):
        assert torch.allclose(forward(batch), teacher(batch), atol=1e-4)
    first = forward(x)
    kept = first.clone()
    forward(torch.randn(8, 3, 16, 16))
    assert torch.equal(first, kept), "an answer must not change with the next call"
    assert fastest(teacher, x, photographs=10)[1] == "eager on cpu"


def test_torchvision_models_by_name() -> None:
    model = build_teacher(TeacherTable(model="torchvision:mobilenet_v3_small"), 5)
    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


@pytest.mark.parametrize("name", ["mobilenetv2_10", "torchvision:resnet1888"])
def test_an_unknown_model_is_named(name: str) -> None:
    with pytest.raises(UserError, match="not a"):
        build_teacher(TeacherTable(model=name), 7)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="another network"):
        load_matching(small(), tmp_path / "other.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(UserError, match="not a readable weights file"):
        load_matching(small(), tmp_path / "cut.pth")
    with pytest.raises(UserError, match="no such weights file"):
        load_matching(small(), tmp_path / "absent.pth")


def test_real_weights_load_all_but_the_classifier(pretrained: Path) -> None:
    table = TeacherTable(
        model="mobilenetv2_100",
        weights=str(pretrained / "mobilenetv2_100_tf2ptq_in1k.pth"),
        options={"pad_type": "same"},
    )
    plain = build_teacher(table.model_copy(update={"weights": None}), 7)
    loaded = build_teacher(table, 7)
    changed = [
        name
        for name, value in loaded.state_dict().items()
        if value.numel() > 1 and not torch.equal(value, plain.state_dict()[name])
    ]
    assert len(changed) > 250


def test_a_full_disk_is_the_users_to_mend_and_leaves_no_weights(tmp_path: Path) -> None:
    """A file size limit stands in for the full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UserError, match="raise the file size limit"):
            save_teacher(small(), tmp_path / "weights.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_timms_names_with_a_colon_are_handed_on_whole(tmp_path: Path) -> None:
    """``local-dir:`` and ``hf-hub:`` belong to timm's own names; only ours are taken off."""
    (tmp_path / "config.json").write_text('{"architecture": "test_resnet", "num_classes": 10}')
    network = build_teacher(TeacherTable(model=f"local-dir:{tmp_path}"), 3)
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert type(build_teacher(TeacherTable(model="timm:test_resnet"), 3)) is type(network)
    with pytest.raises(UserError, match=r"teacher local-dir:/nowhere: cannot be made .*config"):
        build_teacher(TeacherTable(model="local-dir:/nowhere"), 3)


def test_a_module_that_is_not_there_is_named() -> None:
    """``module:function`` is an own teacher, whatever libraries there are."""
    with pytest.raises(UserError, match="other:test_resnet: other cannot be loaded"):
        check_teacher(TeacherTable(model="other:test_resnet"))
