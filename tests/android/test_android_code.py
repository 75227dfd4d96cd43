"""The app's pure Kotlin under JUnit, its screens and its decoder under Robolectric with Android's
own graphics.
"""

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from android_fixtures import (
    LARGEST_PICTURE,
    MODEL_SIZE,
    SITE,
    assets,
    copy_screenshots,
    junit,
    shown_assets,
    shown_photographs,
)
from host_jvm import build_shim
from PIL import Image

from mobilekd.android.several import INDEX, listing, places
from mobilekd.formats.artifact import open_artifact
from mobilekd.formats.measurement import Cold, Memory, Pipeline, Series, Sustained, read_measurement
from mobilekd.formats.preprocess import Preprocess, open_photograph

WIDTH, HEIGHT = MODEL_SIZE
#: A shipped student whose file holds neither.
PLAIN = "ham10000-mobilenetv2-035"
#: A shipped student whose file holds sets and a guard.
GUARDED = "dermoscopy-mobilenetv2-035"
PURE = ("PreprocessTest", "AnswerTest", "ModelTest", "BenchTest", "ChoiceTest")
PICTURES = ("ScreenshotTest", "AnswerPicturesTest", "NoticesPictureTest")
SCREENS = (
    "MainActivityTest",
    "AnswerScreenTest",
    "SentencesTest",
    "PhotographViewTest",
    "ModelFileTest",
    "BenchmarkActivityTest",
    "BenchEntryTest",
)


def test_pure_kotlin(tools, community, tmp_path):
    classes = [f"org.mobilekd.demo.pure.{name}" for name in PURE]
    said = junit(tools, community, classes, work=tmp_path, properties={}, assets=tmp_path / "none")
    assert "OK (" in said


@pytest.mark.parametrize("kind", ["*.jpg", "*.png"])
def test_decode_and_resize_equal_python_to_the_bit(kind, decoded, shots):
    preprocess = Preprocess(width=WIDTH, height=HEIGHT)
    compared = 0
    for file in sorted(shots.glob(kind)):
        output = decoded / f"{file.name}.u8"
        if file.name in ("truncated.jpg", "truncated.png", "text.jpg", "empty.jpg"):
            assert not output.exists(), f"{file.name} was decoded"
        elif file.name != "huge.png" and "-" not in file.name:
            found = np.fromfile(output, np.uint8).reshape(HEIGHT, WIDTH, 3)
            np.testing.assert_array_equal(found, preprocess.load(file), err_msg=file.name)
            compared += 1
    assert compared > 5


def test_sizes_are_python_s(decoded, shots):
    sizes = json.loads((decoded / "sizes.json").read_text())
    for name in ("exif5.jpg", "exif6.png", "huge.jpg", "pixel.jpg", "lesion.jpg"):
        assert tuple(sizes[name]) == open_photograph(shots / name).size, name


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("exif8.webp", 2),
        ("huge.png", 6),
        ("12-display-p3.jpg", 2),
        ("13-adobe-rgb.png", 2),
        ("14-gamma.png", 2),
        ("15-sixteen-bits.png", 2),
        ("ink-cmyk.jpg", 2),
        ("deep-grey.png", 1),
    ],
)
def test_where_decoders_differ_the_difference_is_bounded(name, bound, decoded, shots):
    """WebP has lossy colour conversions of its own; a huge PNG is averaged by Pillow and skipped
    through by Android; conversions to sRGB round to neighbouring levels.
    """
    preprocess = Preprocess(width=WIDTH, height=HEIGHT)
    found = np.fromfile(decoded / f"{name}.u8", np.uint8).reshape(HEIGHT, WIDTH, 3).astype(int)
    assert np.abs(found - preprocess.load(shots / name)).max() <= bound


@pytest.fixture(scope="module")
def screens(tools, community, shots, tmp_path_factory) -> Path:
    """The screens' tests, with an engine that does what no sound one does."""
    work = tmp_path_factory.mktemp("screens")
    properties = {"mobilekd.photographs": shots, "mobilekd.screenshots": work}
    classes = [f"org.mobilekd.demo.screen.{name}" for name in SCREENS]
    junit(
        tools, community, classes, work=work, properties=properties, assets=assets(work / "assets")
    )
    return work


