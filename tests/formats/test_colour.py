"""Whatever space a photograph's numbers are in, what is read is sRGB; numbers without a space are
left as they are.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from mobilekd.formats.colour import ADOBE_RGB, BT2020, DISPLAY_P3, SRGB, Space
from mobilekd.formats.golden import draw, photograph
from mobilekd.formats.preprocess import Preprocess, open_photograph, readable_suffixes
from mobilekd.support.errors import UserError

assert ".heic" in readable_suffixes()  # lets Pillow write it, too


def linear(levels: np.ndarray, gamma: float | None) -> np.ndarray:
    """0..255 -> 0..1 in light."""
    x = np.asarray(levels, float) / 255
    if gamma:
        return np.asarray(x**gamma)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def to_xyz(space: Space) -> np.ndarray:
    """The textbook's matrix of a space whose white is sRGB's."""
    columns = np.array(
        [[x / y, 1, (1 - x - y) / y] for x, y in (space.red, space.green, space.blue)]
    )
    x, y = space.white
    scale = np.linalg.solve(columns.T, [x / y, 1, (1 - x - y) / y])
    return columns.T * scale


def expected(levels: np.ndarray, space: Space) -> np.ndarray:
    """``[..., 3]`` levels of ``space`` as sRGB's, without any library of colours."""
    light = linear(levels, space.gamma) @ (np.linalg.inv(to_xyz(SRGB)) @ to_xyz(space)).T
    light = light.clip(0, 1)
    curved = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return 255 * curved


def assert_becomes(path: Path, wanted: np.ndarray, bound: float = 1.6) -> None:
    assert np.abs(np.asarray(open_photograph(path)).astype(float) - wanted).max() <= bound


@pytest.fixture
def levels() -> np.ndarray:
    return np.asarray(photograph(3, 61, 47))


@pytest.mark.parametrize("space", [DISPLAY_P3, ADOBE_RGB], ids=["display-p3", "adobe-rgb"])
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_a_profile_is_obeyed(tmp_path: Path, levels: np.ndarray, space: Space, suffix: str) -> None:
    path = tmp_path / f"lesion.{suffix}"
    Image.fromarray(levels).save(path, icc_profile=space.icc(), lossless=True)
    wanted = expected(levels, space)
    assert np.abs(wanted - levels).max() > 10, "the numbers mean something else than in sRGB"
    assert_becomes(path, wanted)


def test_jpeg_is_turned_and_converted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    colour = np.array([200, 120, 90])
    image = Image.new("RGB", (40, 20), tuple(colour.tolist()))
    image.save(tmp_path / "held.jpg", quality=95, exif=exif, icc_profile=DISPLAY_P3.icc())
    assert open_photograph(tmp_path / "held.jpg").size == (20, 40)
    assert_becomes(tmp_path / "held.jpg", expected(colour, DISPLAY_P3), 3)


def with_palette(image: Image.Image) -> Image.Image:
    return image.quantize(64, dither=Image.Dither.NONE)


