"""What is inside of others is named with licence and text; the bills of materials are valid."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures.manifest import manifest_of
from fixtures.scripts import script
from jsonschema import Draft7Validator

from mobilekd.android.bill import bill
from mobilekd.android.maven import pins
from mobilekd.android.runtime import Runtime
from mobilekd.formats.runs import open_run, references

#: Schemas of CycloneDX 1.5 as its maintainers publish them (Apache-2.0).
SCHEMAS = Path(__file__).with_name("cyclonedx")


@pytest.fixture(scope="module")
def written(checkout):
    return script(checkout / "docs/notices.py")


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    """The schema with the list of licences in place; nothing here is signed."""
    text = (SCHEMAS / "bom-1.5.schema.json").read_text(encoding="utf-8")
    schema = json.loads(text.replace("spdx.SNAPSHOT.schema.json", "#/definitions/spdx"))
    listed = json.loads((SCHEMAS / "spdx.schema.json").read_text(encoding="utf-8"))
    schema["definitions"] |= {"spdx": {"enum": listed["enum"]}, "signature": {}}
    text = json.dumps(schema).replace("jsf-0.82.SNAPSHOT.schema.json#", "#")
    Draft7Validator.check_schema(json.loads(text))
    return Draft7Validator(json.loads(text))


def files_inside(checkout: Path) -> Iterator[str]:
    """Files of the wheel that are weights or fonts."""
    for path in (checkout / "mobilekd").rglob("*"):
        if path.suffix in (".safetensors", ".pth", ".pt", ".ttf", ".otf", ".woff", ".woff2"):
            yield path.relative_to(checkout).as_posix()


def test_every_file_is_what_the_command_writes(written):
    files = written.files()
    assert len(files) > 2
    for path, text in files.items():
        assert path.is_file(), f"{path} is missing: run make docs-notices"
        assert path.read_text(encoding="utf-8") == text, f"{path} differs: run make docs-notices"


def test_every_licence_has_its_text(written):
    whole = written.notices("wheel", "apk")
    for place in ("wheel", "apk"):
        components = written.components(place)
        assert len(components) > 2
        for one in components:
            assert one["copyright"].strip() in whole
            for name in written.licences(one["licence"]):
                assert written.text(name) in whole
    used = {
        name
        for place in ("wheel", "apk")
        for one in written.components(place)
        for name in written.licences(one["licence"])
    }
    assert used == {path.stem for path in written.TEXTS.glob("*.txt")}


def test_a_licence_without_a_text_is_told(written):
    with pytest.raises(SystemExit, match="no such licence text"):
        written.text("Planted-1.0")


def test_weights_and_fonts_of_the_wheel_are_named(written, checkout):
    named = {one.get("file") for one in written.components("wheel")} - {None}
    assert named
    inside = {
        name
        for name in files_inside(checkout)
        if not Path(name).name.startswith("quantization-")  # tables of the same students
    }
    assert inside == named
    resources = {path.parent.name for path in (checkout / "android_demo/app/src").rglob("res/*/*")}
    assert not resources & {"font"}


def test_libraries_of_the_app_are_named(written, checkout):
    """Those that the build links, in the versions that it takes, and all that they bring."""
    inside = written.components("apk")
    pom = (checkout / "android_demo/pom.xml").read_text(encoding="utf-8")
    profile = re.search(r"<id>app</id>.*?</profile>", pom, flags=re.S)
    assert profile
    linked = re.findall(
        r"<groupId>(.+?)</groupId>\s*<artifactId>(.+?)</artifactId>\s*<version>(.+?)</version>",
        profile[0],
    )
    assert linked
    purls = {one.get("purl") for one in inside}
    assert any(purl.startswith("pkg:maven/") for purl in purls if purl)
    for group, name, version in linked:
        assert f"pkg:maven/{group}/{name}@{version}" in purls
    for one in inside:
        if one.get("purl", "").startswith("pkg:maven/"):
            names = [f"{one['name']}-{one['version']}.{kind}" for kind in ("jar", "aar")]
            assert set(names) & set(pins()), f"{one['name']}: the build takes another version"


@pytest.mark.parametrize("place", ["wheel", "apk"])
def test_bills_of_materials_are_valid(place, written, validator):
    document = json.loads(written.bill(place))
    assert not list(validator.iter_errors(document))
    broken = document | {"components": [{"name": "no type"}]}
    assert list(validator.iter_errors(broken))


def test_the_wheels_bill_has_the_weights_as_they_are(written, checkout):
    bills = json.loads(written.bill("wheel"))["components"]
    for name in references():
        [one] = [one for one in bills if one["name"] == name]
        path = checkout / f"mobilekd/reference/{name}/student.safetensors"
        assert one["hashes"][0]["content"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_bill_of_an_apk_has_its_runtime_and_model(validator):
    digest = "0123456789abcdef" * 4
    runtime = Runtime("local", "1.5.1", "1.5.1", (), {}, (), digest)
    run = open_run(f"reference:{references()[0]}")
    document = json.loads(bill(runtime, [manifest_of(run, files={"model.pte": digest})]))
    assert not list(validator.iter_errors(document))
    held, model = document["components"][-2:]
    assert (held["name"], held["version"]) == ("local", "1.5.1")
    assert model["name"] == f"{run.info.name} (int8)"
    assert model["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert model["licenses"][0]["license"]["name"].startswith("CC BY-NC")
