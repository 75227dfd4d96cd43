"""The objective: weighted, scheduled sums; layers found by name; projectors that learn; mistakes
named with a remedy.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.training_tables import LossTable, StudentTable
from mobilekd.losses import (
    FEATURE_LOSSES,
    LOGIT_LOSSES,
    LOSSES,
    Objective,
    Outputs,
    Taps,
    weight_at,
)
from mobilekd.students import build
from mobilekd.support.errors import UserError

SIZE = Preprocess(32, 24)
TARGET = torch.tensor([0, 1, 2, -1])


class Net(nn.Module):
    """A stem that halves the grid ``stride`` times over, and a classifier."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, stride, 1), nn.ReLU())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.pool(self.stem(x)))


@pytest.fixture
def networks() -> tuple[Net, Net]:
    torch.manual_seed(0)
    return Net(8, 2), Net(12, 4)


def table(name: str, **values: Any) -> LossTable:
    layers = {"student_layer": "stem", "teacher_layer": "stem"} if name in FEATURE_LOSSES else {}
    return LossTable.model_validate({"name": name, **layers, **values})


def run(network: nn.Module, layers: tuple[str, ...], x: torch.Tensor) -> Outputs:
    with Taps(network, layers) as taps:
        logits = network(x)
    return Outputs(logits, dict(taps.features))


def objective_of(tables: list[LossTable], networks: tuple[Net, Net], **options: Any) -> Objective:
    return Objective(
        tables, classes=5, student=networks[0], teacher=networks[1], preprocess=SIZE, **options
    )


def outputs_of(objective: Objective, networks: tuple[Net, Net]) -> Iterator[Outputs]:
    x = torch.randn(4, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    yield run(networks[0], objective.student_layers, x)
    with torch.no_grad():
        yield run(networks[1], objective.teacher_layers, x)


# ---- the sum
# ------------------------------------------------------------


def test_the_total_is_the_weighted_sum_of_its_terms(networks: tuple[Net, Net]) -> None:
    tables = [
        table("cross_entropy", weight=0.3),
        table("hinton", weight=0.7, options={"temperature": 2.0}),
        table("hinton", weight=0.5),
    ]
    objective = objective_of(tables, networks)
    student, teacher = outputs_of(objective, networks)
    target = torch.tensor([0, 1, 2, 3])
    total, parts = objective(student, teacher, target, 0.5)
    each = [
        LOSSES[one.name](student.logits, teacher.logits, target, **one.options) for one in tables
    ]
    torch.testing.assert_close(total, 0.3 * each[0] + 0.7 * each[1] + 0.5 * each[2])
    assert list(parts) == ["cross_entropy", "hinton.0", "hinton.1"]
    assert parts["hinton.1"] == pytest.approx(each[2].mean().item())
    assert not parts["hinton.1"].requires_grad


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ("constant", (2, 2, 2, 2)),
        ("linear_down", (2, 1.9, 1, 0)),
        ("linear_up", (0, 0.1, 1, 2)),
        ("warmup", (0, 1, 2, 2)),
    ],
)
def test_schedules(schedule: str, values: tuple[float, ...]) -> None:
    moving = table("hinton", weight=2.0, schedule=schedule)
    assert [weight_at(moving, progress) for progress in (0, 0.05, 0.5, 1)] == pytest.approx(values)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_works_from_a_recipe_and_trains_the_student_alone(
    name: str, networks: tuple[Net, Net]
) -> None:
    objective = objective_of([table(name)], networks)
    assert objective.needs_teacher == (name != "cross_entropy")
    student, teacher = outputs_of(objective, networks)
    total, parts = objective(student, teacher, TARGET, 0.0)
    assert total.shape == (4,)
    assert parts[name] == pytest.approx(total.mean().item(), abs=1e-6)
    total.sum().backward()
    assert networks[0].stem[0].weight.grad.abs().sum() > 0
    assert all(value.grad is None for value in networks[1].parameters())
    assert all(
        value.grad is not None and value.grad.abs().sum() > 0 for value in objective.parameters()
    )


# ---- who takes part
# ------------------------------------------------------------


def test_a_photograph_without_a_label_takes_part_in_distillation_only(
    networks: tuple[Net, Net],
) -> None:
    for name in sorted({*LOGIT_LOSSES, "cross_entropy"}):
        objective = objective_of([table(name)], networks)
        total, _ = objective(*outputs_of(objective, networks), TARGET, 0.0)
        assert (total[3] == 0) == (name in ("cross_entropy", "dkd")), name
        assert (total[:3] != 0).all()


