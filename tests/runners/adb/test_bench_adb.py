"""``bench --device adb`` from push to result, with the very arm64 program that a phone runs; then
every fault a phone has.
"""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from fixtures.bench import spoil_answers
from fixtures.light import light

from mobilekd.commands.bench import bench
from mobilekd.formats.artifact import open_artifact
from mobilekd.formats.measurement import Energy, read_measurement
from mobilekd.runners import get
from mobilekd.support.errors import UserError

QUICK = {"threads": (1,), "samples": 21, "cool_wait": 0.0}
MEASURING = "mobilekd-runner measure"


def clean(phone, seconds=0.0):
    """Nothing of ours on the phone: no file, no process."""
    end = time.monotonic() + seconds
    while any(phone.storage.iterdir()) and time.monotonic() < end:
        time.sleep(0.2)
    left = [path.name for path in phone.storage.iterdir()]
    running = [
        entry
        for entry in filter(str.isdigit, os.listdir("/proc"))
        if str(phone.root).encode() in command_line(entry)
    ]
    return not left and not [
        entry for entry in running if b"mobilekd-runner" in command_line(entry)
    ]


def command_line(entry):
    try:
        with open(f"/proc/{entry}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def refused(artifact, output, device="adb", **options):
    """The one line of a failing bench."""
    with pytest.raises(UserError) as caught:
        bench([artifact], device=device, output=output, **{**QUICK, **options})
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_measure_a_phone(connect, artifact, tmp_path):
    phone = connect({"ro.product.model": 'A 5 "Pro"; rm -rf $HOME\'s'})
    output = tmp_path / "result.json"
    (measurement,) = bench(
        [artifact],
        device=f"adb:{phone.serial}",
        output=output,
        minutes=0.02,
        **(QUICK | {"threads": (1, 2)}),
    )
    assert read_measurement(output) == measurement
    assert measurement.valid
    assert measurement.golden.passed
    assert measurement.golden.agreement == 1
    assert len(measurement.cold) >= 3
    assert {(s.threads_asked, s.threads_in_effect) for s in measurement.series} == {(1, 1), (2, 2)}
    # this machine may have fewer cores
    assert {"all"} <= {series.cores for series in measurement.series} <= {"all", "4,5,6,7"}
    assert (
        sum(
            len(s.samples_ns)
            for s in measurement.series
            if s.threads_asked == 1 and s.cores == "all"
        )
        == 21
    )
    device, before = measurement.device, measurement.before
    assert device.emulated
    assert (device.kind, device.abi, device.soc, device.cores) == (
        "adb",
        "arm64-v8a",
        "PRETEND1",
        8,
    )
    assert device.id.startswith("example-a-5-pro-rm-rf-home-s-")
    assert "PRETEND0001" not in output.read_text()
    assert phone.serial not in output.read_text()
    assert (
        before.battery_celsius,
        before.battery_percent,
        before.charging,
        before.thermal_status,
    ) == (28.3, 87, True, 0)
    assert (before.governor, before.screen_on, before.soc_celsius, before.load) == (
        "schedutil",
        True,
        38.9,
        4.12,
    )
    assert measurement.sustained is not None
    assert measurement.sustained.celsius
    assert measurement.energy == Energy(
        reason="the battery was charging; measure over Wi-Fi (adb connect) with the cable out"
    )
    assert clean(phone)


def test_a_phone_owners_install_measures_to_the_report(connect, artifact, tmp_path):
    """Every import but those of ``requirements-phone.txt`` is blocked."""
    phone = connect()
    quick = ["--threads", "1", "--samples", "21", "--output", "result.json"]
    lines = [
        ["devices"],
        ["bench", str(artifact), "--device", "adb", *quick],
        ["inspect", str(artifact)],
        ["report", str(artifact), "result.json"],
    ]
    for line, (code, out, err) in zip(lines, light(lines, tmp_path), strict=True):
        assert code == 0, (line, err)
        assert out
    assert read_measurement(tmp_path / "result.json").valid
    assert "Pretend_Phone" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert clean(phone)


@pytest.mark.long
def test_a_phone_owners_fresh_environment_measures_to_the_report(
    connect, artifact, tmp_path, checkout
):
    """The install that the documentation names is small, and enough."""
    environment = tmp_path / "environment"
    script = checkout / "benchmarks/phone_install.py"
    sizes = tmp_path / "sizes.json"
    subprocess.run(
        [sys.executable, script, sizes, "--environment", environment], check=True, cwd=tmp_path
    )
    assert json.loads(sizes.read_text())["bytes"] < 150e6
    phone = connect()
    program = environment / "bin/mobilekd"
    for line in (
        ["devices"],
        ["verify", "--hashes", artifact],
        ["bench", artifact, "--device", "adb", "--threads", "1", "--samples", "21"],
        ["report", artifact, "results"],
    ):
        done = subprocess.run(
            [program, *line],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        )
        # the tiny artifact records no gates, which is no pass
        assert done.returncode == (2 if line[0] == "verify" else 0), done.stderr
    assert "Pretend_Phone" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert clean(phone)


def test_answers_equal_the_hosts(connect, artifact):
    connect()
    opened = open_artifact(artifact)
    runner = get("adb")
    with runner.session([opened]):
        answers = runner.answers(opened, opened.golden().inputs)
    np.testing.assert_allclose(answers, opened.golden().probabilities, atol=1e-6)


def test_an_old_phone_without_exit_codes(connect, artifact, tmp_path):
    phone = connect(features=())
    (measurement,) = bench([artifact], device="adb", output=tmp_path / "r.json", **QUICK)
    assert measurement.valid
    assert clean(phone)


def test_a_slow_phone_is_only_slow(connect, artifact):
    phone = connect()
    phone.faults.delay = 0.002
    opened = open_artifact(artifact)
    runner = get("adb")
    with runner.session([opened]):
        assert runner.answers(opened, opened.golden().inputs).shape == (6, 7)
    phone.faults.delay = 0.0
    assert clean(phone)


def test_harmless_garbage_is_passed_over(connect, artifact, tmp_path):
    phone = connect()
    phone.faults.garbage = b"WARNING: linker: unused DT entry\nmobilekd-end-0 0\n{\n"
    (measurement,) = bench([artifact], device="adb", output=tmp_path / "r.json", **QUICK)
    assert measurement.valid


def test_wrong_answers_get_a_report_and_no_latency(connect, artifact, tmp_path):
    spoilt = tmp_path / "spoilt"
    shutil.copytree(artifact, spoilt)
    spoil_answers(spoilt, precision="int8")
    phone = connect()
    assert "wrong answers, so no latency: picture 2, class" in refused(spoilt, tmp_path / "r.json")
    kept = read_measurement(tmp_path / "r.json")
    assert not kept.valid
    assert not kept.golden.passed
    assert kept.series == ()
    assert clean(phone)


def vanishing(command):
    """A phone that goes away in the middle of ``command``, what bench says, and that it keeps what
    was measured.
    """
    return {"vanish_after": 20, "away": 1.0, "on": command}, "lost in the middle of a command", True


FAULTS = {
    "unauthorized": ({"unauthorized": True}, "has not allowed this computer", False),
    "offline": ({"mute": True}, "offline; replug the cable", False),
    "lost in a push": (
        {"drop_push_after": 3_000_000},
        "connection was lost while a file was pushed",
        False,
    ),
    "storage full": ({"full_after": 3_000_000}, "its storage is full", False),
    "vanishes while measuring": vanishing(MEASURING),
    "killed by the system": (
        {"kill": True, "on": MEASURING},
        "killed by the system (signal 9",
        True,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault(connect, artifact, tmp_path, name):
    faulted(connect, artifact, tmp_path, *FAULTS[name])


def faulted(connect, artifact, folder, faults, line, kept):
    """A fault is one line, leaves nothing of ours on the phone, and what was kept is marked."""
    phone = connect(faults=faults)
    output = folder / "result.json"
    assert line in refused(artifact, output, device=f"adb:{phone.serial}")
    assert output.exists() == kept
    if kept:
        measurement = read_measurement(output)
        assert not measurement.valid
        assert measurement.golden.passed
        assert measurement.reasons[0].startswith("broken off: ")
        assert str(phone.serial) not in json.dumps(measurement.model_dump(mode="json"))
    assert clean(phone, 10)


def test_what_was_measured_before_a_fault_is_kept(connect, artifact, tmp_path):
    """The second process dies; the first one's samples stay."""
    phone = connect()
    phone.faults.on, phone.faults.kill = "m0.u8 --threads 2", True
    output = tmp_path / "r.json"
    assert "what was measured is kept, marked invalid" in refused(artifact, output, threads=(1, 2))
    measurement = read_measurement(output)
    assert len(measurement.series) == 1
    assert measurement.series[0].valid
    assert clean(phone)


def test_throttling_marks_every_series(connect, artifact, tmp_path):
    phone = connect()
    phone.dumpsys("thermalservice", "Thermal Status: 0", "Thermal Status: 3")
    line = refused(artifact, tmp_path / "r.json", minutes=0.005)
    assert "the device throttles (thermal status 3, severe)" in line
    measurement = read_measurement(tmp_path / "r.json")
    assert "the device throttles" in measurement.sustained.reasons[0]
    assert not measurement.valid
    assert measurement.series
    assert not any(series.valid for series in measurement.series)
    assert clean(phone)


def test_two_phones_need_a_serial(connect, artifact, tmp_path):
    first, second = connect(), connect({"ro.serialno": "PRETEND0002"})
    line = refused(artifact, tmp_path / "r.json")
    assert first.serial in line
    assert second.serial in line
    assert get(f"adb:{first.serial}").describe().id != get(f"adb:{second.serial}").describe().id


@pytest.mark.parametrize("serial", ["no such phone", "it's", "a;reboot", '$(reboot) "x"'])
def test_a_strange_serial_is_only_unknown(connect, artifact, tmp_path, serial):
    connect()
    assert refused(artifact, tmp_path / "r.json", device=f"adb:{serial}").startswith(
        f"adb:{serial}: not connected"
    )


@pytest.mark.parametrize(
    ("props", "line"),
    [
        ({"ro.product.cpu.abilist": "armeabi-v7a,armeabi"}, "wrong ABI"),
        (
            {"ro.build.version.sdk": "21", "ro.build.version.release": "5.0"},
            "Android is too old: 5.0 (API 21)",
        ),
    ],
)
def test_an_unfit_phone_is_refused_before_anything_is_pushed(
    connect, artifact, tmp_path, props, line
):
    phone = connect(props)
    assert line in refused(artifact, tmp_path / "r.json")
    assert clean(phone)
