"""Files from a Maven repository, fetched once into the user's cache with the user's own Maven
settings.
"""

import hashlib
import os
import re
from pathlib import Path

from mobilekd.android.sources import demo_sources
from mobilekd.android.toolchain import Toolchain, run
from mobilekd.support.errors import UserError
from mobilekd.support.files import cache_folder, write_text

_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"


def classpath(profile: str, tools: Toolchain) -> list[Path]:
    """The jars of one profile of ``android_demo/pom.xml`` with all that they need; without a
    network once fetched.
    """
    pom = demo_sources() / "pom.xml"
    key = hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    remembered = cache_folder() / "maven" / f"{profile}-{key}.txt"
    if remembered.is_file():
        jars = [Path(line) for line in remembered.read_text(encoding="utf-8").splitlines()]
        if all(jar.is_file() for jar in jars):
            return jars
    output = cache_folder() / "maven" / f"{profile}-{key}.classpath"
    output.parent.mkdir(exist_ok=True)
    run(
        [
            tools.mvn,
            "-q",
            "-B",
            "-f",
            pom,
            f"-P{profile}",
            f"{_PLUGIN}:build-classpath",
            f"-Dmdep.outputFile={output}",
        ],
        f"Maven, fetching the {profile} libraries",
    )
    jars = [Path(part) for part in output.read_text(encoding="utf-8").strip().split(os.pathsep)]
    output.unlink()
    write_text(remembered, "\n".join(map(str, jars)) + "\n")
    return jars


def artifact(coordinates: str, tools: Toolchain) -> Path:
    """One file by ``group:name:version[:packaging]``, without what it needs; a ``UserError`` where
    the repository lacks it.
    """
    group, name, version, *packaging = coordinates.split(":")
    kind = packaging[0] if packaging else "jar"
    folder = cache_folder() / "maven" / "files"
    kept = folder / f"{name}-{version}.{kind}"
    if kept.is_file():
        return kept
    if not re.fullmatch(r"[\w.-]+", f"{group}{name}{version}{kind}"):
        raise UserError(f"{coordinates}: not a Maven coordinate; give group:name:version")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run(
            [
                tools.mvn,
                "-q",
                "-B",
                f"{_PLUGIN}:copy",
                f"-Dartifact={group}:{name}:{version}:{kind}",
                f"-DoutputDirectory={folder}",
            ],
            f"Maven, fetching {coordinates}",
            cwd=folder,
        )
    except UserError as error:
        if "Could not find artifact" in str(error) or "was not found" in str(error):
            raise UserError(
                f"{coordinates}: the Maven repository at hand does not have it"
            ) from None
        raise
    if not kept.is_file():
        raise UserError(
            f"{coordinates}: Maven fetched it under another name; remove {folder} and try again"
        )
    return kept
