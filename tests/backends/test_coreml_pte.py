"""The ``.pte`` for ExecuTorch's Core ML delegate: the package inside it is unpacked and answers as
eager does.
"""

import numpy as np
import pytest
from fixtures.coreml import LABELS, made

from mobilekd import backends
from mobilekd.graphs import pte
from mobilekd.support.errors import UserError

__all__ = ["made"]


@pytest.mark.parametrize(
    ("kind", "precision", "bound"),
    [("v3", "fp32", 1e-5), ("v3", "fp16", 4e-3), ("v3", "int8", 4e-3)],
)
def test_the_package_inside_answers_as_eager(made, kind, precision, bound):
    lowered = made(kind, precision, "coreml-pte")
    (answers,) = lowered.answers()
    (eager,) = lowered.eager()
    assert answers.shape == (len(lowered.inputs), len(LABELS))
    assert np.abs(answers - eager).max() < bound
    assert lowered.lowered.delegation.heavy_total == lowered.lowered.delegation.heavy_delegated == 8
    assert lowered.lowered.delegation.portable == {}
    assert lowered.lowered.delegation.heavy_quantized == (8 if precision == "int8" else 0)


def test_the_file_says_what_it_is(made):
    lowered = made("v3", "fp16", "coreml-pte")
    said = backends.get("coreml-pte").constants(lowered.path)
    assert said["labels"] == [label.key for label in LABELS]
    assert said["temperature"] == pytest.approx(1.3)


def test_both_ways_to_core_ml_agree(made):
    (through_pte,), (package,) = (
        made("v3", "int8", "coreml-pte").answers(),
        made("v3", "int8").answers(),
    )
    assert np.abs(through_pte - package).max() < 2e-3


def test_a_weight_flipped_inside_shows(made, tmp_path):
    lowered = made("v3", "fp16", "coreml-pte")
    data = bytearray(lowered.path.read_bytes())
    spot = data.index((0xDEADBEEF).to_bytes(4, "little")) + 64  # the first blob's data
    data[spot + 1 : spot + 65 : 2] = bytes(byte ^ 0x80 for byte in data[spot + 1 : spot + 65 : 2])
    planted = tmp_path / "model.pte"
    planted.write_bytes(bytes(data))
    (answers,) = backends.get("coreml-pte").run(planted, lowered.inputs)
    assert np.abs(answers - lowered.golden).max() > 1e-3


def test_a_file_without_the_delegate_is_refused(made, tmp_path):
    portable = made("v2", "fp32", "portable")
    with pytest.raises(UserError, match="not one Core ML delegate alone"):
        backends.get("coreml-pte").run(portable.path, portable.inputs)


def test_a_truncated_file_is_refused(made, tmp_path):
    lowered = made("v3", "fp16", "coreml-pte")
    cut = tmp_path / "model.pte"
    cut.write_bytes(lowered.path.read_bytes()[:-2000])
    with pytest.raises(UserError, match="export again"):
        backends.get("coreml-pte").run(cut, lowered.inputs)


def test_the_delegate_alone_is_what_forward_is(made):
    file = pte.read(made("v3", "fp16", "coreml-pte").path)
    assert [delegate.id for delegate in file.delegates] == ["CoreMLBackend"]
    assert file.operators == {}
