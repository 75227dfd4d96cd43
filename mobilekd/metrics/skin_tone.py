"""Skin tone estimated from a photograph: the individual typology angle of the skin around the
lesion (Chardon, Cretois and Hourseau, International Journal of Cosmetic Science 13, 1991), in the
groups of Del Bino and Bernerd (British Journal of Dermatology 169, 2013).

The angle is ``atan((L* - 50) / b*)`` in degrees, of CIE L*a*b* under D65: high for light skin,
negative for dark skin. Here it is that of the medians of the frame's outer fifth, without what is
nearly black there (the round field's rim, hair, ink).

**Limits.** It was defined for a colorimeter on the skin. A dermatoscope's light and filter, the
white balance, redness and a lesion that fills the frame move it, by a whole group and more. So it
groups photographs, not people, and cannot stand for a skin type that somebody recorded.
"""

from itertools import chain

import numpy as np

from mobilekd.formats.pictures import Pictures, in_parts

#: Lower end of each group in degrees, and its name, from light to dark.
TONES = (
    (55.0, "very light"),
    (41.0, "light"),
    (28.0, "intermediate"),
    (10.0, "tan"),
    (-30.0, "brown"),
    (-90.0, "dark"),
)

#: What is darker than this L* is rim, hair or ink; the darkest skin lies above.
BLACK = 15.0

#: Share of the frame on each side that is looked at, and the least share of it that must be skin.
BORDER, LEAST = 0.2, 0.1

#: So many pixels of the shorter side are looked at: medians need no more.
SIDE = 48

#: sRGB's primaries in CIE XYZ (IEC 61966-2-1), rows X, Y, Z over those of white under D65.
_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
) / np.array([[0.95047], [1.0], [1.08883]])


def lab(pictures: np.ndarray) -> np.ndarray:
    """sRGB uint8 ``[..., 3]`` -> CIE L*a*b* under D65, float64 ``[..., 3]``."""
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    xyz = linear[pictures] @ _XYZ.T
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def typology_angle(picture: np.ndarray) -> float | None:
    """The angle of one picture uint8 ``[3, H, W]`` in degrees; None where its border shows no
    skin.
    """
    step = max(1, min(picture.shape[1:]) // SIDE)
    picture = picture[:, ::step, ::step]
    height, width = picture.shape[1:]
    rows, columns = max(1, round(BORDER * height)), max(1, round(BORDER * width))
    border = np.ones((height, width), bool)
    border[rows : height - rows, columns : width - columns] = False
    colours = lab(picture.transpose(1, 2, 0)[border])
    skin = colours[colours[:, 0] >= BLACK]
    if len(skin) < LEAST * len(colours):
        return None
    light, _, yellow = np.median(skin, axis=0)
    # bluish or grey "skin" has no angle in the sense of the definition
    return float(np.degrees(np.arctan2(light - 50, yellow))) if yellow > 0 else None


def skin_tones(pictures: Pictures) -> list[str | None]:
    """The group of each picture uint8 ``[N, 3, H, W]``; None where it cannot be told."""
    found = []
    for picture in chain.from_iterable(in_parts(pictures)):
        angle = typology_angle(picture)
        found.append(
            None if angle is None else next(name for least, name in TONES if angle >= least)
        )
    return found
