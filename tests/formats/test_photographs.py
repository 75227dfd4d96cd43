"""What cameras, scanners and phones write is opened as what it shows, and nothing else is."""

import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from mobilekd.data import inputs, load
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.preprocess import (
    Preprocess,
    open_photograph,
    photograph_size,
    readable_suffixes,
)
from mobilekd.support.errors import UserError

RAMP = np.linspace(0, 255, 40 * 30).reshape(30, 40)


def levels(path: Path) -> np.ndarray:
    """The photograph's red level, after all three were found equal."""
    pixels = np.asarray(open_photograph(path)).astype(int)
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 0]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sixteen.png", np.rint(RAMP * 257).astype(np.uint16)),
        ("sixteen.tif", np.rint(RAMP * 257).astype(np.uint16)),
        ("big-endian.tif", np.rint(RAMP * 257).astype(">u2")),
        ("eight-in-32.tif", np.rint(RAMP).astype(np.int32)),
        ("sixteen-in-32.tif", np.rint(RAMP * 257).astype(np.int32)),
        ("thirty-one.tif", np.rint(RAMP * ((2**31 - 1) / 255)).astype(np.int32)),
        ("unit.tif", (RAMP / 255).astype(np.float32)),
        ("bytes.tif", RAMP.astype(np.float32)),
        ("words.tif", (RAMP * 257).astype(np.float32)),
    ],
)
def test_grey_of_many_bits_keeps_its_levels(tmp_path: Path, name: str, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / name)
    assert np.abs(levels(tmp_path / name) - RAMP).max() <= 1
    read = Preprocess(width=8, height=6).load(tmp_path / name)
    assert read.min() < 40
    assert read.max() > 215, "neither plain white nor plain black"


@pytest.mark.parametrize("values", [[[np.nan, 1.0]], [[-1.0, 1.0]], [[0.0, 1e9]], [[np.inf, 0.0]]])
def test_grey_that_is_no_brightness_is_refused(tmp_path: Path, values: list[list[float]]) -> None:
    Image.fromarray(np.array(values, dtype=np.float32)).save(tmp_path / "odd.tif")
    with pytest.raises(UserError, match=r"odd\.tif: not a readable photograph"):
        open_photograph(tmp_path / "odd.tif")


def test_a_transparent_level_of_sixteen_bits_is_white(tmp_path: Path) -> None:
    values = np.full((4, 4), 1000, np.uint16)
    values[0] = 7
    Image.fromarray(values).save(tmp_path / "clear.png", transparency=7)
    assert levels(tmp_path / "clear.png")[0].tolist() == [255] * 4
    assert levels(tmp_path / "clear.png")[1].tolist() == [4] * 4


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "gif", "jp2", "avif", "ppm", "tga", "dib"])
def test_what_pillow_reads_is_a_photograph(tmp_path: Path, suffix: str) -> None:
    assert f".{suffix}" in readable_suffixes()
    path = tmp_path / f"lesion.{suffix}"
    Image.new("RGB", (40, 30), (180, 110, 90)).save(path)
    assert np.abs(np.asarray(open_photograph(path)).astype(int) - (180, 110, 90)).max() <= 6


def test_documents_and_films_are_no_photographs() -> None:
    assert not readable_suffixes() & {".eps", ".pdf", ".ps", ".psd", ".mpg", ".wmf", ".ico"}


#: What iPhones export, also under names of other kinds.
HEIC_NAMES = ("lesion.heic", "lesion.HEIF", "lesion.hif", "lesion.jpg", "lesion.png")


def heic(path: Path, **options: object) -> Image.Image:
    """A photograph with a green corner, written as HEIC to ``path``."""
    image = Image.new("RGB", (640, 480), (180, 110, 90))
    image.paste((20, 200, 30), (0, 0, 320, 240))
    pillow_heif.from_pillow(image).save(path, **options)
    return image


@pytest.mark.parametrize("name", HEIC_NAMES)
def test_heic_is_read_by_its_extra(tmp_path: Path, name: str) -> None:
    image = heic(tmp_path / name)
    assert {".heic", ".heif", ".hif"} <= readable_suffixes()
    assert photograph_size(tmp_path / name) == (640, 480)
    read = np.asarray(open_photograph(tmp_path / name)).astype(int)
    assert np.abs(read - np.asarray(image))[::16, ::16].max() <= 8
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-40])
    with pytest.raises(UserError, match=rf"{name}: not a readable photograph .*replace or remove"):
        open_photograph(tmp_path / name)


@pytest.fixture
def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that has no pillow-heif."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind != "HEIF"])
    readable_suffixes.cache_clear()
    yield
    readable_suffixes.cache_clear()


@pytest.mark.usefixtures("without_the_extra")
@pytest.mark.parametrize("name", HEIC_NAMES)
def test_without_the_extra_it_is_named(tmp_path: Path, name: str) -> None:
    heic(tmp_path / name)
    assert ".heic" not in readable_suffixes()
    with pytest.raises(UserError, match=r"pip install 'mobilekd\[heic\]'"):
        open_photograph(tmp_path / name)


def test_folders_of_heic_are_read_as_any_other(tmp_path: Path) -> None:
    for label, shade in (("mel", 40), ("nv", 200)):
        (tmp_path / label).mkdir()
        image = Image.new("RGB", (64, 48), (shade, 90, 90))
        pillow_heif.from_pillow(image).save(tmp_path / label / "IMG_1.HEIC")
    data = load(DataTable(kind="folder", root=str(tmp_path)))
    assert data.ids == ("mel/IMG_1", "nv/IMG_1")
    pixels = inputs(data, data.ids, Preprocess(width=32, height=32))
    assert abs(int(pixels[0].mean()) - (40 + 180) // 3) <= 3


@pytest.mark.parametrize("size", [(12000, 9000), (16320, 12240)])
def test_a_phone_s_108_and_200_megapixels_are_read_reduced(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.new("L", size, 150).save(tmp_path / "huge.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = open_photograph(tmp_path / "huge.jpg")
    assert image.width * image.height <= 13_000_000
    assert image.width / image.height == pytest.approx(size[0] / size[1], rel=1e-3)
    assert Image.MAX_IMAGE_PIXELS is not None, "Pillow's own limit stands as before"


def test_a_palette_is_reduced_in_colour_not_by_its_numbers(tmp_path: Path) -> None:
    image = Image.new("P", (4000, 4000))
    image.putpalette([10, 20, 30] + [200, 100, 50] + [0, 255, 0] * 254)
    image.paste(1, (0, 0, 4000, 2000))
    image.save(tmp_path / "palette.png")
    pixels = np.asarray(open_photograph(tmp_path / "palette.png"))
    assert pixels.shape == (2000, 2000, 3)
    assert pixels[10, 10].tolist() == [200, 100, 50]
    assert pixels[1990, 10].tolist() == [10, 20, 30]


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be of any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb.{suffix}"
    if suffix == "png":
        path.write_bytes(png_header(60000, 60000))
    else:
        Image.new("L", (16, 16)).save(path)
        data = path.read_bytes()
        at = data.index(b"\xff\xc0") + 5  # height and width of the frame
        path.write_bytes(data[:at] + struct.pack(">HH", 65000, 65000) + data[at + 4 :])
    with pytest.raises(UserError, match="decompression bomb"):
        open_photograph(path)
