"""The statistics of latency: known distributions in, known figures out; honest verdicts on recorded
processes.
"""

import numpy as np
import pytest
from fixtures.latencies import RECORDED
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekd.metrics import stats
from mobilekd.metrics.stats import (
    block_resamples,
    holm,
    median_ratio,
    percentile,
    process_p_value,
    process_ratio,
    t_above,
    t_quantile,
)


@pytest.mark.parametrize("freedom", [1, 1.37, 2, 3.3, 10.7, 400, 1e4])
def test_the_t_distribution_is_scipys(freedom):
    from scipy.stats import t

    values = [-4.0, -0.3, 0.0, 0.5, 2.0, 9.0]
    ours = [t_above(value, freedom) for value in values]
    np.testing.assert_allclose(ours, t.sf(values, freedom), rtol=1e-10)
    for q in (0.5, 0.9, 0.975, 0.999):
        np.testing.assert_allclose(t_quantile(q, freedom), t.ppf(q, freedom), rtol=1e-10, atol=1e-9)


def quiet(random, processes, *, center=1e6, between=0.01, within=0.03, count=67):
    """Processes of a quiet machine: they differ by 1%, samples inside by 3%."""
    return [
        center * np.exp(random.normal(0, between)) * np.exp(random.normal(0, within, count))
        for _ in range(processes)
    ]


def flagged(interval):
    return not interval.low <= 1 <= interval.high


@pytest.mark.parametrize(("q", "expected"), [(50, 50.0), (90, 90.0), (99, 99.0)])
def test_percentiles_of_a_known_series(q, expected):
    assert percentile(np.arange(101), q).value == expected


@pytest.mark.parametrize("q", [50, 90, 95])
def test_percentile_intervals_cover_the_truth(q):
    """95% intervals for percentiles of an exponential, -ln(1 - q), cover them about 95% of the
    time.
    """
    random, truth = np.random.default_rng(q), -np.log(1 - q / 100)
    found = [percentile(random.exponential(size=300), q, draws=200, seed=i) for i in range(200)]
    assert 0.88 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.99


def test_percentile_intervals_cover_the_truth_of_neighbours_that_are_alike():
    """Latencies drift: an AR(1) series at 0.6 has median 0. Single samples resampled would cover it
    in about two thirds only.
    """
    random = np.random.default_rng(7)

    def series():
        noise, values = random.normal(size=400), np.zeros(400)
        for i in range(1, 400):
            values[i] = 0.6 * values[i - 1] + noise[i]
        return values[100:]

    found = [percentile(series(), 50, draws=200, seed=i) for i in range(200)]
    assert 0.85 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.99


def test_ratio_intervals_cover_the_truth():
    """Processes 1% apart, 3 to 12 of them, one side truly 1.2 times the other."""
    random = np.random.default_rng(8)
    for count in (3, 4, 12):
        found = [
            process_ratio([1.2 * one for one in quiet(random, count)], quiet(random, count))
            for _ in range(300)
        ]
        assert 0.92 <= np.mean([one.low <= 1.2 <= one.high for one in found]) <= 0.985


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(3, 6),
    st.integers(3, 6),
    st.floats(0.9, 1.1),
    st.sampled_from([0.95, 1.0]),
)
def test_p_value_and_interval_say_the_same(seed, ours, theirs, factor, bar):
    random = np.random.default_rng(seed)
    new, old = (
        [factor * one for one in quiet(random, ours, count=5)],
        quiet(random, theirs, count=5),
    )
    assert (process_p_value(new, old, bar) < 0.025) == (process_ratio(new, old).low > bar)
    assert process_p_value(new, old, bar) + process_p_value(old, new, 1 / bar) == pytest.approx(1)


def test_p_value_of_processes_without_any_spread():
    same = [np.full(5, 7.0)] * 3
    assert process_p_value(same, same) == 1
    assert process_p_value([2 * one for one in same], same) == 0


def test_holm_equals_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_fewer_than_three_processes_bear_no_interval():
    random = np.random.default_rng(9)
    found = process_ratio(quiet(random, 2), quiet(random, 9))
    assert found.value == pytest.approx(1, abs=0.1)
    assert (found.low, found.high, found.reason) == (
        None,
        None,
        "fewer than 3 valid processes on one side",
    )


