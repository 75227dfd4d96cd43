"""The doctor names every missing thing with its fix, on this machine and on one that lacks
everything.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from fixtures.data import make_folder

from mobilekd.commands import doctor as module
from mobilekd.commands.doctor import TOOLS, doctor, install
from mobilekd.data import inputs, load
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.preprocess import Preprocess
from mobilekd.support import system_programs
from mobilekd.support.errors import UserError


def test_every_tool_of_the_issue_is_looked_for():
    wanted = (
        "javac mvn aapt apksigner zipalign adb proot qemu-aarch64 aarch64-linux-gnu-g++ chromium"
    )
    assert set(wanted.split()) <= {tool.command.partition("|")[0] for tool in TOOLS}


def test_nothing_required_is_missing_here():
    assert [check.name for check in doctor() if check.required and not check.ok] == []


def test_a_machine_without_programs_is_told_how_to_get_each(tmp_path: Path):
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "mobilekd", "doctor", "--json"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, "programs outside Python are no reason to fail"
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    for tool in TOOLS:
        check = checks[tool.command.partition("|")[0]]
        assert not check["ok"]
        assert tool.package.partition("|")[0] in check["fix"]
        assert check["needed_for"]


def test_install_without_root_names_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd
):
    monkeypatch.setenv("PATH", str(tmp_path))
    install()
    said = capfd.readouterr().err
    assert "sudo apt-get install" in said
    assert "qemu-user" in said


def test_an_old_jdk_is_not_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    javac = tmp_path / "javac"
    javac.write_text("#!/bin/sh\necho javac 11.0.2\n")
    javac.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    [check] = [check for check in doctor() if check.name == "javac"]
    assert not check.ok
    assert "release 11" in check.detail


@pytest.mark.parametrize(
    ("exporter", "torch", "fits"),
    [
        ("1.5.1", "2.15.0", True),
        ("1.5.1", "2.15.1+cpu", True),
        ("1.5.1", "2.14.0", False),
        ("9.0.0", "2.15.0", False),
    ],
)
def test_torch_and_executorch_must_meet(monkeypatch: pytest.MonkeyPatch, exporter, torch, fits):
    monkeypatch.setattr(
        module, "version", lambda name: {"executorch": exporter, "torch": torch}[name]
    )
    check = module.exporter_matches_torch()
    assert check.ok is fits
    assert "pip install" in check.fix


def test_a_phone_owners_install_lacks_nothing_required(
    monkeypatch: pytest.MonkeyPatch, checkout: Path
):
    """What is absent is named with what needs it, and is no reason to fail; half of it is one."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    monkeypatch.setattr(module, "requires", lambda _: project["dependencies"])

    def having(*names: str):
        def version(name: str) -> str:
            if name in names:
                return "1.5.1"
            raise PackageNotFoundError(name)

        monkeypatch.setattr(module, "version", version)
        return {check.name: check for check in doctor()}

    checks = having("mobilekd", *module.LIGHT)
    assert [name for name, check in checks.items() if check.required and not check.ok] == []
    assert not checks["torch"].ok
    assert "export" in checks["torch"].needed_for
    checks = having("mobilekd", *module.LIGHT, "executorch")
    assert checks["torch"].required
    assert checks["torch fits executorch"].required
    checks = having("mobilekd", "numpy")
    assert checks["pydantic"].required


def test_what_backends_need_beyond_the_package_is_looked_for(monkeypatch: pytest.MonkeyPatch):
    """By the extras' own lists, so that what an extra gains later is looked for, too."""

    def extras() -> dict[str, module.Check]:
        return {one.name: one for one in doctor() if one.name.startswith("extra ")}

    assert {*extras()} == {"extra coreai", "extra litert", "extra onnx"}
    assert not any(one.required for one in extras().values())
    here = module.version

    def version(name: str) -> str:
        if name == "onnxscript":
            raise PackageNotFoundError(name)
        return here(name)

    monkeypatch.setattr(module, "version", version)
    lacking = extras()["extra onnx"]
    assert not lacking.ok
    assert lacking.detail == "onnxscript not installed"
    assert lacking.fix == "pip install 'mobilekd[onnx]'"
    assert "export --backend onnx" in lacking.needed_for


