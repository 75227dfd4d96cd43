"""A view depends on the photograph's identity and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekd.formats.data_tables import AugmentTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.training.views import Views, keys, uniforms

STILL = AugmentTable(
    rotation=0, scale=0, translate=0, brightness=0, contrast=0, saturation=0, hue=0
)


def pictures(count: int, height: int = 30, width: int = 40) -> torch.Tensor:
    return torch.randint(
        0,
        256,
        (count, 3, height, width),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(3),
    )


@given(st.permutations(range(8)), st.integers(0, 1000), st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_a_view_does_not_know_its_batch(order: list[int], view: int, batch: int) -> None:
    stored, key = pictures(8), keys([f"photo-{i}" for i in range(8)], 7)
    views = Views(AugmentTable(), Preprocess(width=24, height=24))
    together = views.draw(stored, key, view)
    for start in range(0, 8, batch):
        rows = order[start : start + batch]
        # One unit of rounding: the order of floating-point sums inside a batched product is the
        # library's own.
        difference = views.draw(stored[rows], key[rows], view).int() - together[rows].int()
        assert difference.abs().max() <= 1


def test_views_differ_by_number_seed_and_photograph() -> None:
    views, stored = (
        Views(AugmentTable(), Preprocess(width=24, height=24)),
        pictures(1).expand(2, -1, -1, -1),
    )
    key = keys(["a", "b"], 0)
    first = views.draw(stored, key, 0)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, views.draw(stored, key, 1))
    assert not torch.equal(first, views.draw(stored, keys(["a", "b"], 1), 0))


def test_without_augmentation_a_view_is_the_centre_crop_up_to_flips() -> None:
    size = Preprocess(width=30, height=30)
    stored = pictures(6)
    drawn = Views(STILL, size).draw(stored, keys([str(i) for i in range(6)], 0), 0)
    left, top, right, bottom = size.crop_box(40, 30)
    for view, photograph in zip(drawn, stored[:, :, top:bottom, left:right], strict=True):
        flips = [photograph, photograph.flip(1), photograph.flip(2), photograph.flip(1, 2)]
        assert any((view.int() - flip.int()).abs().max() <= 1 for flip in flips)


def test_uniforms_are_uniform_and_uncorrelated() -> None:
    numbers = uniforms(keys([str(i) for i in range(20000)], 0), 5, 4)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert numbers.mean(0) == pytest.approx(0.5, abs=0.01)
    assert numbers.var(0) == pytest.approx(1 / 12, abs=0.002)
    assert np.abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 0.03


def test_normalise_is_the_graphs_normalisation() -> None:
    size = Preprocess(width=8, height=8, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    inputs = pictures(2, 8, 8)
    expected = (inputs.double() / 255 - torch.tensor(size.mean).view(1, 3, 1, 1)) / torch.tensor(
        size.std
    ).view(1, 3, 1, 1)
    assert torch.allclose(Views(STILL, size).normalise(inputs).double(), expected, atol=1e-6)
