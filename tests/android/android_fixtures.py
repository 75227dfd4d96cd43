"""What the Android tests share: the toolchain or a skip, compiled tests, photographs, an artifact,
a JVM.
"""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from mobilekd.android.compile import app_classes, kotlin, platform
from mobilekd.android.maven import artifact as maven_file
from mobilekd.android.maven import classpath
from mobilekd.android.runtime import COMMUNITY, Runtime, runtime
from mobilekd.android.sources import demo_sources, source_hash
from mobilekd.android.toolchain import Toolchain, missing, run, toolchain
from mobilekd.commands.predict import predict
from mobilekd.data.synthetic import load
from mobilekd.formats import golden
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.support.cache import kept_folder
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_tree

JVM = ("-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

#: Robolectric runs on instrumented copies of Android; it looks at the newer one too.
_INSTRUMENTED = (
    "org.robolectric:android-all-instrumented:14-robolectric-10818077-i7",
    "org.robolectric:android-all-instrumented:15-robolectric-12650502-i7",
)

#: In the golden set: every kind that is decoded alike here and on a phone, small enough to travel.
GOLDEN = (
    "alpha.png",
    "exif3.jpg",
    "exif6.jpg",
    "full444.jpg",
    "grey.jpg",
    "lesion.jpg",
    "line.png",
    "pixel.png",
    "subsampled420.jpg",
)

#: Generated photographs among which one is looked for that leaves few classes.
CANDIDATES = 40

#: Pictures of the app that the documentation's site shows, too.
SITE = ("set", "outside")

#: Bytes of a picture for the docs, and how many of its colours are kept as they are.
LARGEST_PICTURE, KEPT_COLOURS = 60_000, 32

MODEL_SIZE = (40, 32)  # width, height of the small model's input: not square, so that a swap shows


def tools_or_skip() -> Toolchain:
    absent = missing()
    if absent:
        pytest.skip(
            f"not run: {', '.join(absent)} missing; a machine with JDK 17, Maven, aapt, zipalign"
            " and apksigner runs this"
        )
    return toolchain()


def runtime_or_skip(tools: Toolchain) -> Runtime:
    try:
        return runtime(COMMUNITY, "1.5.1", tools)
    except UserError as error:
        pytest.skip(
            f"not run: {error}; a machine that reaches an npm and a Maven registry runs this"
        )


def compiled_tests(tools: Toolchain, chosen: Runtime) -> Path:
    """The app's tests as classes, cached by every source that goes in."""
    tests = demo_sources() / "app/src/test"
    key = hashlib.sha256(
        f"{source_hash()}{sha256_tree(tests)}{chosen.sha256}".encode()
    ).hexdigest()[:16]
    app = app_classes(chosen, "0.1.0", tools)

    def fill(work: Path) -> None:
        classes = work / "classes"
        classes.mkdir()
        sources = sorted((tests / "java").rglob("*.java"))
        run(
            [tools.javac, "-nowarn", "-cp", platform(tools), "-d", classes, *sources],
            "javac, compiling the stand-ins",
        )
        jars = [
            app / "classes",
            classes,
            *classpath("test", tools),
            *classpath("app", tools),
            *chosen.jars,
            platform(tools),
        ]
        kotlin([tests / "kotlin"], jars, classes, tools)

    return kept_folder(f"android/tests-{key}", fill)


def configure_robolectric(work: Path, app: Path, assets: Path) -> Path:
    """A classpath folder that tells Robolectric of an APK with the app's manifest, resources and
    ``assets``.
    """
    resources = work / "resources.apk"
    shutil.copyfile(app / "resources.apk", resources)
    with zipfile.ZipFile(resources, "a") as archive:
        for file in sorted(path for path in assets.rglob("*") if path.is_file()):
            archive.write(file, f"assets/{file.relative_to(assets).as_posix()}")
    place = work / "config/com/android/tools"
    place.mkdir(parents=True, exist_ok=True)
    lines = {
        "android_merged_manifest": app / "AndroidManifest.xml",
        "android_resource_apk": resources,
        "android_custom_package": "org.mobilekd.demo",
    }
    (place / "test_config.properties").write_text(
        "".join(f"{key}={value}\n" for key, value in lines.items())
    )
    return work / "config"


def beside_android(libraries: Path) -> dict[str, str]:
    """The environment of a JVM that loads Android's ``libraries``, made by
    ``host_jvm.build_shim``.
    """
    return {
        **os.environ,
        "BIONIC_PRELOAD": str(libraries / "libexecutorch.so"),
        "LD_LIBRARY_PATH": str(libraries),
    }


def junit(
    tools: Toolchain,
    chosen: Runtime,
    classes: Sequence[str],
    *,
    work: Path,
    properties: dict[str, object],
    assets: Path,
    libraries: Path | None = None,
) -> str:
    """Run JUnit classes in one JVM, with Android's ``libraries`` if given; a failure fails the test
    with JUnit's own words.
    """
    tests, app = compiled_tests(tools, chosen), app_classes(chosen, "0.1.0", tools)
    instrumented = work / "instrumented"
    instrumented.mkdir(exist_ok=True)
    for coordinates in _INSTRUMENTED:
        jar = maven_file(coordinates, tools)
        if not (instrumented / jar.name).exists():
            (instrumented / jar.name).symlink_to(jar)
    config = configure_robolectric(work, app, assets)
    path = [
        config,
        tests / "classes",
        app / "classes",
        *classpath("test", tools),
        *classpath("app", tools),
        *chosen.jars,
    ]
    # annotations name Android's classes before Robolectric has its own loader
    path.append(platform(tools))
    given = {
        "robolectric.offline": "true",
        "robolectric.dependency.dir": instrumented,
        "java.awt.headless": "true",
        **properties,
    }
    if libraries:
        given |= {"mobilekd.shim": libraries, "java.library.path": libraries}
    command = [
        tools.java,
        *JVM,
        "--add-opens=java.base/java.io=ALL-UNNAMED",
        *(f"-D{key}={value}" for key, value in given.items()),
    ]
    command += ["-cp", os.pathsep.join(map(str, path)), "org.junit.runner.JUnitCore", *classes]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=900,
        cwd=work,
        env=beside_android(libraries) if libraries else None,
    )
    own = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if not line.startswith("\tat ") or "org.mobilekd" in line
    ]
    assert done.returncode == 0, "\n".join(own)[:6000]
    return done.stdout


