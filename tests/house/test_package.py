"""What is tested is what a user installs: outside the checkout, complete, with pins that fit the
ranges.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.metadata import distribution, version
from pathlib import Path

import pytest

import mobilekd

INSTALLED = Path(mobilekd.__file__).parent


def tracked(checkout: Path, *folders: str) -> list[Path]:
    """Files of the commit or about to be, without what git ignores."""
    command = [
        "git",
        "-C",
        str(checkout),
        "ls-files",
        "-co",
        "--exclude-standard",
        "-z",
        "--",
        *folders,
    ]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [Path(name) for name in names if name and (checkout / name).is_file()]


def locked(checkout: Path) -> dict[str, str]:
    lines = (checkout / "requirements.lock").read_text().splitlines()
    return dict(
        re.match(r"([^=]+)==([^ ;]+)", line).groups()
        for line in lines
        if line and not line.startswith("#")
    )


def test_the_installed_package_is_what_is_tested(checkout):
    assert not INSTALLED.is_relative_to(checkout / "mobilekd"), (
        "run the tests with make, which installs the package first"
    )
    assert not Path.cwd().is_relative_to(checkout)


@pytest.mark.parametrize(
    ("folder", "place"),
    [("mobilekd", "."), ("android_demo", "android_demo"), ("ios_export", "ios_export")],
)
def test_every_file_travels_in_the_package(folder, place, checkout):
    files = tracked(checkout, folder)
    assert files, f"{folder} is empty"
    for file in files:
        installed = INSTALLED / place / file.relative_to(folder)
        assert installed.is_file(), f"{file} is not in the wheel"
        assert installed.read_bytes() == (checkout / file).read_bytes(), (
            f"{file} differs: install again"
        )


def test_nothing_else_travels(checkout):
    files = distribution("mobilekd").files or []
    tops = {file.parts[0] for file in files if not file.parts[0].startswith("..")}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mobilekd"}
    assert not [
        file
        for file in files
        if "tests" in file.parts[:2] or file.suffix in (".pte", ".apk", ".pth")
    ]


def test_the_console_script_is_the_command_line():
    [script] = [
        entry for entry in distribution("mobilekd").entry_points if entry.group == "console_scripts"
    ]
    assert (script.name, script.value) == ("mobilekd", "mobilekd.cli:main")
    done = subprocess.run(
        [Path(sys.executable).with_name("mobilekd"), "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["mobilekd", version("mobilekd")]
    assert version("mobilekd") == mobilekd.__version__


def test_the_lock_pins_every_requirement_within_its_range(checkout):
    from packaging.requirements import Requirement

    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    pins = {name.lower().replace("_", "-"): pin for name, pin in locked(checkout).items()}
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[requirement.name.lower().replace("_", "-")]), (
            text
        )


def test_what_runs_here_is_what_the_lock_pins(checkout):
    for name, pin in locked(checkout).items():
        if name.startswith(("nvidia-", "cuda-")) or name in ("triton", "atheris"):
            continue  # for Linux only, some of it on x86-64 only
        assert version(name) == pin, (
            f"{name}: the environment is not the locked one; remove .venv and run make again"
        )


def test_no_path_of_a_machine_and_no_registry_in_the_repository(checkout):
    """Where the tests run is a machine too: its checkout and home must not be found in any file."""
    places = "|".join(
        re.escape(f"{place}/") for place in (checkout, Path.home()) if len(place.parts) > 1
    )
    # where indexes, Maven and Debian keep their packages
    roots = "|".join(rf"/{name}\b" for name in ("simple", "maven2", "debian"))
    # in two halves, so that this file is searched like any other
    options = "|".join(("index" + "-url", "registry" + "="))
    bad = re.compile(rf"{places}|https?://[^ \"']*(?:{roots})|{options}")
    for file in tracked(checkout):
        try:
            text = (checkout / file).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found = bad.search(text)
        assert not found, f"{file}: {found.group()}"


def test_ci_runs_make_test_and_nothing_else(checkout):
    lines = [
        line
        for line in (checkout / ".ci/run").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec make test"]


def test_every_allowed_skip_names_a_test_file_and_a_machine(checkout):
    for line in (checkout / "tests/allowed_skips.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            pattern, _, machine = line.partition(" : ")
            assert any(checkout.glob(pattern.split("::")[0])), line
            assert machine.strip(), line


def test_a_skip_that_nobody_allowed_fails(tmp_path, checkout):
    """The rule of conftest.py, tried on a test of its own: an unlisted skip is a failure, at run
    time and at collection.
    """
    (tmp_path / "conftest.py").write_bytes(
        (checkout / "tests/conftest.py")
        .read_bytes()
        .replace(b'CHECKOUT / "tests"', b"Path(__file__).parent")
    )
    shutil.copytree(checkout / "tests/fixtures", tmp_path / "fixtures")
    (tmp_path / "allowed_skips.txt").write_text(
        "test_some.py::test_listed : a machine with a phone\n"
    )
    (tmp_path / "test_some.py").write_text(
        "import pytest\ndef test_listed(): pytest.skip('no phone')\ndef test_unlisted():"
        " pytest.skip('too lazy')\n"
    )
    (tmp_path / "test_whole.py").write_text(
        "import pytest\npytest.skip('not today', allow_module_level=True)\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        "-c",
        "/dev/null",
        str(tmp_path),
    ]
    for target, summary in (("test_some.py", "1 failed, 1 skipped"), ("test_whole.py", "1 error")):
        done = subprocess.run(
            [*command[:-1], str(tmp_path / target)], capture_output=True, text=True
        )
        assert done.returncode == 1 + (summary == "1 error"), done.stdout
        assert summary in done.stdout.splitlines()[-1]
        assert "allowed_skips.txt" in done.stdout
    assert (
        "runs on: a machine with a phone"
        in subprocess.run(
            [*command[:-1], str(tmp_path / "test_some.py")], capture_output=True, text=True
        ).stdout
    )


def test_files_of_tests_have_names_of_their_own(checkout):
    """pytest takes two files of one name for one module, and collects neither."""
    names = Counter(path.name for path in (checkout / "tests").rglob("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []
