"""Sources -> classes (Maven's Kotlin compiler) -> one shrunk dex file (R8), cached by everything
that goes in.
"""

import hashlib
import html
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mobilekd.android.maven import classpath
from mobilekd.android.runtime import MIN_SDK, Runtime
from mobilekd.android.sources import demo_sources, source_hash
from mobilekd.android.toolchain import Toolchain, run
from mobilekd.support.cache import kept_file, kept_folder
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_file, write_text

TARGET_SDK = 34
PACKAGE = "org.mobilekd.demo"

#: What R8 must leave alone.
KEEP = "app/keep.pro"

#: Small heap, one compiler thread: the build shares its machine with others.
_JVM = ("-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def platform(tools: Toolchain) -> Path:
    """Android's classes and resources at API 34 (Robolectric's android-all stands in for the SDK's
    android.jar).
    """
    return classpath("platform", tools)[0]


def manifest(version: str) -> str:
    """The app's manifest with what Gradle would add: package and version."""
    text = (demo_sources() / "app/src/main/AndroidManifest.xml").read_text(encoding="utf-8")
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    code = major * 10000 + minor * 100 + patch
    return text.replace(
        "<manifest ",
        f'<manifest package="{PACKAGE}" android:versionCode="{code}"'
        f' android:versionName="{version}" ',
        1,
    )


def resources(output: Path, name: str | None, version: str, tools: Toolchain) -> None:
    """Package manifest and resources into ``output/resources.apk``, ``output/java`` (R) and
    ``output/resources.pro``.
    """
    source = demo_sources() / "app/src/main/res"
    res = output / "res"
    shutil.copytree(source, res)
    if name is not None:
        strings = res / "values/strings.xml"
        label = '<string name="app_name">mobilekd</string>'
        own = f'<string name="app_name" translatable="false">{resource_text(name)}</string>'
        write_text(strings, strings.read_text(encoding="utf-8").replace(label, own, 1))
    write_text(output / "AndroidManifest.xml", manifest(version))
    (output / "java").mkdir()
    command: list[str | Path] = [
        tools.aapt,
        "package",
        "-f",
        "-m",
        "-M",
        output / "AndroidManifest.xml",
        "-S",
        res,
    ]
    command += [
        "-I",
        platform(tools),
        "--min-sdk-version",
        str(MIN_SDK),
        "--target-sdk-version",
        str(TARGET_SDK),
    ]
    command += [
        "-J",
        output / "java",
        "-G",
        output / "resources.pro",
        "-F",
        output / "resources.apk",
    ]
    run(command, "aapt, packaging resources")


def resource_text(text: str) -> str:
    """``text`` as a string resource: what XML, and after it Android, would take for something else
    is escaped.
    """
    if not text.strip() or not text.isprintable():
        raise UserError(f"--name {text!r}: not a name; give one line of text")
    for special in ("\\", "'", '"'):
        text = text.replace(special, f"\\{special}")
    if text[0] in "@?":
        text = f"\\{text}"
    return html.escape(text, quote=False)


def kotlin(sources: Sequence[Path], jars: Sequence[Path], output: Path, tools: Toolchain) -> None:
    """Compile Kotlin against ``jars`` into ``output``."""
    compiler = os.pathsep.join(map(str, classpath("build", tools)))
    options = ["-no-stdlib", "-no-reflect", "-jvm-target", "17", "-Werror", "-module-name", "demo"]
    classes = os.pathsep.join(map(str, jars))
    main = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
    run(
        [
            tools.java,
            *_JVM,
            "-cp",
            compiler,
            main,
            *options,
            "-cp",
            classes,
            "-d",
            output,
            *sources,
        ],
        "the Kotlin compiler",
    )


def app_classes(runtime: Runtime, version: str, tools: Toolchain) -> Path:
    """A cached folder with the app's compiled ``classes`` and the keep rules of its resources."""
    jars_hash = hashlib.sha256(
        "".join(sha256_file(jar) for jar in runtime.jars).encode()
    ).hexdigest()
    key = hashlib.sha256(f"{source_hash()}\n{jars_hash}\n{version}".encode()).hexdigest()[:16]
    return kept_folder(f"android/classes-{key}", partial(_compile_app, runtime, version, tools))


def _compile_app(runtime: Runtime, version: str, tools: Toolchain, work: Path) -> None:
    resources(work, None, version, tools)
    classes = work / "classes"
    classes.mkdir()
    command: list[str | Path] = [tools.javac, "-nowarn", "-encoding", "UTF-8", "-d", classes]
    run([*command, *(work / "java").rglob("*.java")], "javac, compiling R")
    jars = [platform(tools), *classpath("app", tools), *runtime.jars, classes]
    kotlin([demo_sources() / "app/src/main/kotlin"], jars, classes, tools)
    shutil.rmtree(work / "res")


def dex(runtime: Runtime, version: str, tools: Toolchain) -> Path:
    """The app with its libraries as one shrunk dex file, cached."""
    built = app_classes(runtime, version, tools)
    rules = sha256_file(demo_sources() / KEEP)[:16]
    return kept_file(
        f"android/{built.name}-{rules}.dex", partial(_shrink, built, runtime.jars, tools)
    )


def _shrink(built: Path, jars: Sequence[Path], tools: Toolchain, place: Path) -> None:
    """R8 over the app's classes and libraries, to ``place``."""
    r8 = os.pathsep.join(map(str, classpath("build", tools)))
    rules = demo_sources() / KEEP
    work = place.parent / "r8"
    work.mkdir()
    own = work / "app.jar"
    shutil.make_archive(str(own.with_suffix("")), "zip", built / "classes")
    own.with_suffix(".zip").rename(own)
    command: list[str | Path] = [tools.java, *_JVM, "-cp", r8, "com.android.tools.r8.R8"]
    command += ["--release", "--min-api", str(MIN_SDK)]
    command += ["--lib", platform(tools), "--output", work, "--thread-count", "1"]
    command += ["--pg-conf", rules, "--pg-conf", built / "resources.pro"]
    run([*command, own, *classpath("app", tools), *jars], "R8, shrinking")
    (work / "classes.dex").replace(place)
