"""Writes what the wheel and the APK hold of others, with licences and their texts::

    make docs-notices

From ``docs/notices.toml`` and ``docs/licences/``: ``THIRD_PARTY_NOTICES.txt`` (it travels in the
wheel), the app's ``res/raw/notices.txt``, and two bills of materials in CycloneDX 1.5,
``mobilekd/sbom.cdx.json`` for the wheel and ``android_demo/sbom.cdx.json`` for the app, to which
``mobilekd apk`` adds the runtime and the model that it packs.
"""

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
COMPONENTS = CHECKOUT / "docs/notices.toml"
TEXTS = CHECKOUT / "docs/licences"
#: Between two parts of the notices; the app makes a card of each.
RULE = "\n\n" + "=" * 40 + "\n\n"
HEAD = {
    "wheel": "What this package holds of others",
    "apk": "What this app holds of others",
}


def components(place: str) -> list[dict[str, Any]]:
    """The components within the ``wheel`` or the ``apk``."""
    table = tomllib.loads(COMPONENTS.read_text(encoding="utf-8"))["component"]
    return [one for one in table if place in one["within"]]


def licences(expression: str) -> list[str]:
    """The names of texts that an SPDX expression stands for."""
    return [
        one
        for one in re.split(r"\s+(?:AND|OR|WITH)\s+", expression)
        if not one.startswith("LicenseRef-")
    ]


def text(name: str) -> str:
    """The text of one licence or exception."""
    path = TEXTS / f"{name}.txt"
    if not path.is_file():
        raise SystemExit(f"{path}: no such licence text; {COMPONENTS.name} names it")
    return path.read_text(encoding="utf-8").strip()


def notices(*places: str) -> str:
    """Components of the places with their copyright, then each licence's text once."""
    parts, named = [], []
    for place in places:
        lines = [HEAD[place], ""]
        for one in components(place):
            title = f"{one['name']} {one.get('version', '')}".strip()
            lines += [f"{title}: {one['licence']}", one["copyright"].strip(), ""]
            named += [name for name in licences(one["licence"]) if name not in named]
        parts.append("\n".join(lines).strip())
    parts += [f"{name}\n\n{text(name)}" for name in sorted(named)]
    return RULE.join(parts) + "\n"


def bill(place: str) -> str:
    """The bill of materials of the wheel or the app as CycloneDX; the same bytes each time."""
    from mobilekd.support.version import VERSION

    name = "mobilekd" if place == "wheel" else "mobilekd-demo"
    whole = {
        "type": "library" if place == "wheel" else "application",
        "bom-ref": name,
        "name": name,
        "version": VERSION,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    inside = [_component(one) for one in components(place)]
    needed = _requirements() if place == "wheel" else []
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": whole},
        "components": [*inside, *needed],
        "dependencies": [{"ref": name, "dependsOn": [one["bom-ref"] for one in needed]}],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _component(one: dict[str, Any]) -> dict[str, Any]:
    known = one["licence"]
    made: dict[str, Any] = {"type": one["kind"], "bom-ref": one["name"], "name": one["name"]}
    made |= {key: one[key] for key in ("version", "purl") if key in one}
    path = CHECKOUT / one.get("file", "")
    if path.is_file():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        made["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if known.startswith("LicenseRef-"):
        made["licenses"] = [{"license": {"name": known.removeprefix("LicenseRef-")}}]
    elif " " in known:
        made["licenses"] = [{"expression": known}]
    else:
        made["licenses"] = [{"license": {"id": known}}]
    return made | {"copyright": one["copyright"].strip()}


def _requirements() -> list[dict[str, Any]]:
    """What the wheel needs beside it, in the versions of ``requirements.lock``."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8")
    pinned = {
        _normal(name): version
        for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, flags=re.M)
    }
    named = [_normal(re.split(r"[\s<>=!~;\[]", one)[0]) for one in project["dependencies"]]
    return [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{pinned[name]}",
            "name": name,
            "version": pinned[name],
            "purl": f"pkg:pypi/{name}@{pinned[name]}",
            "description": "installed beside the wheel, not inside it",
        }
        for name in sorted(named)
    ]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def files() -> dict[Path, str]:
    """Every file that this command writes, with its text."""
    return {
        CHECKOUT / "THIRD_PARTY_NOTICES.txt": notices("wheel", "apk"),
        CHECKOUT / "android_demo/app/src/main/res/raw/notices.txt": notices("apk"),
        CHECKOUT / "mobilekd/sbom.cdx.json": bill("wheel"),
        CHECKOUT / "android_demo/sbom.cdx.json": bill("apk"),
    }


def main() -> None:
    """Write the four files."""
    for path, content in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
        print(path.relative_to(CHECKOUT))


if __name__ == "__main__":
    main()
