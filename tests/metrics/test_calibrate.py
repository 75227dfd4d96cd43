"""What validation fixes: known temperatures come back, the threshold keeps what it promises, blur
is seen.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekd.formats.labels import Label
from mobilekd.metrics.calibrate import (
    calibrate,
    fit_temperature,
    picture_quality,
    quality_limits,
    softmax,
)
from mobilekd.support.errors import UserError

LABELS = tuple(
    Label(key=key, text=key) for key in ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
)


def drawn(n: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels are drawn from ``softmax(logits / temperature)``: that temperature is the
    right one.
    """
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, 7)) * 3 * temperature
    chance = softmax(logits / temperature).cumsum(1)
    return logits, (random.random((n, 1)) > chance).sum(1).clip(0, 6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(20_000, temperature)) == pytest.approx(temperature, rel=0.05)


def test_a_faultless_validation_does_not_drive_the_temperature_to_zero() -> None:
    targets = np.arange(7).repeat(10)
    assert 0.2 < fit_temperature(np.eye(7)[targets] * 5, targets) < 1


@given(st.integers(0, 1000), st.floats(0.5, 1.0))
@settings(max_examples=30, deadline=None)
def test_the_threshold_keeps_at_least_its_share(seed: int, coverage: float) -> None:
    logits, targets = drawn(137, 1.0, seed)
    fitted = calibrate(logits, targets, [""] * len(targets), LABELS, coverage=coverage)
    top = softmax(logits / fitted.temperature).max(1)
    assert (top >= fitted.threshold).mean() == pytest.approx(fitted.coverage)
    assert coverage - 1e-9 <= fitted.coverage <= coverage + 2 / 137
    mean = sum(
        fitted.coverage_by_class[label.key] * (targets == i).sum()
        for i, label in enumerate(LABELS)
        if (targets == i).any()
    )
    assert mean / 137 == pytest.approx(fitted.coverage)


def test_operating_points_reach_the_specificity_on_validation() -> None:
    logits, targets = drawn(500, 1.0)
    fitted = calibrate(logits, targets, [""] * len(targets), LABELS)
    probabilities = softmax(logits / fitted.temperature)
    for name, columns in (("melanoma", [4]), ("malignant", [0, 1, 4])):
        score = probabilities[:, columns].sum(1)
        refused = score[~np.isin(targets, columns)] < fitted.operating_points[name]
        assert 0.95 <= refused.mean() < 0.96


def test_a_model_without_melanoma_has_no_such_point() -> None:
    labels = (Label(key="a", text="a"), Label(key="b", text="b"))
    assert (
        calibrate(
            np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2, [""] * 20, labels
        ).operating_points
        == {}
    )


def test_blur_and_darkness_fall_below_the_limits() -> None:
    random = np.random.default_rng(0)
    sharp = random.integers(60, 200, (50, 3, 32, 32)).astype(np.uint8)
    limits = quality_limits(sharp)
    blurred = np.repeat(np.repeat(sharp[:, :, ::8, ::8], 8, 2), 8, 3) // 4 + 90
    assert (picture_quality(blurred)[0] < limits.sharpness_low).all()
    assert (picture_quality(sharp // 4)[1] < limits.luma_low).all()


def test_quality_of_a_picture_worked_by_hand() -> None:
    picture = np.zeros((1, 3, 3, 4), np.uint8)
    picture[0, :, 1, 1] = 255  # luma (77 + 150 + 29) * 255 >> 8 = 255
    sharpness, luma = picture_quality(picture)
    assert luma[0] == pytest.approx(255 / 12)
    assert sharpness[0] == pytest.approx(np.var([-4 * 255, 255]))


def test_broken_validation_is_the_users_to_know() -> None:
    with pytest.raises(UserError, match="validation is empty"):
        calibrate(np.zeros((0, 7)), np.zeros(0, int), [], LABELS)
    with pytest.raises(UserError, match="NaN"):
        calibrate(np.full((3, 7), np.nan), np.zeros(3, int), [""] * 3, LABELS)


@pytest.mark.parametrize("shape", [(4, 3, 1, 1), (4, 3, 2, 9), (4, 3, 9, 2)])
def test_pictures_without_an_inner_pixel_have_no_sharpness(shape: tuple[int, ...]) -> None:
    limits = quality_limits(np.full(shape, 9, np.uint8))
    assert limits.sharpness_low == 0.0