HOLD = """
import fcntl, os, sys, time
with open(sys.argv[1], "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.05)
"""


@pytest.fixture
def held_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The real apt-get in folders of its own, whose lists another process has locked until the file
    ``over`` exists.
    """
    if shutil.which("apt-get") is None:
        pytest.skip("apt-get is not on this machine; a Debian or Ubuntu machine runs this")
    for folder in ("state/lists/partial", "cache/archives/partial", "etc"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("state/status", "etc/sources.list"):
        (tmp_path / file).touch()
    lines = (
        f'Dir::State "{tmp_path}/state/";',
        f'Dir::State::status "{tmp_path}/state/status";',
        f'Dir::Cache "{tmp_path}/cache/";',
        f'Dir::Etc "{tmp_path}/etc/";',
    )
    (tmp_path / "apt.conf").write_text("\n".join(lines))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    lock = tmp_path / "state/lists/lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, lock, tmp_path / "over"], stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    yield tmp_path / "over"
    holder.kill()
    holder.wait()


def test_another_apt_is_waited_for_and_that_is_said(monkeypatch, held_lists: Path):
    monkeypatch.setattr(system_programs, "APT_POLL", 0.1)
    said = []

    def say(line):
        said.append(line)
        held_lists.touch()

    monkeypatch.setattr(system_programs, "say", say)
    system_programs.apt_get(["update"], dict(os.environ))
    (line,) = said
    assert line.startswith("doctor: another apt is at work (E: Could not get lock")
    assert "waiting up to 300 s" in line


def test_another_apt_that_does_not_end_is_one_line(monkeypatch, held_lists: Path):
    monkeypatch.setattr(system_programs, "APT_POLL", 0.1)
    monkeypatch.setattr(system_programs, "APT_WAIT", 0.5)
    monkeypatch.setattr(system_programs, "say", lambda line: None)
    with pytest.raises(UserError, match=r"^apt-get update: E: Could not get lock .*; wait for the"):
        system_programs.apt_get(["update"], dict(os.environ))


def test_other_troubles_of_apt_are_not_waited_for(monkeypatch, held_lists: Path):
    monkeypatch.setattr(system_programs, "say", lambda line: pytest.fail(line))
    with pytest.raises(UserError, match=r"^apt-get nonsense: E: Invalid operation"):
        system_programs.apt_get(["nonsense"], dict(os.environ))


def test_setup_waits_for_another_apt(held_lists: Path, checkout: Path):
    """Its function alone, because the rest of it installs gigabytes."""
    text = (checkout / "tools/setup.sh").read_text(encoding="utf-8")
    function = text[text.index("apt_get() {") : text.index("base=${MOBILEKD_VENV:-}")]
    waiting = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", f"{function}\napt_get update; echo done"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdout.readline().startswith("setup: another apt is at work; waiting")
    held_lists.touch()
    assert waiting.communicate()[0] == "done\n"
    assert waiting.returncode == 0


def test_the_store_of_photographs_is_shown_and_emptied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd
):
    monkeypatch.setenv("MOBILEKD_STORE", str(tmp_path / "store"))
    dataset = load(DataTable(kind="folder", root=str(make_folder(tmp_path / "data", each=3))))
    inputs(dataset, dataset.ids, Preprocess(width=8, height=8))
    [check] = [check for check in doctor() if check.name == "store of decoded photographs"]
    assert check.ok
    assert "6 photographs, 0.00 of at most" in check.detail
    module.empty_store()
    assert f"removed from {tmp_path / 'store'}" in capfd.readouterr().err
    [check] = [check for check in doctor() if check.name == "store of decoded photographs"]
    assert "0 photographs" in check.detail
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["lock"]
    monkeypatch.setenv("MOBILEKD_STORE", "off")
    module.empty_store()
    assert "there is no store" in capfd.readouterr().err
