"""A student starts from what fits of a weights file, and of a shipped student."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from fixtures.student import shaken, student
from torch import nn

from mobilekd.formats.labels import Label
from mobilekd.formats.runs import DEFAULT_REFERENCE, open_run
from mobilekd.formats.training_tables import StudentTable
from mobilekd.students import build, check_student, load
from mobilekd.support.errors import UserError


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
