"""Photographs of any shape wait in memory so that training sees the frame the model is asked
about.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mobilekd.formats.preprocess import Preprocess
from mobilekd.training.storage import Storage, storage_size

MODEL = Preprocess(width=32, height=32)


def picture(width: int, height: int) -> Image.Image:
    """A smooth gradient: red across, green down."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 128)], 2).round().astype(np.uint8))


def test_photographs_of_one_shape_wait_as_they_always_did() -> None:
    storage = Storage.for_sizes(MODEL, [(80, 60)] * 5)
    assert (storage.width, storage.height, storage.narrow) == (53, 40, False)
    frame = Preprocess(width=53, height=40)
    assert storage.to_dict() == frame.to_dict()
    assert np.array_equal(storage.apply(picture(80, 60)), frame.apply(picture(80, 60)))


@given(st.integers(20, 200), st.integers(20, 200))
@settings(max_examples=60, deadline=None)
def test_the_models_crop_of_any_photograph_fills_the_models_crop_of_the_storage(
    width: int, height: int
) -> None:
    storage = Storage.for_sizes(MODEL, [(80, 60)] * 5 + [(50, 60)])
    assert storage.narrow
    photograph = picture(width, height)
    stored = storage.apply(photograph)
    assert stored.shape == (storage.height, storage.width, 3)
    left, top, right, bottom = MODEL.crop_box(storage.width, storage.height)
    size = (right - left, bottom - top)
    crop = photograph.resize(size, Image.Resampling.BILINEAR, box=MODEL.crop_box(width, height))
    # Both boxes are whole pixels: one of the photograph's and one of the storage's may be off, and
    # a gradient of 255 over the shorter side says how much that is.
    step = 255 * (1 / min(width, height) + 1.5 / min(size))
    difference = stored[top:bottom, left:right, :2].astype(int) - np.asarray(crop)[:, :, :2]
    assert np.abs(difference).max() <= 2 * step + 2


def test_beside_a_narrow_photograph_stands_its_mirror_image() -> None:
    storage = Storage.for_sizes(MODEL, [(80, 60)] * 5 + [(40, 40)])
    stored = storage.apply(picture(40, 40)).astype(int)
    left = (storage.width - storage.height) // 2
    assert np.array_equal(stored[:, :left], stored[:, left : 2 * left][:, ::-1])


def test_a_square_photograph_keeps_its_whole_frame() -> None:
    mixed = [(200, 150)] * 3 + [(84, 84)] * 2
    stored = Storage.for_sizes(Preprocess(width=128, height=128), mixed).apply(picture(84, 84))
    assert stored[:, 100, 1].min() <= 3
    assert stored[:, 100, 1].max() >= 252


def test_one_storage_serves_models_of_one_shape_and_caches_know_it() -> None:
    sizes = [(200, 150)] * 3 + [(84, 84)]
    plain = Preprocess(width=128, height=128)
    other = Preprocess(width=128, height=128, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    assert Storage.for_sizes(plain, sizes) == Storage.for_sizes(other, sizes)
    larger = Preprocess(width=192, height=192)  # the photographs' own height bounds both
    assert Storage.for_sizes(plain, sizes) == Storage.for_sizes(larger, sizes)
    assert (
        Storage.for_sizes(plain, sizes).to_dict() != Storage.for_sizes(plain, sizes[:3]).to_dict()
    )


@pytest.mark.parametrize(("aspect", "native"), [(0.01, 10), (100.0, 10), (1.0, 5000)])
def test_a_storage_has_at_least_a_pixel_and_at_most_the_photographs_own(
    aspect: float, native: int
) -> None:
    width, height = storage_size(128, aspect, native)
    assert width >= 1
    assert 1 <= height <= min(native, 160)