@pytest.fixture(scope="module")
def pictures(tools, community, tmp_path_factory, checkout) -> Path:
    """Screens in every state, drawn with the shipped student's own answers and this machine's own
    times.
    """
    from mobilekd.commands.export import export

    work = tmp_path_factory.mktemp("pictures")
    exported = export(f"reference:{PLAIN}", cam=True, output=work / "artifact").folder
    # it has sets, and its file a guard
    guarded = export(f"reference:{GUARDED}", cam=True, output=work / "guarded").folder
    (work / "shim").mkdir()
    properties = {
        "mobilekd.photographs": shown_photographs(work / "photographs", exported, guarded),
        "mobilekd.guarded": guarded / "model.pte",
        "mobilekd.screenshots": work,
    }
    shown = shown_assets(work / "assets", exported, community)
    libraries = build_shim("x86_64", community, work / "shim")
    classes = [f"org.mobilekd.demo.screen.{name}" for name in PICTURES]
    junit(
        tools,
        community,
        classes,
        work=work,
        properties=properties,
        assets=shown,
        libraries=libraries,
    )
    copy_screenshots(work, checkout)
    return work


def check_several(tools, community, artifacts, work, photographs) -> None:
    """The screens of an app of three files, the last of which is for a chip; on Android's own
    runtime.
    """
    given = work / "assets"
    placed = places([open_artifact(artifact) for artifact in artifacts])
    shown_assets(given, artifacts[0], community)
    for folder, artifact in placed.items():
        shutil.copytree(artifact.folder / "golden", given / folder / "golden", dirs_exist_ok=True)
        shutil.copy(artifact.model, given / folder)
    (given / INDEX).write_bytes(listing(placed))
    (work / "shim").mkdir()
    junit(
        tools,
        community,
        ["org.mobilekd.demo.screen.SeveralFilesTest"],
        work=work,
        properties={"mobilekd.photographs": photographs, "mobilekd.screenshots": work},
        assets=given,
        libraries=build_shim("x86_64", community, work / "shim"),
    )
    first, second = (
        read_measurement(work / f"benchmark-{one.manifest.backend}-{one.manifest.precision}.json")
        for one in list(placed.values())[:2]
    )
    assert first.session == second.session
    assert first.golden.passed
    assert second.golden.passed


def test_an_app_of_several_files(
    tools, community, artifact, portable_artifact, hexagon_artifact, shots, tmp_path
):
    check_several(
        tools, community, [artifact, portable_artifact, hexagon_artifact], tmp_path, shots
    )


def test_screens_live_through_rotation_death_and_damage(screens):
    """The JUnit classes ran in the fixture: rotation, process death, cancelled runs, wrong files,
    huge photographs.
    """


def test_adb_is_answered_in_the_words_of_the_measurement(screens):
    """BenchEntryTest left what the app answers; the schema reads the parts that it shares with
    every runner.
    """
    identify, golden, measure = (
        json.loads((screens / f"bench-{mode}.json").read_text())
        for mode in ("identify", "golden", "measure")
    )
    for document in (identify, golden, measure):
        assert document["mobilekd_app"] == 1
        assert len(document["model_sha256"]) == 64
        assert set(document["versions"]) == {"app", "executorch"}
    answers = np.frombuffer(base64.b64decode(golden["answers"]), "<f4")
    assert answers.size == golden["count"] * golden["classes"]
    for part, schema in (
        ("cold", Cold),
        ("series", Series),
        ("pipeline", Pipeline),
        ("memory", Memory),
        ("sustained", Sustained),
    ):
        schema.model_validate(measure[part])


def test_the_benchmark_screen_writes_a_measurement(pictures):
    """The one in the picture: of the real model, whose golden set this machine answers as the
    exporter's did.
    """
    measurement = read_measurement(pictures / "benchmark.json")
    assert measurement.golden.passed
    assert (
        measurement.golden.samples
        == json.loads((pictures / "artifact/golden/golden.json").read_text())["count"]
    )
    assert measurement.device.model.endswith("no phone")
    assert all(len(series.samples_ns) == 100 for series in measurement.series)


def test_every_state_was_drawn(pictures, checkout):
    drawn = sorted(pictures.glob("*.png"))
    assert [picture.name for picture in drawn] == sorted(
        picture.name for picture in (checkout / "android_demo/docs").glob("*.png")
    )
    for picture in drawn:
        pixels = np.asarray(Image.open(picture).convert("L"))
        assert pixels.std() > 5, f"{picture.name} is blank"
        committed = checkout / "android_demo/docs" / picture.name
        assert committed.stat().st_size < LARGEST_PICTURE, f"{picture.name} is too large to travel"
    for shown in SITE:
        copied = checkout / f"docs/assets/phone-{shown}.png"
        committed = checkout / f"android_demo/docs/{shown}-light.png"
        assert copied.read_bytes() == committed.read_bytes(), f"{copied.name}: another picture"
    light, dark = (
        np.asarray(Image.open(pictures / f"answer-{mode}.png").convert("L")).mean()
        for mode in ("light", "dark")
    )
    assert light > 150 > 90 > dark
