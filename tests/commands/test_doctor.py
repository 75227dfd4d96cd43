"""The doctor names every missing thing with its fix, on this machine and on one that lacks
everything.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilekd.commands import doctor as module
from mobilekd.commands.doctor import TOOLS, doctor, install


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
    [("1.5.1", "2.15.0", True), ("1.5.1", "2.14.0", False), ("9.0.0", "2.15.0", False)],
)
def test_torch_and_executorch_must_meet(monkeypatch: pytest.MonkeyPatch, exporter, torch, fits):
    monkeypatch.setattr(
        module, "version", lambda name: {"executorch": exporter, "torch": torch}[name]
    )
    check = module.exporter_matches_torch()
    assert check.ok is fits
    assert "pip install" in check.fix