def with_alpha(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def test_a_palette_is_converted(tmp_path: Path, levels: np.ndarray) -> None:
    image = with_palette(Image.fromarray(levels))
    image.save(tmp_path / "palette.png", icc_profile=DISPLAY_P3.icc())
    assert_becomes(tmp_path / "palette.png", expected(np.asarray(image.convert("RGB")), DISPLAY_P3))


def test_colours_are_converted_before_they_lie_over_white(
    tmp_path: Path, levels: np.ndarray
) -> None:
    image = with_alpha(Image.fromarray(levels))
    image.save(tmp_path / "alpha.png", icc_profile=DISPLAY_P3.icc())
    alpha = np.asarray(image)[..., 3:] / 255
    wanted = expected(levels, DISPLAY_P3) * alpha + 255 * (1 - alpha)
    assert_becomes(tmp_path / "alpha.png", wanted, 2)


def png(path: Path, image: Image.Image, **chunks: bytes) -> None:
    info = PngInfo()
    for name, data in chunks.items():
        info.add(name.encode(), data)
    image.save(path, pnginfo=info)


def gamma(exponent: float) -> bytes:
    return struct.pack(">I", round(100000 / exponent))


def chromaticities(space: Space) -> bytes:
    values = (*space.white, *space.red, *space.green, *space.blue)
    return struct.pack(">8I", *(round(100000 * value) for value in values))


def test_png_s_own_gamma_and_chromaticities_are_obeyed(tmp_path: Path, levels: np.ndarray) -> None:
    image = Image.fromarray(levels)
    png(tmp_path / "gamma.png", image, gAMA=gamma(1.8))
    plain = Space(SRGB.red, SRGB.green, SRGB.blue, gamma=1.8)
    assert_becomes(tmp_path / "gamma.png", expected(levels, plain), 2)
    png(tmp_path / "both.png", image, gAMA=gamma(2.2), cHRM=chromaticities(DISPLAY_P3))
    wide = Space(DISPLAY_P3.red, DISPLAY_P3.green, DISPLAY_P3.blue, gamma=2.2)
    assert_becomes(tmp_path / "both.png", expected(levels, wide), 2)
    grey = image.convert("L")
    png(tmp_path / "grey.png", grey, gAMA=gamma(1.8))
    assert_becomes(tmp_path / "grey.png", expected(np.asarray(grey.convert("RGB")), plain), 2)


def test_chromaticities_that_are_none_leave_the_gamma(tmp_path: Path, levels: np.ndarray) -> None:
    png(tmp_path / "zero.png", Image.fromarray(levels), gAMA=gamma(1.8), cHRM=bytes(32))
    plain = Space(SRGB.red, SRGB.green, SRGB.blue, gamma=1.8)
    assert_becomes(tmp_path / "zero.png", expected(levels, plain), 2)


SAME: dict[str, Callable[[Path, Image.Image], None]] = {
    "none": lambda path, image: image.save(path),
    "ours": lambda path, image: image.save(path, icc_profile=SRGB.icc()),
    "lcms": lambda path, image: image.save(
        path, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    ),
    "chunk": lambda path, image: png(path, image, sRGB=b"\0", gAMA=gamma(1.8)),
    "broken": lambda path, image: image.save(path, icc_profile=b"no profile" * 20),
    "of grey": lambda path, image: image.save(path, icc_profile=grey_profile()),
}


def grey_profile() -> bytes:
    """Grey with a curve of 1.8: the RGB profile's header says GRAY, and its red curve is grey's."""
    profile = Space(SRGB.red, SRGB.green, SRGB.blue, gamma=1.8).icc()
    return profile.replace(b"RGB XYZ ", b"GRAYXYZ ").replace(b"rTRC", b"kTRC", 1)


@pytest.mark.parametrize("kind", SAME)
def test_numbers_of_srgb_or_of_no_space_stay_to_the_bit(
    tmp_path: Path, levels: np.ndarray, kind: str
) -> None:
    SAME[kind](tmp_path / "same.png", Image.fromarray(levels))
    assert np.array_equal(np.asarray(open_photograph(tmp_path / "same.png")), levels)


def test_grey_has_profiles_of_its_own(tmp_path: Path, levels: np.ndarray) -> None:
    grey = Image.fromarray(levels).convert("L")
    grey.save(tmp_path / "grey.png", icc_profile=grey_profile())
    plain = Space(SRGB.red, SRGB.green, SRGB.blue, gamma=1.8)
    assert_becomes(tmp_path / "grey.png", expected(np.asarray(grey.convert("RGB")), plain), 2)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png", icc_profile=grey_profile())
    assert_becomes(tmp_path / "deep.png", expected(np.asarray(grey.convert("RGB")), plain), 2)


def test_a_profile_is_one_that_others_read() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(DISPLAY_P3.icc()))
    assert profile.profile.xcolor_space.strip() == "RGB"
    assert profile.profile.version == 4
    assert ImageCms.getProfileDescription(profile).strip() == "mobilekd"