def test_a_hard_target_and_the_same_target_mixed_with_itself_agree(
    networks: tuple[Net, Net],
) -> None:
    one_hot = torch.nn.functional.one_hot(TARGET.clamp_min(0), 5) * (TARGET >= 0)[:, None].float()
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0])
    for options in ({}, {"class_weights": weights}, {"log_priors": weights.log()}):
        for name in ("cross_entropy", "dkd"):
            smoothing = {"options": {"label_smoothing": 0.1}} if name == "cross_entropy" else {}
            objective = objective_of([table(name, **smoothing)], networks, **options)
            outputs = list(outputs_of(objective, networks))
            torch.testing.assert_close(
                objective(*outputs, TARGET, 0.0)[0], objective(*outputs, one_hot, 0.0)[0]
            )


def test_a_mixture_with_an_unlabelled_photograph_counts_by_its_labelled_share(
    networks: tuple[Net, Net],
) -> None:
    objective = objective_of([table("cross_entropy")], networks)
    student, _ = outputs_of(objective, networks)
    whole = torch.eye(5)[:4]
    torch.testing.assert_close(
        objective(student, None, 0.25 * whole, 0.0)[0],
        0.25 * objective(student, None, whole, 0.0)[0],
    )


# ---- layers and projectors
# ------------------------------------------------------------


def test_what_was_matched_is_said_once_with_shapes(
    networks: tuple[Net, Net], capsys: pytest.CaptureFixture[str]
) -> None:
    objective = objective_of(
        [table("fitnets"), table("rkd", student_layer="pool", teacher_layer="classifier")], networks
    )
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "losses: fitnets matches student stem (8, 12, 16) with teacher stem (12, 6, 8)",
        "losses: rkd matches student pool (8,) with teacher classifier (5,)",
    ]
    assert objective.student_layers == ("stem", "pool")


def test_matching_leaves_the_networks_as_they_were(networks: tuple[Net, Net]) -> None:
    networks[0].train()
    networks[1].eval()
    objective_of([table("fitnets")], networks)
    assert networks[0].training
    assert not networks[1].training
    assert not any(module._forward_hooks for network in networks for module in network.modules())


def test_a_projector_can_reach_a_teacher_that_is_a_linear_map_away(
    networks: tuple[Net, Net],
) -> None:
    """FitNets' regressor is trained: it finds the map, and the loss goes to zero without the
    student moving.
    """
    objective = objective_of(
        [table("fitnets", student_layer="pool", teacher_layer="pool")], networks
    )
    features = torch.randn(64, 8)
    there = features @ torch.randn(8, 12)
    optimizer = torch.optim.Adam(objective.parameters(), 0.1)
    for _ in range(300):
        total, _ = objective(
            Outputs(torch.zeros(64, 5), {"pool": features}),
            Outputs(torch.zeros(64, 5), {"pool": there}),
            TARGET,
            0,
        )
        optimizer.zero_grad()
        total.mean().backward()
        optimizer.step()
    assert total.mean() < 1e-3


def test_projectors_are_no_part_of_the_student(networks: tuple[Net, Net]) -> None:
    before = set(networks[0].state_dict())
    objective = objective_of([table("fitnets"), table("crd_in_batch")], networks)
    assert set(networks[0].state_dict()) == before
    assert sorted(objective.state_dict()) == [
        "projectors.0.student.weight",
        "projectors.1.student.bias",
        "projectors.1.student.weight",
        "projectors.1.teacher.bias",
        "projectors.1.teacher.weight",
    ]


def test_taps_see_a_students_layers_and_leave_nothing_behind() -> None:
    network = build(StudentTable(model="lesionnet", width=0.5), 5)
    with Taps(network, ["blocks.1", "norm_head"]) as taps:
        network(torch.randn(2, 3, 64, 64))
    assert taps.features["blocks.1"].shape == (2, 40, 4, 4)
    assert taps.features["norm_head"].shape == (2, 192, 1, 1)
    assert not any(module._forward_hooks for module in network.modules())


# ---- mistakes
# ------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "hintom"}, "did you mean hinton"),
        ({"name": "hinton", "options": {"temprature": 2}}, "did you mean temperature"),
        ({"name": "hinton", "options": {"temperature": "hot"}}, "'hot', not a number"),
        ({"name": "hinton", "options": {"temperature": 0}}, "must be above 0"),
        ({"name": "fitnets", "student_layer": None}, "give student_layer and teacher_layer"),
        (
            {"name": "fitnets", "student_layer": "sten"},
            "layer sten of Net: unknown; did you mean stem?",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_named_with_its_remedy(
    values: dict[str, Any], words: str, networks: tuple[Net, Net]
) -> None:
    with pytest.raises(UserError, match=words) as error:
        objective_of([table(**values)], networks)
    assert "\n" not in str(error.value)


def test_a_loss_without_its_teacher_is_refused(networks: tuple[Net, Net]) -> None:
    objective = objective_of([table("hinton")], networks)
    student, _ = outputs_of(objective, networks)
    with pytest.raises(UserError, match="hinton needs a teacher"):
        objective(student, None, TARGET, 0.0)
    with pytest.raises(UserError, match="one teacher"):
        Objective([table("rkd")], classes=5, student=networks[0])
