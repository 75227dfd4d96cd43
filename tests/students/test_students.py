"""Students: built by name, adapted by named edits, started from what fits, and the same network
when deployed.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.labels import Label
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import DEFAULT_REFERENCE, Run, RunInfo, open_run
from mobilekd.formats.training_tables import StudentTable
from mobilekd.students import NAMES, Deployable, bounds, build, check_student, load
from mobilekd.students.bounds import BOUND, NORM_EPS, PRETRAINED_BOUND
from mobilekd.students.mobilenet import Relu6Gate
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json

WIDTHS = {
    "mobilenetv2": 0.35,
    "mobilenetv3_small": 0.5,
    "mobilenetv3_large": 0.35,
    "lesionnet": 0.5,
}


def student(
    model: str = "mobilenetv2", width: float | None = None, classes: int = 7, **options: object
) -> nn.Module:
    torch.manual_seed(0)
    return build(
        StudentTable.model_validate({"model": model, "width": width or WIDTHS[model], **options}),
        classes,
    )


def shaken(network: nn.Module) -> nn.Module:
    """Batch norms with statistics far from the identity, so that a wrong folding shows."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
    return network.eval()


def parameters(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


# ---- phase 1 and 2, by name
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


# ---- starting weights
# ------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_are_kept_where_name_and_shape_fit_and_it_is_said(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shaken(student("mobilenetv3_small"))
    nn.init.ones_(source.classifier.bias)
    path = tmp_path / f"weights{suffix}"
    state = source.state_dict()
    if suffix == ".pth":
        torch.save({"state_dict": state}, path)
    else:
        safetensors.torch.save_file(state, path)
    network = student("mobilenetv3_small", adapt=("no_se", "head:512"), weights=str(path))
    said = capsys.readouterr().err
    assert "fresh: classifier, conv_head" in said
    assert re.search(r"\d+ tensors kept \(\d+% of the values\), \d+ unused", said)
    for name, value in network.state_dict().items():
        kept = not name.startswith(("classifier", "conv_head"))
        assert torch.equal(value, state[name]) == kept, name


def test_a_classifier_is_never_taken_over(tmp_path: Path) -> None:
    """Seven classes of something else have the right shape and the wrong meaning."""
    source = student(classes=7)
    torch.save(source.state_dict(), tmp_path / "other.pth")
    torch.manual_seed(5)
    network = build(StudentTable(width=0.35, weights=str(tmp_path / "other.pth")), 7)
    assert not torch.equal(network.classifier.weight, source.classifier.weight)
    assert torch.equal(network.conv_stem.weight, source.conv_stem.weight)


@pytest.mark.parametrize(
    ("content", "what"), [(b"not weights", "is a text file"), (b"", "is an empty file")]
)
def test_a_broken_weights_file_is_the_users_mistake(
    tmp_path: Path, content: bytes, what: str
) -> None:
    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(content)
        with pytest.raises(UserError, match=what):
            student(weights=str(path))


def test_weights_of_another_family_are_refused(tmp_path: Path) -> None:
    torch.save({"encoder.weight": torch.ones(3)}, tmp_path / "bert.pth")
    with pytest.raises(UserError, match="no tensor fits"):
        student(weights=str(tmp_path / "bert.pth"))


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


# ---- deployed
# ------------------------------------------------------------

shares = st.floats(0.2, 0.8)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    st.tuples(shares, shares, shares),
    st.tuples(shares, shares, shares),
    st.floats(0.3, 3),
    st.booleans(),
)
@pytest.mark.parametrize("model", ["mobilenetv2", "lesionnet"])
def test_deployed_answers_are_the_calibrated_softmax_of_the_students_logits(
    model: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    temperature: float,
    adjusted: bool,
) -> None:
    network = shaken(student(model))
    bias = tuple(np.linspace(-1, 1, 7)) if adjusted else None
    deployed = Deployable(
        network,
        Preprocess(64, 64, mean=mean, std=std),
        Calibration(temperature=temperature, bias=bias),
    ).eval()
    x = torch.rand(1, 3, 64, 64) * 255
    normalised = (x / 255 - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(
        1, 3, 1, 1
    )
    with torch.no_grad():
        expected = torch.softmax(
            network(normalised) / temperature + (torch.tensor(bias) if bias else 0.0), 1
        )
        torch.testing.assert_close(deployed(x), expected.float(), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("model", NAMES)
def test_the_map_is_the_probabilities_gradient_of_evidence_scaled_to_one(model: str) -> None:
    network = shaken(student(model))
    deployed = Deployable(network, Preprocess(64, 96), Calibration(), cam=True).eval()
    x = torch.rand(1, 3, 96, 64) * 255
    with torch.no_grad():
        probabilities, cam = deployed(x)
        torch.testing.assert_close(
            probabilities, Deployable(network, Preprocess(64, 96), Calibration()).eval()(x)
        )
        features = network.forward_features((x / 255 - 0.5) / 0.5)
        # each place's own logits, by giving the head that place alone
        places = [
            network.forward_head(features[:, :, i : i + 1, j : j + 1])
            for i in range(3)
            for j in range(2)
        ]
        evidence = (torch.cat(places) @ probabilities[0]).view(1, 3, 2)
    assert cam.shape == (1, 3, 2)
    expected = (evidence - evidence.min()) / (evidence.max() - evidence.min())
    torch.testing.assert_close(cam, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("model", NAMES)
def test_a_cell_of_the_map_looks_around_its_own_upper_left_corner(model: str) -> None:
    # a gate sees the whole picture
    network = student(model, adapt=() if model == "lesionnet" else ("no_se",)).eval()
    for module in network.modules():
        # every pixel of a window counts alike, and no activation clips
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.5 / module.weight[0].numel())
    x = torch.ones(1, 3, 256, 256, requires_grad=True)
    features = network.forward_features(x)
    assert features.shape[2:] == (8, 8)
    features[0, :, 4, 4].sum().backward()
    seen = x.grad[0].sum(0)
    middles = torch.arange(256) + 0.5
    for sums in (seen.sum(0), seen.sum(1)):
        assert abs(float(sums @ middles / sums.sum()) - 4 * 32) < 3


def test_a_flat_map_is_zero_and_not_a_division_by_zero() -> None:
    deployed = Deployable(
        shaken(student("lesionnet")), Preprocess(32, 32), Calibration(), cam=True
    ).eval()
    with torch.no_grad():
        _, cam = deployed(torch.zeros(1, 3, 32, 32))  # a single place
    assert torch.equal(cam, torch.zeros(1, 1, 1))


# ---- starting from a shipped student
# ------------------------------------------------------------

SHIPPED = {"width": 0.35, "adapt": ("bounded",), "weights": f"reference:{DEFAULT_REFERENCE}"}


def test_a_student_starts_from_a_shipped_one_with_a_fresh_last_layer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = tuple(Label(key=key, text=key) for key in ("mole", "wart", "other"))
    network = build(StudentTable.model_validate(SHIPPED), 3, labels)
    theirs = load(open_run(SHIPPED["weights"])).state_dict()
    for name, value in network.state_dict().items():
        if not name.startswith("classifier."):
            assert torch.equal(value, theirs[name]), name
    assert network.classifier.out_features == 3
    assert "mole, wart, other, so that layer starts afresh" in capsys.readouterr().err


def test_a_shipped_student_keeps_its_answers_where_the_classes_are_its_own() -> None:
    run = open_run(SHIPPED["weights"])
    network = build(StudentTable.model_validate(SHIPPED), 7, run.info.labels).eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(x), load(run)(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({**SHIPPED, "adapt": ()}, r"student.adapt=\[\"bounded\"\]"),
        ({**SHIPPED, "width": 0.5}, "student.width=0.35"),
        ({"weights": "reference:ham10000-lesionnet"}, 'student.model="lesionnet"'),
        ({"weights": "reference:ham"}, "unknown; known: dermoscopy-mobilenetv2-035"),
        ({"weights": "hub"}, f"give reference:{DEFAULT_REFERENCE} or"),
    ],
)
def test_wrong_starting_weights_name_the_way_out(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_student(StudentTable.model_validate({"width": 0.35, **options}))
