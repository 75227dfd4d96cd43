"""Shell (code, resources, runtime; cached) plus artifacts -> one aligned, unsigned APK, the same
bytes every time; then signed.
"""

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from PIL import Image, ImageOps

from mobilekd.android.bill import BILL, bill
from mobilekd.android.compile import KEEP, dex, resources
from mobilekd.android.runtime import Runtime
from mobilekd.android.several import INDEX, listing
from mobilekd.android.sources import source_hash
from mobilekd.android.toolchain import Toolchain, run
from mobilekd.formats.artifact import Artifact
from mobilekd.formats.preprocess import open_photograph
from mobilekd.support.cache import adopt, kept_file, kept_folder
from mobilekd.support.errors import UserError
from mobilekd.support.process import run_bounded

#: Zip's earliest date; a build must not carry its own.
_DATE = (1980, 1, 1, 0, 0, 0)

#: Read through a mapping of the APK, hence stored as they are.
_STORED = (".pte", ".arsc", ".jpg", ".jpeg", ".png", ".webp")

#: Built-in samples: larger files would weigh more than the model.
_SAMPLE_BYTES = 2_000_000
_SAMPLE_COUNT = 12
_THUMBNAIL = 192

_PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_PASSWORD = "MOBILEKD_KEYSTORE_PASSWORD"
SIGNING = 300.0  # seconds


def shell(
    runtime: Runtime, abis: Sequence[str], name: str | None, version: str, tools: Toolchain
) -> Path:
    """The APK without a model, cached: dex, resources and the runtime's libraries."""
    for abi in abis:
        if abi not in runtime.libraries:
            raise UserError(
                f"--abi {abi}: {runtime.name} {runtime.version} has"
                f" {', '.join(sorted(runtime.libraries))} only"
            )
    key = hashlib.sha256(
        json.dumps([source_hash(KEEP), runtime.sha256, sorted(abis), name, version]).encode()
    ).hexdigest()[:16]
    folder = kept_folder(
        f"android/shell-{key}", partial(_fill_shell, runtime, abis, name, version, tools)
    )
    return folder / "shell.zip"


def _fill_shell(
    runtime: Runtime,
    abis: Sequence[str],
    name: str | None,
    version: str,
    tools: Toolchain,
    work: Path,
) -> None:
    resources(work, name, version, tools)
    entries = {"classes.dex": dex(runtime, version, tools).read_bytes()}
    with zipfile.ZipFile(work / "resources.apk") as packed:
        entries |= {item.filename: packed.read(item) for item in packed.infolist()}
    for abi in sorted(abis):
        entries |= {
            f"lib/{abi}/{file}": path.read_bytes() for file, path in runtime.libraries[abi].items()
        }
    with zipfile.ZipFile(work / "shell.zip", "w") as archive:
        _add(archive, entries)
    for part in ("res", "java"):
        shutil.rmtree(work / part)


def unsigned(
    base: Path,
    placed: Mapping[str, Artifact],
    runtime: Runtime,
    samples: Path | None,
    output: Path,
    tools: Toolchain,
) -> None:
    """Put the artifacts (``several.places``), the runtime's facts and the samples into the shell
    and align the whole. Without a folder of samples the first artifact's golden set gives them.
    """
    entries = {
        f"assets/{folder}/{name}": (artifact.folder / name).read_bytes()
        for folder, artifact in placed.items()
        for name in _carried(artifact)
    }
    if len(placed) > 1:
        entries[f"assets/{INDEX}"] = listing(placed)
    entries["assets/runtime.json"] = (
        json.dumps(runtime.facts(), indent=1, sort_keys=True) + "\n"
    ).encode()
    entries[f"assets/{BILL}"] = bill(
        runtime, [artifact.manifest for artifact in placed.values()]
    ).encode()
    first = next(iter(placed.values()))
    for number, file in enumerate(_samples(first, samples)):
        place = f"{number:02d}{file.suffix.lower()}"
        entries[f"assets/samples/{place}"] = file.read_bytes()
        entries[f"assets/thumbnails/{place}"] = _thumbnail(file)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as name:
        work = Path(name) / "whole.apk"
        shutil.copyfile(base, work)
        with zipfile.ZipFile(work, "a") as archive:
            _add(archive, entries)
        run([tools.zipalign, "-f", "4", work, output], "zipalign")


