"""An export is tried on random weights before an epoch is spent."""

from pathlib import Path

import pytest

from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe_file import from_dict, with_own_code
from mobilekd.formats.training_tables import StudentTable
from mobilekd.lowering.trial import check_exports, refuse_unlowerable
from mobilekd.support.errors import UserError

SIZE = Preprocess(32, 32)
OWN = """
import torch
from torch import nn

class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.rfft2(x).abs()

class Silent(nn.Module):
    def forward(self, x):
        assert not torch.compiler.is_exporting()
        return x

class Attention(nn.Module):
    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            flat = x.flatten(2)
            return (flat @ flat.transpose(1, 2) @ flat).view(x.shape)

class Torn(nn.Conv2d):
    def reparameterize(self):
        self.weight.data.mul_(2)

def network(classes, middle):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU6(), middle,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
    )

def good(classes):
    return network(classes, nn.SiLU())

def spectrum(classes):
    return network(classes, Spectrum())

def attention(classes):
    return network(classes, Attention())

def silent(classes):
    return network(classes, Silent())

def torn(classes):
    return network(classes, Torn(8, 8, 1))

class Outer(nn.Sequential):
    def reparameterize(self):
        self[0].weight.data.mul_(2)

class Listed(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layers = [nn.Conv2d(3, 8, 3, stride=4), nn.ReLU6()]
        self.head = nn.Linear(8, classes)
    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean((2, 3)))

class Then(nn.Module):
    def __init__(self, classes, last):
        super().__init__()
        self.network, self.last = good(classes), last
    def forward(self, x):
        return self.last(self.network(x))

def outer(classes):
    return Outer(*good(classes))

def listed(classes):
    return Listed(classes)

def softmax(classes):
    return Then(classes, lambda x: x.softmax(1))

def sigmoid(classes):
    return Then(classes, lambda x: x.sigmoid())

def log_softmax(classes):
    return Then(classes, lambda x: x.log_softmax(1))

def chance(classes):
    return Then(classes, lambda x: nn.functional.dropout(x, 0.5))

def infinite(classes):
    return Then(classes, lambda x: x / 0)

def squeezed(classes):
    return Then(classes, lambda x: x.squeeze())

def a_dict(classes):
    return Then(classes, lambda x: {"logits": x})

def wide(classes):
    return Then(classes + 1, nn.Identity())

def generator(classes):
    made = good(classes)
    made.rest = (one for one in ())
    return made

def frozen(classes):
    return good(classes).requires_grad_(False)

def bigger(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, classes))

def fixed(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, classes))
"""


def table(folder: Path, function: str, *exports: str) -> StudentTable:
    (folder / "my.py").write_text(OWN)
    document = {
        "name": "x",
        "data": {"kind": "synthetic"},
        "student": {"model": f"my.py:{function}", "exports": list(exports)},
    }
    return with_own_code(from_dict(document, "x"), [folder]).student


def test_what_lowers_passes_and_says_what_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse_unlowerable(table(tmp_path, "good", "xnnpack-fp32", "xnnpack-int8"), 4, SIZE)
    said = capsys.readouterr().err
    assert "xnnpack-fp32 on random weights: " in said
    assert "without an int8 kernel" in said
    assert "student.adapt=['relu6'] spares them" in said


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("spectrum", "would not be exported .xnnpack-fp32: "),
        ("silent", r"AssertionError in forward of .*my\.py"),  # an error without words
        ("torn", "fused for the phone it answers otherwise, by .*reparameterize"),
        ("outer", "fused for the phone it answers otherwise, by .*reparameterize"),
        ("fixed", r"cannot learn from photographs of 32x32 .*here \[B, 4\]"),
        ("bigger", "; set preprocess.width=224 and preprocess.height=224$"),
        ("a_dict", r"its answer is a dict, not a tensor\); mend it: .*logits"),
        ("wide", r"2 photographs give \[2, 5\], not \[2, 4\]\); mend it"),
        ("generator", "cannot be copied: cannot pickle 'generator' object"),
        ("frozen", "none of its parameters is trained"),
        ("listed", "saved and loaded it answers otherwise.*nn.ModuleList"),
        ("softmax", "its answers are probabilities, and losses take logits"),
        ("sigmoid", "its answers are probabilities, and losses take logits"),
        ("chance", "change from call to call in eval mode"),
        ("infinite", "it answers -?inf to noise"),
        ("squeezed", r"one photograph gives \[4\], not \[1, 4\]"),
    ],
)
def test_what_would_be_refused_is_refused_before_training(
    tmp_path: Path, function: str, said: str
) -> None:
    with pytest.raises(UserError, match=f"(?i){said}"):
        refuse_unlowerable(table(tmp_path, function, "xnnpack-fp32"), 4, SIZE)


def test_logarithms_of_probabilities_are_logits(tmp_path: Path) -> None:
    refuse_unlowerable(table(tmp_path, "log_softmax", "xnnpack-fp32"), 4, SIZE)


def test_a_student_that_is_exported_nowhere_is_tried_as_well(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its answers are probabilities"):
        refuse_unlowerable(table(tmp_path, "softmax"), 4, SIZE)


def test_a_librarys_network_of_one_size_is_given_the_option_that_makes_another() -> None:
    vit = StudentTable(model="timm:deit_tiny_patch16_224", exports=())
    with pytest.raises(UserError, match=r"; set student.options.img_size=32$"):
        refuse_unlowerable(vit, 4, SIZE)
    refuse_unlowerable(vit.model_copy(update={"options": {"img_size": 32}}), 4, SIZE)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("xnpack-int8", "did you mean xnnpack"),
        ("xnnpack-int4", "precision: unknown"),
        ("xnnpack", "write backend-precision"),
    ],
)
def test_an_export_that_does_not_exist_is_named(kind: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_exports(StudentTable(model="timm:lcnet_035", exports=(kind,)))


def test_backends_with_a_dash_in_their_names_are_known() -> None:
    check_exports(StudentTable(exports=("coreml-pte-fp16", "coreml-fp16", "xnnpack-mixed")))


def test_products_that_have_no_weights_are_named_in_a_region_without_autocast(
    tmp_path: Path,
) -> None:
    """Such a region is a graph of its own; rounding ended in an AssertionError there."""
    refuse_unlowerable(table(tmp_path, "attention", "xnnpack-fp32"), 4, SIZE)
    with pytest.raises(UserError, match=r"int8 layers: 2, .* floating point: 2 XNNBatchMatrix"):
        refuse_unlowerable(table(tmp_path, "attention", "xnnpack-int8"), 4, SIZE)
