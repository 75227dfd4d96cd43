"""Parity compares arrays: its figures have the properties that gates rely on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mobilekd.formats.gates import Gate
from mobilekd.formats.parity_names import GateId, Part, StageId, StageName
from mobilekd.lowering import parity

SAVED = StageName(StageId.SAVED_FILE)
ANY = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6),
    elements=st.floats(-1, 1, width=32),
)


@given(ANY)
def test_equal_arrays_are_perfect(x):
    assert parity.max_error(x, x) == 0
    assert parity.sqnr_db(x, x) == 200
    assert parity.agreement(x, x) == 1


@given(ANY, st.floats(1e-6, 1e-1))
def test_error_is_the_largest_difference(x, size):
    y = x.copy()
    y[0, 0] += size
    assert parity.max_error(y, x) == pytest.approx(size)


def test_sqnr_is_in_decibel():
    wanted = np.ones((1, 100))
    assert parity.sqnr_db(wanted + 0.1, wanted) == pytest.approx(20.0)
    assert parity.sqnr_db(wanted + 0.01, wanted) == pytest.approx(40.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_fails_every_gate(bad):
    wanted = np.full((2, 3), 1 / 3)
    given_ = wanted.copy()
    given_[1, 2] = bad
    row = parity.stage_row(SAVED, StageId.EAGER, [given_], [wanted], "here")
    assert not parity.at_most(GateId.MAX_ERROR, row.max_error, 1.0).passed
    assert not parity.at_least(GateId.SQNR, row.sqnr_db, 0.0).passed


@given(st.permutations(range(5)))
def test_permuted_classes_disagree(order):
    probabilities = np.eye(5) * 0.6 + 0.08
    assert parity.agreement(probabilities[:, list(order)], probabilities) == np.mean(
        [order[i] == i for i in range(5)]
    )


def test_every_output_counts():
    good, bad = np.ones((1, 2)), np.zeros((1, 4, 4))
    row = parity.stage_row(SAVED, StageId.EAGER, [good, bad], [good, bad + 0.5], "here")
    assert row.max_error == 0.5


def test_a_map_has_a_row_of_its_own():
    probabilities, maps = np.array([[0.2, 0.8]]), np.array([[[0.0, 1.0], [0.2, 0.1]]])
    answer, cam = parity.stage_rows(
        StageId.SAVED_FILE,
        StageId.EAGER,
        [probabilities, maps[:, :, ::-1]],
        [probabilities, maps],
        "here",
    )
    assert (answer.stage, answer.max_error, answer.agreement) == (SAVED, 0, 1)
    assert (cam.stage, cam.max_error, cam.agreement) == (
        StageName(StageId.SAVED_FILE, Part.MAP),
        1,
        0,
    )
    assert (
        len(
            parity.stage_rows(
                StageId.SAVED_FILE, StageId.EAGER, [probabilities], [probabilities], "here"
            )
        )
        == 1
    )


def test_the_first_bad_layer_is_named_not_the_worst():
    random = np.random.default_rng(0)
    wanted = {name: random.normal(size=(2, 4, 3, 3)) for name in ("stem", "block", "head")}
    given_ = {"stem": wanted["stem"], "block": wanted["block"] * 1.6, "head": -wanted["head"]}
    assert parity.first_mismatch(given_, wanted).layer == "block"


def test_without_a_bad_layer_the_least_good_one_is_named():
    wanted = {"a": np.ones((1, 4)), "b": np.ones((1, 4))}
    assert (
        parity.first_mismatch({"a": wanted["a"] + 1e-4, "b": wanted["b"] + 1e-3}, wanted).layer
        == "b"
    )
    assert parity.first_mismatch({}, wanted) is None


def test_a_refusal_names_gate_stage_and_layer():
    gate = Gate(name="agreement", value=0.9, limit=0.98, relation=">=", passed=False)
    text = str(
        parity.refuse(
            parity.Failure(
                gate,
                StageName(StageId.EAGER_QUANTISED),
                parity.LayerMismatch("blocks.1.0.conv_dw", 3.2),
                remedy="export fp32",
            )
        )
    )
    for part in (
        "agreement: 0.9",
        ">= 0.98",
        "eager quantised",
        "blocks.1.0.conv_dw",
        "3.2 dB",
        "nothing was written; export fp32",
    ):
        assert part in text
    assert "\n" not in text
