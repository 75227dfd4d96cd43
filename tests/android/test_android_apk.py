"""The APK built from a real artifact, taken apart; a second build; everything that is refused."""

import hashlib
import json
import shutil
import stat
import struct
import time
import zipfile
from pathlib import Path

import pytest
from own_libraries import qualcomm

from mobilekd.android import package, toolchain
from mobilekd.android.elf import PAGE, alignments
from mobilekd.android.proof import EXPORTED, prove
from mobilekd.android.runtime import Runtime, may_meet
from mobilekd.android.several import places
from mobilekd.commands.apk import apk
from mobilekd.formats.artifact import open_artifact
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.files import cache_folder

ABIS = ("arm64-v8a", "x86_64")


@pytest.fixture(scope="module")
def built(tools, community, artifact, tmp_path_factory) -> Path:
    return apk(artifact, aar="community", output=tmp_path_factory.mktemp("apk") / "demo.apk")


@pytest.fixture
def entries(built) -> dict[str, bytes]:
    with zipfile.ZipFile(built) as archive:
        return {item.filename: archive.read(item) for item in archive.infolist()}


def test_it_proves_what_it_promises(built, artifact, tools):
    proof = prove(built, places([open_artifact(artifact)]), ABIS, tools)
    assert {"v2", "v3"} <= set(proof.schemes)
    assert (proof.min_sdk, proof.target_sdk, proof.permissions) == (26, 34, ())
    assert proof.exported == EXPORTED
    assert proof.abis == ABIS
    assert (
        sum(size for part, size in proof.sizes.items() if part != "whole")
        == proof.sizes["whole"]
        == built.stat().st_size
    )


def test_the_report_says_which_runtime_it_holds(built):
    report = json.loads(built.with_name("demo.apk.json").read_text())
    assert report["runtime"]["name"] == "react-native-executorch"
    assert report["sha256"] == hashlib.sha256(built.read_bytes()).hexdigest()
    assert report["exporter"].startswith("1.5")


def test_the_model_and_the_runtime_inside_are_the_ones_asked_for(entries, artifact, community):
    assert entries["assets/artifact/model.pte"] == open_artifact(artifact).model.read_bytes()
    for abi in ABIS:
        assert (
            entries[f"lib/{abi}/libexecutorch.so"]
            == community.libraries[abi]["libexecutorch.so"].read_bytes()
        )
    assert json.loads(entries["assets/runtime.json"])["needs"] == ["atomics"]
    assert [name for name in entries if name.startswith("assets/samples/")]
    held, model = json.loads(entries["assets/sbom.cdx.json"])["components"][-2:]
    assert (held["name"], held["version"]) == (community.name, community.version)
    digest = hashlib.sha256(entries["assets/artifact/model.pte"]).hexdigest()
    assert model["hashes"] == [{"alg": "SHA-256", "content": digest}]


def test_the_app_itself_is_small(entries):
    own = len(entries["classes.dex"]) + sum(
        len(entries[name])
        for name in entries
        if name.startswith("res") and name != "res/raw/notices.txt"  # texts of licences
    )
    assert own < 300_000, f"{own} bytes of code and resources, the runtime's Java classes included"


def test_a_second_build_is_the_same_before_signing_and_takes_seconds(built, artifact, tmp_path):
    start = time.monotonic()
    again = apk(artifact, aar="community", output=tmp_path / "again.apk")
    assert time.monotonic() - start < 120
    first, second = (
        json.loads(file.with_name(f"{file.name}.json").read_text()) for file in (built, again)
    )
    assert first["unsigned_sha256"] == second["unsigned_sha256"]


def test_a_flipped_byte_in_the_cache_is_made_again(built, artifact, tmp_path, capfd):
    """Packed and signed, it would be a broken app on somebody's phone."""
    before = {path: path.read_bytes() for path in cache_folder().glob("android/shell-*/shell.zip")}
    for path, data in before.items():  # one of them is this app's, the others are earlier ones'
        half = len(data) // 2
        path.write_bytes(data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :])
    try:
        again = apk(artifact, aar="community", output=tmp_path / "again.apk")
    finally:
        for path, data in before.items():
            path.write_bytes(data)
    said = capfd.readouterr().err
    (made,) = (path for path in before if f"cache: {path.parent} is not as it was made" in said)
    assert f"{made.parent} is not as it was made (shell.zip differs); making it" in said
    first, second = (
        json.loads(file.with_name(f"{file.name}.json").read_text()) for file in (built, again)
    )
    assert first["unsigned_sha256"] == second["unsigned_sha256"]