def test_one_sample_has_no_interval():
    found = percentile(np.array([5.0]), 50)
    assert (found.value, found.low, found.high) == (5.0, None, None)
    assert median_ratio([], []).value is None


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_blocks_are_drawn_from_the_series_and_keep_neighbours_together(n, seed):
    [resampled] = block_resamples(np.arange(n), np.random.default_rng(seed))
    assert len(resampled) == n
    assert set(resampled) <= set(range(n))
    if n >= 8:
        assert np.mean(np.diff(resampled) == 1) >= 0.3


def test_resamples_together_are_those_drawn_one_by_one(monkeypatch: pytest.MonkeyPatch):
    """However many are held at once."""
    samples = np.random.default_rng(4).exponential(size=301)
    random = np.random.default_rng(5)
    singly = np.concatenate([block_resamples(samples, random) for _ in range(7)])
    assert np.array_equal(block_resamples(samples, np.random.default_rng(5), 7), singly)
    whole = percentile(samples, 90, draws=50)
    monkeypatch.setattr(stats, "HELD_SAMPLES", 1000)
    assert percentile(samples, 90, draws=50) == whole


@settings(deadline=None)  # scipy loads in the first example
@given(st.floats(0.2, 5.0), st.integers(0, 1000))
def test_the_ratio_is_the_ratio_and_lies_in_its_interval(factor, seed):
    old = quiet(np.random.default_rng(seed), 3)
    found = median_ratio([factor * one for one in old], old)
    assert found.value == pytest.approx(factor)
    assert found.low <= found.value <= found.high


def test_order_and_unit_do_not_matter():
    random = np.random.default_rng(1)
    new, old = quiet(random, 4), quiet(random, 4)
    there, back = median_ratio(new, old), median_ratio(old, new)
    assert there.low == pytest.approx(1 / back.high)
    assert median_ratio(
        [one * 1000 for one in new], [one * 1000 for one in old]
    ).low == pytest.approx(there.low)


@pytest.mark.parametrize("processes", [3, 6, 12])
def test_a_against_a_is_flagged_no_more_than_stated(processes):
    """Real processes of one program on one very busy machine, split at random: at most 5% of
    verdicts may say "different".
    """
    random = np.random.default_rng(processes)
    verdicts = []
    for _ in range(400):
        chosen = random.permutation(len(RECORDED))[: 2 * processes]
        group = [RECORDED[i] for i in chosen]
        verdicts.append(flagged(median_ratio(group[:processes], group[processes:])))
    assert np.mean(verdicts) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_resampling_samples_alone_would_flag_far_too_often():
    """Why processes are the unit: pooled samples with a block bootstrap call the machine different
    from itself.
    """
    random = np.random.default_rng(0)
    verdicts = []
    for _ in range(30):
        chosen = random.permutation(len(RECORDED))[:6]
        pooled = [np.concatenate([RECORDED[i] for i in part]) for part in (chosen[:3], chosen[3:])]
        verdicts.append(flagged(median_ratio(*pooled, draws=200)))
    assert np.mean(verdicts) > 0.2


def drawn(random, count):
    """Recorded processes, resampled with replacement."""
    return [RECORDED[i] for i in random.integers(0, len(RECORDED), count)]


def test_a_planted_slowdown_of_five_percent_is_found_on_a_calm_machine():
    """With four processes each, the default."""
    random = np.random.default_rng(2)
    found = [
        median_ratio([1.05 * one for one in quiet(random, 4)], quiet(random, 4)) for _ in range(200)
    ]
    assert np.mean([one.low > 1 for one in found]) >= 0.9
    assert np.median([one.value for one in found]) == pytest.approx(1.05, abs=0.005)


def test_a_planted_slowdown_of_five_percent_is_found_on_the_busy_machine_with_many_processes():
    """The recorded machine's processes differ by more than 10%: it takes 150 of them, and then A
    against A still keeps its rate.
    """
    random = np.random.default_rng(3)
    slower = [
        median_ratio([1.05 * one for one in drawn(random, 150)], drawn(random, 150))
        for _ in range(60)
    ]
    alike = [median_ratio(drawn(random, 150), drawn(random, 150)) for _ in range(200)]
    assert np.mean([one.low > 1 for one in slower]) >= 0.8
    assert np.mean([flagged(one) for one in alike]) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
