"""Skin tone by the individual typology angle."""

import numpy as np
import pytest

from mobilekd.metrics.skin_tone import lab, skin_tones, typology_angle


def flat(red: int, green: int, blue: int) -> np.ndarray:
    return np.tile(np.array([red, green, blue], np.uint8)[:, None, None], (1, 40, 60))


def test_lab_is_that_of_the_standard() -> None:
    colours = np.array([[255, 255, 255], [255, 0, 0], [119, 119, 119], [0, 0, 0]], np.uint8)
    wanted = [[100, 0, 0], [53.24, 80.09, 67.20], [50.03, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(lab(colours), wanted, atol=0.02)


@pytest.mark.parametrize(
    ("colour", "tone"),
    [
        ((244, 224, 205), "very light"),
        ((210, 170, 140), "light"),
        ((198, 155, 120), "intermediate"),
        ((120, 80, 55), "brown"),
        ((62, 40, 28), "dark"),
    ],
)
def test_lighter_skin_has_a_larger_angle(colour: tuple[int, int, int], tone: str) -> None:
    assert skin_tones(flat(*colour)[None]) == [tone]


def test_lesion_rim_and_hair_do_not_count() -> None:
    skin = flat(210, 170, 140)
    angle = typology_angle(skin)
    marked = skin.copy()
    marked[:, 10:30, 15:45] = 60  # the lesion
    marked[:, :, ::9] = 5  # hair
    marked[:, :3] = 0  # the rim
    assert typology_angle(marked) == pytest.approx(angle)


def test_what_shows_no_skin_has_no_tone() -> None:
    assert typology_angle(flat(3, 3, 3)) is None
    assert typology_angle(flat(40, 90, 200)) is None
    assert skin_tones(np.stack([flat(3, 3, 3), flat(210, 170, 140)])) == [None, "light"]
