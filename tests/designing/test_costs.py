"""Costs that are learnt from chains are the ones that made them, and those of a real table predict
the whole networks that were measured beside it.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekd.backends.base import one_thread
from mobilekd.designing import chains, table
from mobilekd.designing.costs import Costs
from mobilekd.designing.files import Latency
from mobilekd.designing.operators import Operator, operators
from mobilekd.designing.table import Measured, Table
from mobilekd.formats.document import read_document
from mobilekd.students.lesionnet import LesionNet


@pytest.fixture(scope="module")
def counted() -> list[tuple[str, tuple[Operator, ...]]]:
    with one_thread():
        return [(plan.name, operators(plan.make(), plan.side, plan.side)) for plan in chains.PLANS]


def machine(found: tuple[Operator, ...], tile: int, macs: float, call: float) -> float:
    """Nanoseconds on a machine that works on channels in tiles."""
    total = 2000.0
    for one in found:
        fill = math.ceil(one.channels / tile) * tile / one.channels if one.channels else 1
        total += call + macs * one.macs * fill + 0.05 * one.inputs
    return total


def rows(
    counted: list[tuple[str, tuple[Operator, ...]]], tile: int, macs: float, call: float
) -> list[Measured]:
    return [
        Measured(
            name=name,
            operators=found,
            latency=Latency(medians_ns=(machine(found, tile, macs, call),)),
        )
        for name, found in counted
    ]


@given(st.sampled_from([16, 32]), st.floats(0.005, 0.1), st.floats(0, 2000))
def test_a_machine_of_this_kind_is_recovered(counted, tile, macs, call):
    costs = Costs.fit(rows(counted, tile, macs, call))
    assert costs.tile == tile
    assert abs(costs.errors(rows(counted, tile, macs, call))).max() < 1e-6
    # and a network that no chain is
    with one_thread():
        other = operators(LesionNet(7, 0.7), 160, 160)
    assert costs.predict_ms(other) == pytest.approx(machine(other, tile, macs, call) / 1e6, 1e-4)


def test_no_cost_is_negative_and_noise_stays_small(counted):
    random = np.random.default_rng(0)
    noisy = [
        row.model_copy(
            update={
                "latency": Latency(
                    medians_ns=(row.latency.medians_ns[0] * random.uniform(0.95, 1.05),)
                )
            }
        )
        for row in rows(counted, 16, 0.02, 300.0)
    ]
    costs = Costs.fit(noisy)
    assert min(costs.factors.values()) >= 0
    assert abs(costs.errors(rows(counted, 16, 0.02, 300.0))).max() < 0.1


def test_whole_networks_of_the_kept_table_are_predicted(checkout):
    """Real latencies, measured with the table that the page of designs is made from."""
    kept = read_document(checkout / "benchmarks/results/design-operators.json", Table, "table")
    errors = abs(Costs.fit(kept.chains).errors(kept.networks))
    assert len(errors) >= 6
    assert np.median(errors) < 0.1
    assert errors.max() < 0.25


def test_a_table_of_another_setup_is_refused_by_the_part_that_differs(checkout, tmp_path):
    path = checkout / "benchmarks/results/design-operators.json"
    kept = read_document(path, Table, "table")
    assert table.read(path, kept.setup) == kept
    other = kept.setup.model_copy(update={"threads": 2})
    with pytest.raises(table.UserError, match="measured with threads 1, and here it is 2"):
        table.read(path, other)
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(table.UserError, match="remove it, to have it measured again"):
        table.read(tmp_path / "table.json", kept.setup)


def test_a_doubt_is_told_where_processes_differ():
    assert not Latency(medians_ns=(100.0, 101.0, 104.0)).doubt
    assert "30% longer" in Latency(medians_ns=(100.0, 130.0, 140.0)).doubt
