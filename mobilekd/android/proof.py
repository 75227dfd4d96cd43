"""Take a built APK apart and prove it: signature, manifest, libraries, model. Reads the file,
trusts nothing.
"""

import hashlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilekd.android.elf import unloadable
from mobilekd.android.several import INDEX, listing
from mobilekd.android.toolchain import Toolchain, run
from mobilekd.formats.artifact import Artifact
from mobilekd.support.errors import UserError

#: What may be started from outside, and under which permission.
EXPORTED = {
    "org.mobilekd.demo.ui.MainActivity": None,
    "org.mobilekd.demo.BenchActivity": "android.permission.DUMP",
}


@dataclass(frozen=True)
class Proof:
    """What was found in an APK."""

    schemes: tuple[str, ...]
    certificate_sha256: str
    min_sdk: int
    target_sdk: int
    permissions: tuple[str, ...]
    exported: dict[str, str | None]
    abis: tuple[str, ...]
    sizes: dict[str, int]
    model_sha256: str


def prove(
    apk: Path, placed: Mapping[str, Artifact], abis: Sequence[str], tools: Toolchain
) -> Proof:
    """Every check of a finished APK that holds the artifacts of ``several.places``; the first that
    fails is a ``UserError`` that names it.
    """
    schemes, certificate = _signature(apk, tools)
    least, target, permissions = _badging(apk, tools)
    exported = _exported(apk, tools)
    with zipfile.ZipFile(apk) as archive:
        libraries = _libraries(apk, archive, abis)
        models = {
            folder: _model(apk, archive, folder, artifact) for folder, artifact in placed.items()
        }
        _listed(apk, archive, placed)
        sizes = _sizes(apk, archive)
    _require(
        apk,
        {"v2", "v3"} <= set(schemes),
        f"signature schemes are {', '.join(schemes) or 'none'}, not v2 and v3",
    )
    _require(apk, least == 26, f"minSdk is {least}, not 26")
    _require(apk, not permissions, f"asks for {', '.join(permissions)}")
    _require(apk, exported == EXPORTED, f"exports {exported}")
    return Proof(
        schemes,
        certificate,
        least,
        target,
        permissions,
        exported,
        libraries,
        sizes,
        models["artifact"],
    )


def _require(apk: Path, fine: bool, what: str) -> None:
    if not fine:
        raise UserError(f"{apk}: {what}; the APK is refused, build it again from a clean checkout")


def _signature(apk: Path, tools: Toolchain) -> tuple[tuple[str, ...], str]:
    text = run(
        [tools.apksigner, "verify", "--verbose", "--print-certs", apk], "apksigner, verifying"
    )
    schemes = re.findall(r"Verified using (v[\d.]+) scheme [^:]*: true", text)
    certificate = re.search(r"certificate SHA-256 digest: ([0-9a-f]{64})", text)
    return tuple(schemes), certificate[1] if certificate else ""


def _badging(apk: Path, tools: Toolchain) -> tuple[int, int, tuple[str, ...]]:
    text = run([tools.aapt, "dump", "badging", apk], "aapt, reading the manifest")
    least = re.search(r"^sdkVersion:'(\d+)'", text, re.M)
    target = re.search(r"^targetSdkVersion:'(\d+)'", text, re.M)
    return (
        int(least[1]) if least else 0,
        int(target[1]) if target else 0,
        tuple(re.findall(r"^uses-permission: name='([^']+)'", text, re.M)),
    )


def _exported(apk: Path, tools: Toolchain) -> dict[str, str | None]:
    """Components that others may start: exported ones with the permission that guards them."""
    text = run(
        [tools.aapt, "dump", "xmltree", apk, "AndroidManifest.xml"], "aapt, reading the manifest"
    )
    components: dict[str, str | None] = {}
    for block in re.split(r"\n\s*E: (?=activity|activity-alias|service|receiver|provider)", text)[
        1:
    ]:
        own = re.split(r"\n\s*E: ", block)[0]
        if re.search(r"android:exported\([^)]*\)=\(type 0x12\)0xffffffff", own):
            name = re.search(r'android:name\([^)]*\)="([^"]+)"', own)
            permission = re.search(r'android:permission\([^)]*\)="([^"]+)"', own)
            components[name[1] if name else "?"] = permission[1] if permission else None
    return components


def _libraries(apk: Path, archive: zipfile.ZipFile, abis: Sequence[str]) -> tuple[str, ...]:
    names = [
        name for name in archive.namelist() if name.startswith("lib/") and name.endswith(".so")
    ]
    held = tuple(sorted({name.split("/")[1] for name in names}))
    _require(
        apk,
        held == tuple(sorted(abis)),
        f"holds libraries for {', '.join(held) or 'nothing'}, not {', '.join(sorted(abis))}",
    )
    for abi in held:
        for needed in ("libexecutorch.so", "libfbjni.so"):
            _require(apk, f"lib/{abi}/{needed}" in names, f"lacks lib/{abi}/{needed}")
    for name in names:
        fault = unloadable(archive.read(name))
        _require(apk, fault is None, f"{name} {fault}")
    return held


def _listed(apk: Path, archive: zipfile.ZipFile, placed: Mapping[str, Artifact]) -> None:
    """No folder of artifacts but these, and the app's list of them where there are several."""
    folders = {
        name.split("/")[1] for name in archive.namelist() if name.startswith("assets/artifact")
    }
    _require(apk, folders == set(placed), f"holds {', '.join(sorted(folders))} among its assets")
    there = f"assets/{INDEX}" in archive.namelist()
    expected = len(placed) > 1
    _require(
        apk,
        there == expected and (not there or archive.read(f"assets/{INDEX}") == listing(placed)),
        f"its {INDEX} is not the list of its files",
    )


def _model(apk: Path, archive: zipfile.ZipFile, folder: str, artifact: Artifact) -> str:
    """The model and everything of the artifact inside, against the manifest that lies on disk."""
    place = f"assets/{folder}/"
    inside = [name for name in archive.namelist() if name.startswith(place)]
    expected = {
        **artifact.manifest.files,
        "manifest.json": (
            hashlib.sha256((artifact.folder / "manifest.json").read_bytes()).hexdigest()
        ),
    }
    for entry in inside:
        name = entry.removeprefix(place)
        digest = hashlib.sha256(archive.read(entry)).hexdigest()
        _require(apk, expected.get(name) == digest, f"{name} inside is not the artifact's")
    model = place + artifact.manifest.model_file
    _require(
        apk,
        model in inside and f"{place}manifest.json" in inside,
        "lacks the model or its manifest",
    )
    _require(
        apk, archive.getinfo(model).compress_type == zipfile.ZIP_STORED, "the model is compressed"
    )
    return expected[artifact.manifest.model_file]


def _sizes(apk: Path, archive: zipfile.ZipFile) -> dict[str, int]:
    """Bytes in the APK by part; what is left is zip's own and the signature."""
    parts = {"runtime": 0, "model": 0, "golden set": 0, "samples": 0, "code": 0, "resources": 0}
    for item in archive.infolist():
        name = item.filename
        if name.startswith("lib/"):
            part = "runtime"
        elif re.match(r"assets/artifact(-\d+)?/golden/", name):
            part = "golden set"
        elif re.match(r"assets/artifact(-\d+)?/", name):
            part = "model"
        elif name.startswith(("assets/samples/", "assets/thumbnails/")):
            part = "samples"
        else:
            part = "code" if name.endswith(".dex") else "resources"
        parts[part] += item.compress_size
    return {
        **parts,
        "signature and zip": apk.stat().st_size - sum(parts.values()),
        "whole": apk.stat().st_size,
    }
