"""The guard's score is Mahalanobis' distance; its threshold refuses what it says."""

import numpy as np
import pytest

from mobilekd.formats.guard import Guard
from mobilekd.metrics.guard import (
    CLINIC_REFUSED,
    FLAT,
    NUMBERS,
    fit_guard,
    knowing_clinic,
    refused_share,
    with_threshold,
)
from mobilekd.support.errors import UserError


def photographs(seed: int, count: int, channels: int = 6) -> np.ndarray:
    """Correlated channels of very different sizes."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(channels, channels)) * np.logspace(
        0, 1, channels
    )
    return random.normal(size=(count, channels)) @ mixing + 5


def test_the_score_is_mahalanobis_distance() -> None:
    """Of numbers brought to one size, with a hundredth added to each variance."""
    known, other = photographs(0, 500), photographs(1, 40) * 1.5
    guard = fit_guard(("blocks.1",), known, photographs(2, 200))
    offset = (other - known.mean(0)) / known.std(0)
    covariance = np.cov((known / known.std(0)).T) + FLAT * np.eye(known.shape[1])
    distance = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance), offset)
    mean = distance / known.shape[1]
    np.testing.assert_allclose(guard.scores(other), mean / (mean + 1), rtol=1e-4)


def test_the_threshold_refuses_a_hundredth_of_validation() -> None:
    validation = photographs(2, 1000)
    guard = fit_guard(("blocks.1",), photographs(0, 2000), validation)
    assert guard.refused == pytest.approx((guard.scores(validation) > guard.threshold).mean())
    assert 0.005 <= guard.refused <= 0.01
    fresh = (guard.scores(photographs(3, 4000)) > guard.threshold).mean()
    assert fresh < 0.02, "photographs of the same kind"
    assert (guard.scores(photographs(3, 100) + 500) > guard.threshold).all()


def test_fewer_directions_where_there_are_many_channels() -> None:
    channels = 96
    guard = fit_guard(("blocks.4",), photographs(0, 300, channels), photographs(1, 50, channels))
    assert len(guard.directions) * channels <= NUMBERS
    score = guard.scores(np.full((1, channels), 1e6))
    assert np.isfinite(score).all()
    assert score > 0.999


def test_what_hardly_ever_moves_tells_most() -> None:
    """Where not all directions fit, those of the least variance are kept."""
    width = 96
    known = np.random.default_rng(0).normal(size=(2000, width))
    known[:, 1] = known[:, 0] + 0.05 * known[:, 1]  # two numbers that always agree
    guard = fit_guard(("blocks.1",), known, known[:500])
    apart, alike = np.zeros((2, 1, width))
    apart[0, :2], alike[0, :2] = (2, -2), (2, 2)
    assert guard.scores(apart)[0] > guard.threshold > guard.scores(alike)[0]


def test_a_guard_of_before_looked_at_one_layer() -> None:
    new = fit_guard(("blocks.4",), photographs(0, 500), photographs(1, 200), deviations=False)
    old = new.model_dump()
    assert "deviations" not in old
    old["layer"] = old.pop("layers")[0]
    assert Guard.model_validate(old) == new


def test_a_channel_that_never_moves_is_no_division_by_zero() -> None:
    known = photographs(0, 200)
    known[:, 2] = 0
    guard = fit_guard(("blocks.1",), known, photographs(1, 50))
    assert np.isfinite(guard.scores(known)).all()


def test_too_few_photographs_are_the_user_s_mistake() -> None:
    with pytest.raises(UserError, match="6 numbers"):
        fit_guard(("blocks.1",), photographs(0, 6), photographs(1, 5))


def test_a_threshold_of_one_s_own() -> None:
    guard = fit_guard(("blocks.1",), photographs(0, 500), photographs(1, 200))
    moved = with_threshold(guard, np.linspace(0, 1, 101), 0.1)
    assert moved.threshold == pytest.approx(0.9)
    assert moved.directions == guard.directions


def test_a_document_that_does_not_fit_itself_is_refused() -> None:
    document = fit_guard(("blocks.1",), photographs(0, 500), photographs(1, 200)).model_dump()
    with pytest.raises(ValueError, match="6 numbers each"):
        Guard.model_validate({**document, "directions": ((1.0, 2.0),)})


def test_the_share_refused_has_an_interval_over_lesions() -> None:
    outside = np.zeros(200, bool)
    none = refused_share(outside, [str(i) for i in range(200)])
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(0.0188, abs=1e-3)
    outside[:20] = True
    some = refused_share(outside, [str(i // 2) for i in range(200)])
    assert some.value == 0.1
    assert (some.low, some.high) == (
        pytest.approx(0.0552, abs=1e-3),
        pytest.approx(0.1744, abs=1e-3),
    )


def moved(seen: np.ndarray) -> np.ndarray:
    """What a clinic with another camera would show: shifted, and stretched in two directions."""
    wide = np.where(np.arange(seen.shape[1]) < 2, 3.0, 1.0)
    return np.asarray(seen * wide + 4.0)


def test_a_guard_that_knows_a_clinic_takes_it_in_and_still_refuses_others() -> None:
    guard = fit_guard(("blocks.3",), photographs(0, 2000), photographs(1, 500))
    clinic, others = moved(photographs(2, 300)), moved(photographs(3, 2000))
    # no further away than the clinic is, in another direction
    strangers = photographs(4, 500) + 6.0 * np.array([-1, -1, 1, 1, 1, 1])
    assert (guard.scores(others) > guard.threshold).mean() > 0.9
    knowing = knowing_clinic(guard, clinic)
    assert knowing.clinic == 300
    assert len(knowing.directions) == len(guard.directions)
    # of 300 the seventh highest: others lie above it with a chance of 0.02 +- 0.009
    assert (knowing.scores(others) > knowing.threshold).mean() < 0.06
    assert (knowing.scores(photographs(5, 2000)) > knowing.threshold).mean() < 0.1
    assert (knowing.scores(strangers) > knowing.threshold).mean() > 0.9
    # another threshold alone would let the strangers in
    raised = with_threshold(guard, guard.scores(clinic), CLINIC_REFUSED)
    assert (raised.scores(strangers) > raised.threshold).mean() < 0.1


def test_half_of_each_have_a_mean_square_of_one() -> None:
    guard = fit_guard(("blocks.3",), photographs(0, 50_000), photographs(1, 500))
    knowing = knowing_clinic(guard, moved(photographs(2, 50_000)))
    mean = [
        (scores / (1 - scores)).mean()
        for scores in map(knowing.scores, (photographs(3, 50_000), moved(photographs(4, 50_000))))
    ]
    assert sum(mean) / 2 == pytest.approx(1, abs=0.03)


def test_a_hundred_photographs_of_a_clinic_are_too_few() -> None:
    guard = fit_guard(("blocks.3",), photographs(0, 200), photographs(1, 100))
    with pytest.raises(UserError, match=r"100 photographs, too few .* give more than 100"):
        knowing_clinic(guard, photographs(2, 100))
    assert knowing_clinic(guard, photographs(2, 101)).clinic == 101
