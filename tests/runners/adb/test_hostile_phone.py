"""A phone, or what stands for one, that answers without end, without sense or with tricks."""

import os
import resource
import time

import pytest
from test_bench_adb import clean, refused

from mobilekd.commands.devices import devices
from mobilekd.formats.artifact import open_artifact
from mobilekd.runners import adb_client, android_state, get, linux_state
from mobilekd.runners.base import DeviceError
from mobilekd.support.errors import UserError


def says(phone, program, script):
    """Let one of the phone's programs run another script."""
    file = phone.root / "system/bin" / program
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def steady_memory():
    """Fails where the test takes hundreds of MiB more than there were."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10 < 300


FLOODS = ("yes", "yes >&2", "yes | tr -d '\\n'", "cat /dev/zero", "yes '[a]: [b]'")


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_from_getprop_is_one_line(connect, artifact, tmp_path, steady_memory, flood):
    phone = connect()
    says(phone, "getprop", flood)
    line = refused(artifact, tmp_path / "r.json", device=f"adb:{phone.serial}")
    assert line.startswith(f"adb:{phone.serial}: printed more than 1 MiB and was stopped")
    (status,) = [one for one in devices() if one.device.startswith("adb")]
    assert "printed more than 1 MiB" in status.problem
    assert clean(phone, 5)


def test_a_flood_from_dumpsys_is_one_line(connect, artifact, tmp_path, steady_memory):
    phone = connect()
    says(phone, "dumpsys", "yes")
    assert "printed more than 1 MiB" in refused(artifact, tmp_path / "r.json")
    assert clean(phone, 5)


def test_a_pull_without_end_is_stopped(connect, artifact, tmp_path, steady_memory):
    phone = connect(faults={"endless_pull": True})
    line = refused(artifact, tmp_path / "r.json")
    assert "wrote more than 64 MiB into one file and was stopped" in line
    assert clean(phone, 5)


def test_control_characters_of_a_phone_reach_no_terminal(connect, artifact, tmp_path):
    phone = connect(
        {"ro.product.model": "A\x1b[2J\u202eB", "ro.product.cpu.abilist": "x86\x1b]0;t\x07"}
    )
    line = refused(artifact, tmp_path / "r.json")
    assert "it runs x86\\x1b]0;t\\x07, the runner" in line
    (status,) = [one for one in devices() if one.device == f"adb:{phone.serial}"]
    assert status.name.startswith("Example A\\x1b[2J\\u202eB, ")
    assert status.problem.isprintable()


def stand_in(tmp_path, monkeypatch, script):
    """A program called adb that prints what no daemon here can make the real one print."""
    (tmp_path / "adb").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("yes", "adb: printed more than 1 MiB"),
        ("echo List of devices attached; yes 'x\tdevice'", "adb: printed more than 1 MiB"),
        (
            "echo List of devices attached; yes 'x\tdevice' | head -n 5000",
            "adb: its server names 5000 devices",
        ),
        ("printf '\\033[31m' >&2; exit 1", r"adb: its server does not start \(\\x1b\[31m\)"),
    ],
)
def test_an_adb_that_answers_without_end(tmp_path, monkeypatch, steady_memory, script, line):
    stand_in(tmp_path, monkeypatch, script.replace("\\t", "\t"))
    with pytest.raises(UserError, match=f"^{line}"):
        adb_client.choose("")
    (status,) = [one for one in devices() if one.device == "adb"]
    assert not status.usable


def test_a_serial_with_control_characters_is_escaped_where_it_is_named(tmp_path, monkeypatch):
    serials = ("a\x1b[2Jb", "\u202eright", "x" * 5000)
    listing = "List of devices attached\n" + "".join(f"{one}\tdevice\n" for one in serials)
    (tmp_path / "listing").write_text(listing)
    stand_in(tmp_path, monkeypatch, f"[ $1 = devices ] || exit 1; cat {tmp_path}/listing")
    with pytest.raises(UserError, match="several devices") as caught:
        adb_client.choose("")
    assert str(caught.value).isprintable()
    assert "a\\x1b[2Jb, \\u202eright, xxx" in str(caught.value)
    assert len(str(caught.value)) < 600
    for status in devices():
        assert status.device.isprintable()
        assert status.problem.isprintable()


def test_a_working_phone_s_serial_is_escaped_and_hanging_phones_hang_together(
    tmp_path, monkeypatch
):
    """Each shell waits for the others: one after the other none would ever answer."""
    serials = ("a\x1b[2Jb", "second", "third")
    listing = "List of devices attached\n" + "".join(f"{one}\tdevice\n" for one in serials)
    (tmp_path / "listing").write_text(listing)
    (tmp_path / "asked").mkdir()
    answer = "[ro.product.cpu.abilist]: [arm64-v8a]"
    script = f"""[ $1 = devices ] && exec cat {tmp_path}/listing