def test_what_a_killed_build_left_is_removed(built, artifact, tmp_path):
    """Beside the APK, and in the cache."""
    left = [tmp_path / ".again.apk.partial.abcd1234", cache_folder() / ".work.partial.abcd1234"]
    for place in left:
        place.mkdir()
        (place / "half").write_text("")
    apk(artifact, aar="community", output=tmp_path / "again.apk")
    assert not [place for place in left if place.exists()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.apk", "again.apk.json"]


def test_the_shipped_reference_s_own_app(tools, community, reference, tmp_path):
    """What a user makes first; ``apk`` proves it before it appears, and once more here."""
    made = apk(reference, aar="community", output=tmp_path / "reference.apk")
    opened = open_artifact(reference)
    assert prove(made, places([opened]), ABIS, tools).permissions == ()
    with zipfile.ZipFile(made) as archive:
        inside = {
            name: hashlib.sha256(archive.read(f"assets/artifact/{name}")).hexdigest()
            for name in ("model.pte", "golden/inputs.u8")
        }
    assert inside == {name: opened.manifest.files[name] for name in inside}


@pytest.mark.long
def test_compiling_everything_again_gives_the_same(built, artifact, tmp_path, monkeypatch):
    """Without the cached shell: Kotlin, R8, aapt and zip, all of it once more."""
    cached = cache_folder()
    monkeypatch.setenv("MOBILEKD_CACHE", str(tmp_path / "cache"))
    cache_folder()
    (tmp_path / "cache/maven").symlink_to(cached / "maven")
    again = apk(artifact, aar="community", output=tmp_path / "again.apk")
    first, second = (
        json.loads(file.with_name(f"{file.name}.json").read_text()) for file in (built, again)
    )
    assert first["unsigned_sha256"] == second["unsigned_sha256"]


def test_another_model_name_and_samples(tools, built, other_artifact, shots, tmp_path):
    chosen = tmp_path / "samples"
    chosen.mkdir()
    shutil.copy(shots / "lesion.jpg", chosen)
    made = apk(
        other_artifact,
        aar="community",
        abi=("x86_64",),
        name='@Möle <b> & "co"',
        samples=chosen,
        output=tmp_path / "other.apk",
    )
    said = toolchain.run([tools.aapt, "dump", "badging", made], "aapt")
    assert r"application-label:'@Möle <b> & \"co\"'" in said
    with zipfile.ZipFile(made) as archive:
        assert archive.read("assets/samples/00.jpg") == (shots / "lesion.jpg").read_bytes()
        assert not [name for name in archive.namelist() if name.startswith("lib/arm64")]


def test_several_files_of_one_student_lie_side_by_side(
    tools, artifact, portable_artifact, hexagon_artifact, tmp_path
):
    """The file for one chip comes first here; the app's fallback is where a single file lies. With
    libraries of the user's own, as the file for a chip needs them.
    """
    named = [hexagon_artifact, artifact, portable_artifact]
    abi = ("arm64-v8a",)
    made = apk(
        named,
        aar="community",
        abi=abi,
        libraries=qualcomm(tmp_path / "libraries"),
        output=tmp_path / "several.apk",
    )
    with zipfile.ZipFile(made) as archive:
        entries = {item.filename: archive.read(item) for item in archive.infolist()}
    listed = json.loads(entries["assets/files.json"])
    folders = ["artifact-2", "artifact", "artifact-3"]
    assert [one["folder"] for one in listed] == folders
    assert [(one["backend"], one["precision"], one["soc"]) for one in listed] == [
        ("qnn", "w8a16", "SM8650"),
        ("xnnpack", "fp32", None),
        ("portable", "fp32", None),
    ]
    opened = [open_artifact(one) for one in named]
    for folder, one in zip(folders, opened, strict=True):
        assert entries[f"assets/{folder}/model.pte"] == one.model.read_bytes()
        assert f"assets/{folder}/golden/inputs.u8" in entries
    bill = json.loads(entries["assets/sbom.cdx.json"])["components"][-5:]
    own = ["libQnnHtp.so", "libQnnHtpV75Skel.so"]
    assert [one["bom-ref"] for one in bill] == [*own, "model", "model-2", "model-3"]
    assert list(json.loads(entries["assets/runtime.json"])["libraries"]) == own
    for name in own:
        assert entries[f"lib/arm64-v8a/{name}"] == (tmp_path / "libraries" / name).read_bytes()
    report = json.loads(made.with_name("several.apk.json").read_text())
    assert report["files"]["artifact-2"]["artifact"] == "small-0-qnn-w8a16-SM8650"
    assert report["model_sha256"] == report["files"]["artifact"]["model_sha256"]
    assert report["sizes"]["model"] > 3 * 4096
    with pytest.raises(UserError, match="among its assets"):
        prove(made, places(opened[1:2]), abi, tools)
    with pytest.raises(UserError, match=r"files\.json is not the list"):
        prove(made, dict(list(places(opened).items())[::-1]), abi, tools)


def test_a_tampered_apk_is_refused(built, artifact, tools, tmp_path):
    opened = places([open_artifact(artifact)])
    changed = tmp_path / "changed.apk"
    with zipfile.ZipFile(built) as source, zipfile.ZipFile(changed, "w") as target:
        for item in source.infolist():
            content = source.read(item)
            if item.filename.endswith("model.pte"):
                content = content[:-1] + bytes([content[-1] ^ 1])
            target.writestr(item, content)
    with pytest.raises(UserError, match="apksigner"):
        prove(changed, opened, ABIS, tools)
    package.sign(changed, None, tools)
    with pytest.raises(UserError, match=r"model\.pte inside is not the artifact's"):
        prove(changed, opened, ABIS, tools)
    with pytest.raises(UserError, match="holds libraries for arm64-v8a, x86_64, not x86_64"):
        prove(built, opened, ("x86_64",), tools)


def test_alignments_read_every_load_segment():
    header = (
        b"\x7fELF\x02\x01"
        + bytes(26)
        + struct.pack("<Q", 64)
        + bytes(14)
        + struct.pack("<HH", 56, 2)
        + bytes(6)
    )
    segments = b"".join(
        struct.pack("<IIQQQQQQ", kind, 5, 0, 0, 0, 0, 0, align)
        for kind, align in ((1, 4096), (2, 8))
    )
    assert list(alignments(header + segments)) == [4096]
    assert list(alignments(b"no ELF at all")) == []
    assert PAGE == 16384


def test_the_debug_key_is_its_owner_s_alone_and_made_once(tools, tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILEKD_CACHE", str(tmp_path))
    key = package.debug_key(tools)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert package.debug_key(tools).read_bytes() == key.read_bytes()


def test_an_unfit_keystore_leaves_nothing(built, artifact, tmp_path):
    wrong = tmp_path / "wrong.jks"
    wrong.write_bytes(b"no key")
    with pytest.raises(UserError, match=r"--keystore .*wrong\.jks"):
        apk(artifact, aar="community", keystore=wrong, output=tmp_path / "x.apk")
    with pytest.raises(UserError, match="no such file"):
        apk(artifact, aar="community", keystore=tmp_path / "none.jks", output=tmp_path / "x.apk")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wrong.jks"]


def test_wrong_arguments_are_one_line(tools, community, artifact, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for options, message in (
        ({"abi": ("riscv64",)}, "--abi riscv64"),
        ({"aar": tmp_path / "none.aar"}, "no such file, nor a known community build"),
        ({"samples": empty}, "holds no JPEG"),
        ({"samples": tmp_path / "none"}, "no such folder"),
        ({"name": " "}, "--name"),
        ({"name": "two\nlines"}, "--name"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            apk(artifact, **{"aar": "community", "output": tmp_path / "x.apk", **options})
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.apk").exists()


def test_the_official_runtime_is_the_default_and_is_never_replaced_silently(
    tools, artifact, tmp_path
):
    output = tmp_path / "official.apk"
    refusal = attempt(artifact, output)
    if refusal is None:
        assert (
            json.loads(output.with_name("official.apk.json").read_text())["runtime"]["name"]
            == "org.pytorch:executorch-android"
        )
    else:  # this machine's Maven repository lacks it
        assert "org.pytorch:executorch-android:1.5" in refusal
        assert "--aar community" in refusal
        assert not output.exists()


def attempt(artifact: Path, output: Path) -> str | None:
    """Build with the official runtime; what is said where that cannot be."""
    try:
        apk(artifact, output=output)
    except UserError as error:
        return str(error)
    return None


def test_runtimes_and_exporters_that_may_not_meet():
    def of(name: str, executorch: str | None) -> Runtime:
        return Runtime(name, "0", executorch, (), {}, (), "")

    assert may_meet(of("org.pytorch:executorch-android", "1.5.1"), "1.5.1") is None
    assert may_meet(of("org.pytorch:executorch-android", "1.6.0"), "1.5.1") is None
    assert "older" in str(may_meet(of("org.pytorch:executorch-android", "1.4.0"), "1.5.1"))
    assert may_meet(of("react-native-executorch", "1.2"), "1.5.1") is None
    assert "tried with" in str(may_meet(of("react-native-executorch", "1.2"), "1.6.0"))


def test_missing_programs_are_named_with_their_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ("JAVA_HOME", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    assert set(toolchain.missing()) == set(toolchain.PACKAGES)
    with pytest.raises(CannotRunHere) as caught:
        toolchain.toolchain()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("java, javac, keytool, mvn, ")
    assert str(caught.value).endswith(
        "; on Debian: apt install aapt apksigner maven openjdk-17-jdk-headless zipalign"
    )


def test_an_installed_sdk_s_newest_build_tools_are_used(monkeypatch, tmp_path):
    for version in ("9.0.0", "34.0.0", "33.0.2"):
        tool = tmp_path / "build-tools" / version / "aapt"
        tool.parent.mkdir(parents=True)
        tool.write_text("#!/bin/sh\n")
        tool.chmod(0o755)
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path))
    assert toolchain.find("aapt") == str(tmp_path / "build-tools/34.0.0/aapt")
