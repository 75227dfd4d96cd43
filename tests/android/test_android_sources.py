"""Properties of the app's sources that need no toolchain."""

import re
from xml.etree import ElementTree

import pytest

from mobilekd.android.sources import demo_sources
from mobilekd.constants import NAMES

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
            assert component.get(f"{ANDROID}exported") in ("true", "false"), component.get(f"{ANDROID}name")


def test_one_class_touches_executorch_and_one_the_decoder():
    assert [file.name for file in KOTLIN if "org.pytorch" in file.read_text()] == ["ExecuTorchEngine.kt"]
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
    strings = {item.get("name") for item in ElementTree.parse(MAIN / "res/values/strings.xml").getroot()}
    used = set(re.findall(r"R\.(?:string|plurals)\.(\w+)", text("*.kt"))) | set(re.findall(r"@string/(\w+)", text("*.xml")))
    assert strings == used


def test_night_has_every_colour():
    def colours(folder: str) -> set[str]:
        return {item.get("name") for item in ElementTree.parse(MAIN / f"res/{folder}/colors.xml").getroot()}

    assert colours("values") - colours("values-night") == {"launcher"}


def test_every_constant_that_the_app_reads_is_exported():
    spec = (MAIN / "kotlin/org/mobilekd/demo/model/Spec.kt").read_text()
    read = set(re.findall(r'(?:all|texts?|whole|real|known|side)\("(\w+)"', spec))
    assert read <= set(NAMES)
    assert {"label_texts", "threshold", "quality", "schema_version"} <= read


def test_no_model_fact_is_written_in_the_app():
    assert not re.search(r"(?i)melanoma|nevus|\b224\b|\b128\b", text("*.kt") + text("strings.xml"))


def test_kotlin_files_are_short():
    for file in KOTLIN:
        lines = file.read_text().splitlines()
        assert len(lines) <= 300, file.name
        assert max(map(len, lines)) <= 160, file.name