touch {tmp_path}/asked/$$
while [ $(ls {tmp_path}/asked | wc -l) -lt 3 ]; do sleep 0.1; done
echo "{answer}"
for last; do :; done
echo "$(echo "$last" | grep -o 'mobilekd-end-[0-9a-f]*') 0\""""
    stand_in(tmp_path, monkeypatch, script)
    monkeypatch.setattr(adb_client, "QUICK", 60.0)
    states = {one.device: one for one in devices() if one.device.startswith("adb:")}
    assert set(states) == {"adb:a\\x1b[2Jb", "adb:second", "adb:third"}
    assert all(one.usable for one in states.values()), states


STATES = {
    "numbers without end": "## battery\n  level: " + "9" * 5000 + "\n  scale: 100\n",
    "a scale of nothing": "## battery\n  level: 5\n  scale: 0\n",
    "blank lines": "## battery\n" + "\n" * 500_000,
    "one long line": "## battery\n" + " " * 500_000 + "x",
    "words": "## battery\n" + "a " * 250_000,
    "titles": "## battery\n" * 50_000,
    "a thermal status": "## thermal\nThermal Status: " + "9" * 5000,
    "other digits": "## battery\n  level: \u0663\n",
    "a load": "## kernel\n/proc/loadavg:" + "9" * 500 + ".0",
    "a frequency": "## kernel\n/sys/devices/system/cpu/cpu"
    + "9" * 5000
    + "/cpufreq/scaling_cur_freq:1",
    "a temperature": "## kernel\n/sys/class/thermal/thermal_zone0/temp:" + "9" * 5000,
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_without_sense_is_not_told(name):
    began = time.process_time()
    conditions = android_state.conditions(STATES[name])
    assert conditions.battery_percent is None
    assert conditions.thermal_status is None
    assert conditions.load is None
    assert conditions.soc_celsius is None
    assert time.process_time() - began < 20, "takes the square of its length"


@pytest.mark.parametrize(
    "text",
    [
        "[\n" * 300_000,
        "[" * 600_000,
        "[ro.build.version.sdk]: [\u00b2]\n[ro.product.cpu.abilist]: [arm64-v8a]\n",
        "/proc/meminfo:MemTotal: " + "9" * 5000 + " kB\n",
        "/proc/cpuinfo:flags" + " " * 500_000 + "\n",
        "/" * 500_000,
    ],
)
def test_hardware_without_sense_is_not_told(text):
    began = time.process_time()
    device = android_state.device(text, "serial")
    android_state.problem(android_state.properties(text))
    assert device.memory_bytes is None
    assert linux_state.big_cores(linux_state.parse(text)) == ""
    assert time.process_time() - began < 20, "takes the square of its length"


STEPS = {
    "made a folder": "mkdir -m 755",
    "hashed what was pushed": "sha256sum",
    "answered the golden set": "mobilekd-runner golden",
    "was asked how it is": "dumpsys battery",
    "measured its memory": "mobilekd-runner memory",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_phone_that_vanishes_leaves_one_line_and_nothing_of_ours(
    connect, artifact, tmp_path, step
):
    phone = connect(faults={"vanish_after": 0, "away": 1.0, "on": STEPS[step]})
    assert "connection was lost" in refused(artifact, tmp_path / "r.json")
    assert clean(phone, 10)


def test_of_two_phones_one_that_floods_does_not_hide_the_other(connect, artifact):
    bad, good = connect(), connect({"ro.serialno": "PRETEND0002"})
    says(bad, "getprop", "yes")
    states = {one.device: one for one in devices()}
    assert "printed more" in states[f"adb:{bad.serial}"].problem
    assert states[f"adb:{good.serial}"].usable
    opened = open_artifact(artifact)
    runner = get(f"adb:{good.serial}")
    with runner.session([opened]):
        assert runner.answers(opened, opened.golden().inputs).shape == (6, 7)
    with pytest.raises(DeviceError, match="printed more"):
        get(f"adb:{bad.serial}").describe()