def sign(apk: Path, keystore: Path | None, tools: Toolchain) -> None:
    """Sign in place, with schemes v2 and v3; without ``keystore`` with the debug key."""
    key = keystore or debug_key(tools)
    if not key.is_file():
        raise UserError(f"--keystore {key}: no such file; check the path")
    password = os.environ.get(_PASSWORD, "android") if keystore else "android"
    command = [
        tools.apksigner,
        "sign",
        "--ks",
        str(key),
        "--ks-pass",
        f"env:{_PASSWORD}",
        "--min-sdk-version",
        "26",
    ]
    command += [
        "--v1-signing-enabled",
        "false",
        "--v2-signing-enabled",
        "true",
        "--v3-signing-enabled",
        "true",
        str(apk),
    ]
    done = run_bounded(
        command, timeout=SIGNING, who="apksigner", env={**os.environ, _PASSWORD: password}
    )
    if done.code != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.code}"]
        raise UserError(
            f"--keystore {key}: apksigner cannot sign with it ({said[0][:200]}); set {_PASSWORD} to"
            " its password"
        )


def debug_key(tools: Toolchain) -> Path:
    """The key for everything that is only tried out, made once; only its owner may read it."""
    name = "android/debug.p12"
    adopt(name)  # phones keep an app's key in mind: an earlier version's is not made again
    return kept_file(
        name,
        partial(_make_debug_key, tools),
        once=(
            "put the old one back, or delete it for a new key: phones then take an app only after"
            " the one signed with the old key is removed"
        ),
    )


def _make_debug_key(tools: Toolchain, place: Path) -> None:
    command: list[str | Path] = [tools.keytool, "-genkeypair", "-keystore", place]
    command += ["-storetype", "PKCS12", "-storepass", "android", "-alias", "debug"]
    command += ["-keyalg", "RSA", "-keysize", "3072", "-validity", "10950"]
    run([*command, "-dname", "CN=mobilekd debug"], "keytool, making the debug key")
    place.chmod(0o600)


def _carried(artifact: Artifact) -> list[str]:
    """The artifact's files that the app uses: the model, the manifest, and the golden set without
    its photographs.
    """
    golden = [
        name
        for name in artifact.manifest.files
        if name.startswith("golden/") and not name.lower().endswith(_PICTURES)
    ]
    return ["manifest.json", artifact.manifest.model_file, *golden]


def _samples(artifact: Artifact, samples: Path | None) -> list[Path]:
    folder = samples or artifact.folder / "golden"
    if not folder.is_dir():
        raise UserError(f"--samples {folder}: no such folder; check the path")
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in _PICTURES and file.stat().st_size <= _SAMPLE_BYTES
    ]
    if samples and not files:
        raise UserError(
            f"--samples {samples}: holds no JPEG, PNG or WebP below {_SAMPLE_BYTES // 1_000_000} MB"
        )
    return files[:_SAMPLE_COUNT]


def _thumbnail(file: Path) -> bytes:
    picture = ImageOps.fit(
        open_photograph(file), (_THUMBNAIL, _THUMBNAIL), Image.Resampling.BILINEAR
    )
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    return out.getvalue()


def _add(archive: zipfile.ZipFile, entries: dict[str, bytes]) -> None:
    for name in sorted(entries):
        item = zipfile.ZipInfo(name, _DATE)
        item.external_attr = 0o644 << 16
        stored = name.endswith(_STORED)
        archive.writestr(
            item,
            entries[name],
            zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED,
            None if stored else 9,
        )
