"""Properties of the app's sources that need no toolchain."""

import re
from xml.etree import ElementTree

import pytest

from mobilekd.android.sources import demo_sources
from mobilekd.formats.constants import NAMES, OPTIONAL

ANDROID = "{http://schemas.android.com/apk/res/android}"
MAIN = demo_sources() / "app/src/main"
KOTLIN = sorted((MAIN / "kotlin").rglob("*.kt"))


def text(pattern: str) -> str:
    return "\n".join(file.read_text() for file in sorted(MAIN.rglob(pattern)))


def test_no_permission_is_asked_for_and_nothing_is_backed_up():
    root = ElementTree.parse(MAIN / "AndroidManifest.xml").getroot()
    assert not root.findall("uses-permission")
    application = root.find("application")
    assert application.get(f"{ANDROID}allowBackup") == "false"
    for component in application:
        if component.tag in ("activity", "service", "receiver", "provider"):
            assert component.get(f"{ANDROID}exported") in ("true", "false"), component.get(
                f"{ANDROID}name"
            )


def test_one_class_touches_executorch_and_one_the_decoder():
    assert [file.name for file in KOTLIN if "org.pytorch" in file.read_text()] == [
        "ExecuTorchEngine.kt"
    ]
    deciding = [file.name for file in KOTLIN if "BitmapFactory.decodeFile" in file.read_text()]
    assert deciding == ["PhotographDecoder.kt"]


@pytest.mark.parametrize("folder", ["tensor", "answer"])
def test_pure_folders_know_no_android(folder):
    for file in KOTLIN:
        if file.parent.name == folder:
            assert not re.search(r"^import android", file.read_text(), re.M), file.name


def test_the_network_is_never_mentioned():
    assert not re.search(r"java\.net|HttpURL|android\.webkit|INTERNET[^ ]*\"", text("*.kt"))


def test_strings_are_all_used_and_all_there():
    strings = {
        item.get("name") for item in ElementTree.parse(MAIN / "res/values/strings.xml").getroot()
    }
    used = set(re.findall(r"R\.(?:string|plurals)\.(\w+)", text("*.kt"))) | set(
        re.findall(r"@string/(\w+)", text("*.xml"))
    )
    assert strings == used


def test_night_has_every_colour():
    def colours(folder: str) -> set[str]:
        return {
            item.get("name")
            for item in ElementTree.parse(MAIN / f"res/{folder}/colors.xml").getroot()
        }

    assert colours("values") - colours("values-night") == {"launcher"}


def luminance(colour: str) -> float:
    """WCAG 2's relative luminance of ``#AARRGGBB``."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (3, 5, 7)]
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("folder", ["values", "values-night"])
@pytest.mark.parametrize(
    ("over", "under"),
    [
        *(
            (text, page)
            for text in ("on_surface", "muted", "primary")
            for page in ("surface", "card", "sunken")
        ),
        *((f"on_{name}", name) for name in ("primary", "tonal", "caution")),
    ],
)
def test_text_stands_out_by_day_and_by_night(folder, over, under):
    colours = {
        item.get("name"): item.text
        for item in ElementTree.parse(MAIN / f"res/{folder}/colors.xml").getroot()
    }
    dark, light = sorted((luminance(colours[over]), luminance(colours[under])))
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, level AA


def test_no_word_on_the_screen_is_outside_the_strings():
    for file in sorted((MAIN / "res").rglob("*.xml")):
        assert not re.search(
            r'android:(?:text|title|label|hint|contentDescription)="[^@?]', file.read_text()
        ), file.name
    assert not re.search(r'(?:\.text|\.title|contentDescription) = "|setText\("', text("*.kt"))


def test_every_text_starts_where_the_phone_s_language_does():
    """An English sentence would else begin on the left of a right-to-left screen."""
    for file in sorted((MAIN / "res").glob("layout*/*.xml")):
        for element in ElementTree.parse(file).iter():
            if element.tag in ("TextView", "Switch"):
                assert element.get(f"{ANDROID}textAlignment") in (
                    "viewStart",
                    "center",
                ), f"{file.name}: {element.attrib}"


def test_every_constant_that_the_app_reads_is_exported():
    spec = (MAIN / "kotlin/org/mobilekd/demo/model/Spec.kt").read_text()
    read = set(re.findall(r'(?:all|texts?|whole|real|known|side)\("(\w+)"', spec))
    assert read <= {*NAMES, *OPTIONAL}
    assert {"label_texts", "threshold", "quality", "schema_version"} <= read


def test_no_model_fact_is_written_in_the_app():
    assert not re.search(r"(?i)melanoma|nevus|\b224\b|\b128\b", text("*.kt") + text("strings.xml"))


def test_kotlin_files_are_short():
    for file in KOTLIN:
        lines = file.read_text().splitlines()
        assert len(lines) <= 300, file.name
        assert max(map(len, lines)) <= 160, file.name
