"""Views as other clinics have them: off they change nothing, on they are pure and seen alike."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from mobilekd.formats.data_tables import AugmentTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.training import clinics
from mobilekd.training.views import Views, keys

EFFECTS = ("hair", "vignette", "blur", "resolution", "jpeg", "white_balance", "gamma", "aspect")
STILL = dict.fromkeys(
    ("rotation", "scale", "translate", "brightness", "contrast", "saturation", "hue"), 0.0
)
SIZE = Preprocess(width=48, height=48)
IDS = [f"photograph-{i}" for i in range(12)]


def pictures(count: int = 12, height: int = 60, width: int = 80) -> torch.Tensor:
    """Smooth pictures, uint8 ``[N, 3, h, w]``."""
    small = torch.rand(count, 3, 6, 8, generator=torch.Generator().manual_seed(1)) * 255
    large = torch.nn.functional.interpolate(small, (height, width), mode="bicubic")
    return large.clamp(0, 255).to(torch.uint8)


def test_views_without_them_are_those_of_before() -> None:
    """Drawn by the code of 2026-11-26, before there were any."""
    drawn = Views(AugmentTable(), Preprocess(width=8, height=8)).draw(
        (torch.arange(3 * 3 * 12 * 16) % 251).to(torch.uint8).reshape(3, 3, 12, 16),
        keys(["a", "b", "c"], 5),
        3,
    )
    expected = np.array(
        [
            134,
            144,
            77,
            86,
            94,
            103,
            31,
            40,
            48,
            57,
            169,
            179,
            217,
            167,
            150,
            148,
            180,
            177,
            100,
            98,
            124,
            124,
            42,
            40,
            46,
            71,
            181,
            230,
            7,
            14,
            191,
            170,
            180,
            206,
            132,
            112,
        ]
    )
    assert np.abs(drawn[:, :, ::4, ::4].flatten().int().numpy() - expected).max() <= 1


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_effect_is_pure_and_does_not_know_its_batch(effect: str) -> None:
    views = Views(AugmentTable(**{**STILL, effect: 0.6}), SIZE)
    stored, key = pictures(), keys(IDS, 7)
    together = views.draw(stored, key, 4)
    alone = torch.cat([views.draw(stored[i : i + 1], key[i : i + 1], 4) for i in range(12)])
    assert (together.int() - alone.int()).abs().max() <= 1
    plain = Views(AugmentTable(**STILL), SIZE).draw(stored, key, 4)
    changed = (together.int() - plain.int()).flatten(1).abs().amax(1) > 1
    assert changed.any()
    if effect in EFFECTS[:5]:  # those that a share of the views has
        assert not changed.all()


@pytest.mark.parametrize("effect", EFFECTS[:5])
def test_a_share_of_the_views_is_that_share(effect: str) -> None:
    """Of 400 views 120 are expected; six standard deviations fail once in 10^9."""
    views = Views(AugmentTable(**{**STILL, effect: 0.3}), Preprocess(width=16, height=16))
    plain = Views(AugmentTable(**STILL), Preprocess(width=16, height=16))
    stored = pictures(1, 20, 24).expand(400, -1, -1, -1)
    key = keys([str(i) for i in range(400)], 0)
    difference = views.draw(stored, key, 0).int() - plain.draw(stored, key, 0).int()
    changed = int((difference.flatten(1).abs().amax(1) > 0).sum())
    assert changed <= 120 + 6 * 9.2
    if effect in ("hair", "jpeg", "resolution"):  # a wide rim or a weak blur may change nothing
        assert changed >= 120 - 6 * 9.2


@pytest.mark.parametrize("effect", ["hair", "vignette", "white_balance", "gamma", "aspect"])
def test_a_teacher_sees_the_same_view_at_its_own_resolution(effect: str) -> None:
    augment = AugmentTable(**{**STILL, effect: 0.9})
    stored, key = pictures(12, 120, 160), keys(IDS, 3)
    small = Views(augment, SIZE).draw(stored, key, 2).float()
    large = Views(augment, Preprocess(width=96, height=96)).draw(stored, key, 2).float()
    # edges of hairs and rims are sharper in the larger one
    assert (torch.nn.functional.avg_pool2d(large, 2) - small).abs().mean() < 3


def test_jpeg_loses_what_pillows_jpeg_loses() -> None:
    noisy = (torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255).round()
    for quality in (25, 50, 75):
        numbers = torch.tensor([[(quality - 20) / 60]])
        ours = clinics.jpeg(noisy, numbers).clamp(0, 255)
        buffer = BytesIO()
        pixels = noisy[0].permute(1, 2, 0).to(torch.uint8).numpy()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        theirs = torch.from_numpy(np.asarray(Image.open(buffer)).copy()).permute(2, 0, 1)[None]
        loss = (theirs.float() - noisy).abs().mean()
        assert (ours - theirs.float()).abs().mean() < 0.35 * loss