def lesion(width: int, height: int, seed: int = 0) -> Image.Image:
    """A drawn lesion on skin, sharp enough to be no blur: nobody's photograph."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), (226, 180, 160))
    draw = ImageDraw.Draw(image)
    side = min(width, height)
    for radius, colour in (
        (0.36, (203, 150, 128)),
        (0.31, (168, 108, 84)),
        (0.24, (128, 74, 56)),
        (0.13, (92, 50, 40)),
    ):
        angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        wobble = (
            1
            + 0.06 * np.sin(3 * angles + seed)
            + 0.04 * np.sin(5 * angles + radius * 9)
            + random.normal(0, 0.012, 60)
        )
        ring = [
            (
                width / 2 + side * radius * w * 1.15 * np.cos(a),
                height / 2 + side * radius * w * np.sin(a),
            )
            for a, w in zip(angles, wobble, strict=True)
        ]
        draw.polygon(ring, fill=colour)
    image = image.filter(ImageFilter.GaussianBlur(side * 0.012))
    noise = random.normal(0, 9, (height, width, 1))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def photographs(folder: Path) -> Path:
    """One of everything that people hand to an app."""
    folder.mkdir(parents=True, exist_ok=True)
    lesion(1200, 1600, 2).save(folder / "lesion.jpg", quality=90)
    lesion(900, 700, 3).filter(ImageFilter.GaussianBlur(14)).point(lambda v: int(v * 0.35)).save(
        folder / "dim.jpg", quality=90
    )
    odd = lesion(333, 251, 4)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        odd.save(folder / f"exif{orientation}.jpg", quality=92, exif=exif)
    odd.save(folder / "exif6.png", exif=exif_of(6))
    odd.save(folder / "exif8.webp", lossless=True, exif=exif_of(8))
    odd.convert("L").save(folder / "grey.jpg", quality=90)
    odd.convert("L").save(folder / "grey.png")
    odd.quantize(64).save(folder / "palette.png")
    odd.save(folder / "subsampled420.jpg", quality=70, subsampling="4:2:0")
    odd.save(folder / "full444.jpg", quality=95, subsampling="4:4:4")
    odd.save(folder / "progressive.jpg", quality=85, progressive=True)
    alpha = np.dstack(
        [np.asarray(odd), np.linspace(0, 255, 333, dtype=np.uint8)[None].repeat(251, 0)]
    )
    Image.fromarray(alpha).save(folder / "alpha.png")
    for name in golden.draw(folder, Preprocess())[0]:
        if "-" not in name:  # colours that are not converted have photographs of their own here
            (folder / name).unlink()
    odd.convert("CMYK").save(folder / "ink-cmyk.jpg", quality=92)
    levels = np.asarray(odd.convert("L")).astype(np.uint16) * 257
    Image.fromarray(levels).save(folder / "deep-grey.png")
    Image.new("RGB", (1, 1), (200, 100, 50)).save(folder / "pixel.png")
    Image.new("RGB", (1, 1), (200, 100, 50)).save(folder / "pixel.jpg")
    Image.new("RGB", (3000, 2), (10, 200, 90)).save(folder / "line.png")
    small = lesion(1000, 750, 5)
    small.resize((8000, 6000), Image.Resampling.BICUBIC).save(folder / "huge.jpg", quality=70)
    small.resize((4400, 3001), Image.Resampling.BICUBIC).save(folder / "huge.png", compress_level=1)
    whole = (folder / "lesion.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    whole = (folder / "grey.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("not a photograph\n")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def assets(folder: Path) -> Path:
    """What the build puts beside the code, for the screens: samples and the runtime's facts."""
    for place in ("samples", "thumbnails", "artifact/golden"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for index in range(5):
        drawn = lesion(480, 480, 10 + index)
        drawn.save(folder / f"samples/{index:02d}.jpg", quality=88)
        drawn.resize((192, 192)).save(folder / f"thumbnails/{index:02d}.jpg", quality=85)
    (folder / "artifact/model.pte").write_bytes(b"opened by a stand-in")
    (folder / "runtime.json").write_text(
        '{"name": "org.pytorch:executorch-android", "version": "1.5.1", "needs": []}'
    )
    answers = np.array([0.012, 0.021, 0.094, 0.008, 0.148, 0.708, 0.009], "<f4")
    (folder / "artifact/golden/golden.json").write_text('{"max_error": 1e-5}')
    (folder / "artifact/golden/inputs.u8").write_bytes(bytes(2 * 3 * 128 * 160))
    (folder / "artifact/golden/probabilities.f32").write_bytes(
        np.stack([answers, answers]).tobytes()
    )
    return folder


def shown_photographs(folder: Path, artifact: Path, guarded: Path) -> Path:
    """What the pictures of the app show: generated photographs, one whole, one dim and blurred that
    ``artifact`` is not sure of, one of which ``guarded`` leaves two or three classes, and a drawn
    face, which it refuses.
    """
    folder.mkdir()
    drawn = load(DataTable(kind="synthetic", count=14, size=900)).draw

    def portrait(index: int) -> Image.Image:
        return drawn(index).crop((112, 0, 788, 900))

    portrait(13).save(folder / "lesion.jpg", quality=90)
    for index in range(14):  # which one it is not sure of changes with every reference
        portrait(index).filter(ImageFilter.GaussianBlur(3)).point(
            lambda value: int(value * 0.55)
        ).save(folder / "unsure.jpg", quality=90)
        (found,) = predict(artifact, [folder / "unsure.jpg"])
        if not found.sure and found.quality:
            break
    else:
        raise AssertionError(f"{artifact}: sure of every dim and blurred photograph")
    whole = (folder / "lesion.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    face(676, 900).save(folder / "face.jpg", quality=90)
    (refused,) = predict(guarded, [folder / "face.jpg"])
    assert refused.outside, f"{guarded}: a drawn face is not refused"
    leave_few_classes(guarded, folder / "set.jpg")
    return folder


def leave_few_classes(artifact: Path, file: Path) -> None:
    """Write the first generated photograph that ``artifact`` answers with two or three classes,
    the likeliest among them; which one it is changes with every reference.
    """
    small = load(DataTable(kind="synthetic", count=CANDIDATES, size=400)).draw
    candidates = [file.with_name(f"candidate-{index:02d}.jpg") for index in range(CANDIDATES)]
    for index, candidate in enumerate(candidates):
        small(index).crop((50, 0, 350, 400)).save(candidate, quality=92)
    found = predict(artifact, candidates)
    few = [one for one in found if one.sure and one.set and len(one.set) in (2, 3)]
    assert few, f"{artifact}: no generated photograph leaves two or three classes"
    Path(few[0].image).rename(file)
    for candidate in candidates:
        candidate.unlink(missing_ok=True)


def face(width: int, height: int) -> Image.Image:
    """A drawn face: no skin lesion, and nobody's."""
    image = Image.new("RGB", (width, height), (120, 170, 220))
    draw = ImageDraw.Draw(image)

    def box(left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
        return (left * width, top * height, right * width, bottom * height)

    draw.ellipse(box(0.15, 0.15, 0.85, 0.62), fill=(80, 50, 30))
    draw.ellipse(box(0.19, 0.24, 0.81, 0.82), fill=(240, 200, 170))
    for left in (0.30, 0.57):
        draw.ellipse(box(left, 0.43, left + 0.13, 0.49), fill="white")
        draw.ellipse(box(left + 0.04, 0.432, left + 0.09, 0.488), fill=(50, 60, 90))
    draw.polygon(
        [
            (0.5 * width, 0.50 * height),
            (0.46 * width, 0.60 * height),
            (0.54 * width, 0.60 * height),
        ],
        fill=(220, 170, 140),
    )
    draw.arc(box(0.36, 0.58, 0.64, 0.73), 20, 160, fill=(170, 50, 60), width=width // 48)
    return image


def shown_assets(folder: Path, artifact: Path, chosen: Runtime) -> Path:
    """What the build puts into an app of ``artifact``, with generated photographs of several kinds
    as samples.
    """
    for place in ("samples", "thumbnails"):
        (folder / place).mkdir(parents=True)
    drawn = load(DataTable(kind="synthetic", count=20, size=384)).draw
    for place, index in enumerate((12, 10, 13, 7, 19)):
        sample = drawn(index)
        sample.save(folder / f"samples/{place:02d}.jpg", quality=88)
        sample.resize((192, 192)).save(folder / f"thumbnails/{place:02d}.jpg", quality=85)
    shutil.copytree(artifact / "golden", folder / "artifact/golden")
    shutil.copy(artifact / "model.pte", folder / "artifact")
    (folder / "runtime.json").write_text(json.dumps(chosen.facts()))
    return folder


def copy_screenshots(made: Path, checkout: Path) -> None:
    """Into the app's docs when asked for (MOBILEKD_KEEP_SCREENSHOTS=1), at half size and in as
    many colours as fit: they travel in the wheel.
    """
    if os.environ.get("MOBILEKD_KEEP_SCREENSHOTS"):
        docs = checkout / "android_demo/docs"
        for picture in made.glob("*.png"):
            small = Image.open(picture).convert("RGB").reduce(2)
            for colours in range(256, 64, -32):
                few_colours(small, colours).save(docs / picture.name, optimize=True)
                if (docs / picture.name).stat().st_size < LARGEST_PICTURE:
                    break
        for shown in SITE:  # the site has no file of outside docs/
            shutil.copyfile(
                docs / f"{shown}-light.png", checkout / f"docs/assets/phone-{shown}.png"
            )


def few_colours(picture: Image.Image, count: int) -> Image.Image:
    """RGB -> ``count`` colours. The most frequent ones, which are the app's own, stay as they are;
    the others are spread over what there is, because a palette after frequency greys what is small.
    """
    pixels = np.asarray(picture, dtype=np.uint8).reshape(-1, 3)
    codes = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    colours, which, counts = np.unique(codes, return_inverse=True, return_counts=True)
    kept = np.argsort(-counts, kind="stable")[:KEPT_COLOURS]
    place = np.full(len(colours), -1)
    place[kept] = np.arange(len(kept))
    index = place[which]
    palette = [
        int(part) for code in colours[kept] for part in (code >> 16, code >> 8 & 255, code & 255)
    ]
    rest = index < 0
    if rest.any():
        others = Image.fromarray(pixels[rest][None]).quantize(
            count - len(kept), Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        index[rest] = np.asarray(others)[0] + len(kept)
        palette += others.getpalette() or []
    shape = (picture.height, picture.width)
    reduced = Image.fromarray(index.reshape(shape).astype(np.uint8), "P")
    reduced.putpalette(palette[: 3 * count])
    return reduced
