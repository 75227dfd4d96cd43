"""Gates that photographs decide: with enough of them the limit itself counts, with few the
interval, and what cannot be decided is said.
"""

import numpy as np
import pytest

from mobilekd.cli.text import interval as cli_interval
from mobilekd.figures.tables import points
from mobilekd.formats.gates import Gate
from mobilekd.formats.interval import Interval
from mobilekd.lowering.card_figures import interval as card_interval
from mobilekd.lowering.decisions import (
    ENOUGH,
    accuracy_gate,
    agreement_gate,
    needed_for_agreement,
    needed_for_drop,
    share,
    undecided_note,
)


def apart(count: int, different: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of answers to ``count`` photographs that differ in so many decisions."""
    wanted = np.eye(3)[np.arange(count) % 3]
    return np.concatenate([np.roll(wanted[:different], 1, 1), wanted[different:]]), wanted


def test_a_share_has_wilsons_interval():
    """58 of 60 by the formula of Wilson (1927), worked out by hand."""
    z, n, p = 1.959964, 60, 58 / 60
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    found = share(58, 60)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half))
    assert share(60, 60).high == 1


def test_how_many_photographs_decide():
    assert needed_for_agreement(0.98) == 189
    assert needed_for_drop(0.01, 0.98) == 769
    assert needed_for_agreement(0.9999) == needed_for_drop(0.0, 0.98) == ENOUGH


@pytest.mark.parametrize(
    ("different", "passed", "undecided"),
    [(0, True, True), (2, True, True), (3, True, True), (4, False, False), (20, False, False)],
)
def test_sixty_photographs_refuse_only_what_they_rule_out(different, passed, undecided):
    gate = agreement_gate(*apart(60, different), 0.98)
    assert (gate.passed, gate.undecided) == (passed, undecided)


@pytest.mark.parametrize("count", [200, ENOUGH, 2005])
def test_enough_photographs_are_judged_by_the_limit_itself(count):
    """As before there were intervals: one decision too many is refused."""
    allowed = int(0.02 * count)
    assert agreement_gate(*apart(count, allowed), 0.98).passed
    refused = agreement_gate(*apart(count, allowed + 1), 0.98)
    assert not refused.passed
    assert not refused.undecided


def test_an_exact_file_is_never_undecided():
    assert not agreement_gate(*apart(60, 0), 0.98, exact=True).undecided
    assert not agreement_gate(*apart(60, 2), 0.98, exact=True).passed


@pytest.mark.parametrize(
    ("low", "high", "count", "passed", "undecided"),
    [
        (-0.01, 0.009, 2005, True, False),
        (-0.01, 0.01, 2005, False, False),
        (-0.01, 0.02, 769, False, False),
        (-0.01, 0.02, 768, True, True),
        (-0.01, 0.05, 60, True, True),
        (-0.01, 0.009, 60, True, False),
        (0.011, 0.05, 60, False, False),
        (None, None, 60, False, False),
    ],
)
def test_the_drop_is_judged_by_its_interval(low, high, count, passed, undecided):
    drop = Interval(value=0.0, low=low, high=high)
    if low is None:
        drop = Interval(value=None, reason="not defined on this set")
    gate = accuracy_gate(drop, count, 0.01, 0.98)
    assert (gate.passed, gate.undecided) == (passed, undecided)


def test_what_is_undecided_is_said_with_its_interval():
    gate = agreement_gate(*apart(60, 2), 0.98)
    assert gate.measured == "0.967 (0.89 to 0.99) on 60"
    assert undecided_note(gate) == (
        "not decided: agreement 0.967 (0.89 to 0.99) on 60, must be >= 0.98; 60 test photographs"
        " are too few to decide that; accepted because the interval does not rule it out"
    )
    assert gate.outcome == "not decided"


def test_a_loss_of_nothing_has_no_sign():
    drop = Interval(value=-0.0004, low=-0.0015, high=0.0004)
    gate = accuracy_gate(drop, 4550, 0.01, 0.98)
    assert gate.measured == "loses 0.000 (-0.002 to 0.000) on 4,550"
    assert cli_interval(drop) == card_interval(drop) == "0.000 (-0.002 to 0.000)"
    assert points(Interval(value=-0.0001)).text == "+0.0"


def test_a_gate_written_before_intervals_is_still_read():
    old = {"name": "agreement", "value": 0.99, "limit": 0.98, "relation": ">=", "passed": True}
    gate = Gate.model_validate(old)
    assert (gate.measured, gate.condition, gate.outcome) == ("0.99", ">= 0.98", "passed")