def test_the_golden_set_has_every_kind_of_colour(tmp_path: Path) -> None:
    names, pictures = draw(tmp_path, Preprocess(width=32, height=32))
    assert len(names) == len(pictures) == 16
    profiled = [name for name in names if "-" in name]
    assert len(profiled) == 4
    for name in profiled:
        image = Image.open(tmp_path / name)
        ignored = Preprocess(width=32, height=32).apply(image.convert("RGB")).transpose(2, 0, 1)
        mine = pictures[names.index(name)]
        assert np.abs(ignored.astype(int) - mine).max() > 4, f"{name} looks the same without"


def coded(path: Path, colour: tuple[int, int, int], primaries: int, transfer: int) -> Path:
    """A HEIC or AVIF without an ICC profile, with these code points of ITU-T H.273."""
    image = Image.new("RGB", (64, 48), colour)
    if path.suffix == ".heic":
        pillow_heif.from_pillow(image).save(
            path,
            color_primaries=primaries,
            transfer_characteristics=transfer,
            matrix_coefficients=6,
            full_range_flag=1,
        )
        return path
    image.save(path)
    head, box, rest = path.read_bytes().partition(b"colrnclx")
    path.write_bytes(head + box + struct.pack(">HH", primaries, transfer) + rest[4:])
    return path


@pytest.mark.parametrize("suffix", ["heic", "avif"])
@pytest.mark.parametrize(
    ("points", "space"),
    [
        ((1, 13), SRGB),
        ((2, 2), SRGB),
        ((1, 1), SRGB),
        ((12, 13), DISPLAY_P3),
        ((9, 1), BT2020),
        ((1, 4), replace(SRGB, gamma=2.2)),
        ((12, 8), replace(DISPLAY_P3, gamma=1.0)),
    ],
)
def test_code_points_are_obeyed_where_no_profile_is(
    tmp_path: Path, points: tuple[int, int], space: Space, suffix: str
) -> None:
    colour = np.array([180, 120, 90])
    path = coded(tmp_path / f"lesion.{suffix}", tuple(colour.tolist()), *points)
    assert_becomes(path, expected(colour, space), 3)


@pytest.mark.parametrize("suffix", ["heic", "avif"])
@pytest.mark.parametrize(("transfer", "word"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(tmp_path: Path, transfer: int, word: str, suffix: str) -> None:
    path = coded(tmp_path / f"lesion.{suffix}", (180, 120, 90), 9, transfer)
    with pytest.raises(UserError, match=rf"lesion\.{suffix}: .*HDR \({word}\).*export it in SDR"):
        open_photograph(path)


def test_a_profile_goes_before_code_points(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 48), (180, 120, 90))
    for suffix in ("heic", "avif"):
        path = tmp_path / f"lesion.{suffix}"
        image.save(path, icc_profile=DISPLAY_P3.icc(), quality=95)
        assert_becomes(path, expected(np.array([180, 120, 90]), DISPLAY_P3), 3)


@pytest.mark.parametrize("profile", [None, DISPLAY_P3.icc()], ids=["without", "of light"])
def test_ink_becomes_light(tmp_path: Path, profile: bytes | None) -> None:
    """A CMYK JPEG, as scanners write it: without a profile, and with one of other channels, which
    counts as none.
    """
    colour = (200, 120, 90)
    ink = Image.new("RGB", (40, 20), colour).convert("CMYK")
    ink.save(tmp_path / "ink.jpg", quality=95, icc_profile=profile)
    assert Image.open(tmp_path / "ink.jpg").mode == "CMYK"
    assert_becomes(tmp_path / "ink.jpg", np.array(colour), 3)
