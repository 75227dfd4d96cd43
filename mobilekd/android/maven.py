"""Files from a Maven repository, fetched once with the user's own Maven settings; each is compared
with the SHA-256 that stands in the sources whenever it is used.
"""

import hashlib
import os
import re
from functools import partial
from pathlib import Path

from mobilekd.android.sources import demo_sources
from mobilekd.android.toolchain import Toolchain, run
from mobilekd.support.cache import kept_file, scratch
from mobilekd.support.errors import UserError
from mobilekd.support.files import cache_folder, sha256_file, write_text
from mobilekd.support.progress import say

_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"

#: Beside ``pom.xml``: a line ``SHA-256  file name`` for everything that it brings.
PINS = "maven.sha256"


def pins() -> dict[str, str]:
    """SHA-256 of every file from Maven that was examined, by file name."""
    lines = (demo_sources() / PINS).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines) if name}


def classpath(profile: str, tools: Toolchain) -> list[Path]:
    """The jars of one profile of ``android_demo/pom.xml`` with all that they need; without a
    network once fetched. A jar that is not the one that was examined is fetched again, once.
    """
    pom = demo_sources() / "pom.xml"
    key = hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    remembered = cache_folder() / "maven" / f"{profile}-{key}.txt"
    jars = _remembered(remembered)
    known = pins()
    wrong = [jar for jar in jars if sha256_file(jar) != known.get(jar.name)]
    for jar in wrong:
        say(f"Maven: {jar} is not the file that was examined; fetching it again")
        jar.unlink()
    if jars and not wrong:
        return jars
    jars = _resolved(profile, pom, tools)
    for jar in jars:
        _require_pinned(jar, known.get(jar.name))
    write_text(remembered, "\n".join(map(str, jars)) + "\n")
    return jars


def _remembered(file: Path) -> list[Path]:
    """The jars that a profile had last time, or none where one of them is gone."""
    try:
        jars = [Path(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return []
    return jars if all(jar.is_file() for jar in jars) else []


def _resolved(profile: str, pom: Path, tools: Toolchain) -> list[Path]:
    with scratch() as work:
        output = work / "classpath"
        command: list[str | Path] = [tools.mvn, "-q", "-B", "-C", "-f", pom, f"-P{profile}"]
        run(
            [*command, f"{_PLUGIN}:build-classpath", f"-Dmdep.outputFile={output}"],
            f"Maven, fetching the {profile} libraries",
        )
        text = output.read_text(encoding="utf-8").strip()
    return [Path(part) for part in text.split(os.pathsep)]


def _require_pinned(file: Path, pinned: str | None) -> None:
    digest = sha256_file(file)
    if digest != pinned:
        raise UserError(
            f"{file}: not the file that was examined (sha256 {digest[:16]}...); do not use it, see"
            " which repository Maven's settings name (~/.m2/settings.xml)"
        )


def artifact(coordinates: str, tools: Toolchain) -> Path:
    """One file by ``group:name:version[:packaging]``, without what it needs; a ``UserError`` where
    the repository lacks it.
    """
    group, name, version, *packaging = coordinates.split(":")
    kind = packaging[0] if packaging else "jar"
    if not re.fullmatch(r"[\w.-]+", f"{group}{name}{version}{kind}"):
        raise UserError(f"{coordinates}: not a Maven coordinate; give group:name:version")
    whole = f"{group}:{name}:{version}:{kind}"
    return kept_file(f"maven/files/{name}-{version}.{kind}", partial(_fetch, whole, tools))


def _fetch(coordinates: str, tools: Toolchain, place: Path) -> None:
    """One file to ``place``. One that was never examined is trusted as far as Maven checks it."""
    command = [tools.mvn, "-q", "-B", "-C", f"{_PLUGIN}:copy", f"-Dartifact={coordinates}"]
    try:
        run(
            [*command, f"-DoutputDirectory={place.parent}"],
            f"Maven, fetching {coordinates}",
            cwd=place.parent,
        )
    except UserError as error:
        if "Could not find artifact" in str(error) or "was not found" in str(error):
            raise UserError(
                f"{coordinates}: the Maven repository at hand does not have it"
            ) from None
        raise
    if not place.is_file():
        raise UserError(
            f"{coordinates}: Maven fetched it under another name than {place.name}; look at its"
            " settings (~/.m2/settings.xml)"
        )
    pinned = pins().get(place.name)
    if pinned is None:
        say(f"{coordinates}: not a file that was examined; Maven checked it by its repository")
    else:
        _require_pinned(place, pinned)
