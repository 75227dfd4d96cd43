"""A phone's life around a measurement: how it is listed, how it cools, its big cores, its end
before, in and after a run.
"""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from fixtures.bench import tiny_artifact
from test_bench_adb import MEASURING, QUICK, clean, command_line, refused

from mobilekd.commands.bench import bench
from mobilekd.commands.devices import devices
from mobilekd.commands.report import report
from mobilekd.formats.measurement import read_measurement
from mobilekd.runners import adb, adb_client, session


def mobilekd(*words, **options):
    """The command line, as somebody calls it."""
    return subprocess.run(
        [sys.executable, "-m", "mobilekd", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


AILMENTS = {
    "unauthorised": (
        {},
        {"unauthorized": True},
        "unauthorized: the phone has not allowed this computer; unlock it, tap Allow",
    ),
    "offline": ({}, {"mute": True}, "offline; replug the cable"),
    "wrong ABI": (
        {"ro.product.cpu.abilist": "armeabi-v7a"},
        {},
        "wrong ABI: it runs armeabi-v7a, the runner needs arm64-v8a",
    ),
    "old": (
        {"ro.build.version.sdk": "25", "ro.build.version.release": "7.1"},
        {},
        "Android is too old: 7.1 (API 25), API 26 is the least",
    ),
}


@pytest.mark.parametrize("name", AILMENTS)
def test_devices_says_what_is_wrong_and_what_to_do(connect, name):
    props, faults, words = AILMENTS[name]
    phone = connect(props, faults=faults)
    (found,) = [one for one in devices() if one.device == f"adb:{phone.serial}"]
    assert not found.usable
    assert found.problem.startswith(words)


def test_devices_lists_a_sound_phone_beside_a_sick_one(connect):
    sound, _ = connect({"ro.product.model": "Sound"}), connect(faults={"unauthorized": True})
    done = mobilekd("devices", "--json")
    phones = {
        one["device"]: one
        for one in json.loads(done.stdout)["devices"]
        if one["device"].startswith("adb:")
    }
    assert len(phones) == 2
    assert phones[f"adb:{sound.serial}"] | {"device": ""} == {
        "device": "",
        "usable": True,
        "problem": "",
        "name": "Example Sound, PRETEND1, Android 13 (API 33) (emulated)",
        "latency": False,
    }


def test_states_of_a_phone_on_a_usb_cable(tmp_path, monkeypatch):
    """There is no USB here, so a program that prints what adb prints stands in. (adb 29, and AOSP
    adb.cpp for the states.)
    """
    serial = 'it\'s; a "phone" & $HOME'
    listing = [
        "List of devices attached",
        (
            "A1\tno permissions (user in plugdev group; are your udev rules wrong?); see"
            " [http://developer.android.com/tools/device.html]"
        ),
        "B2\trecovery",
        "C3\tauthorizing",
        f"{serial}\tdevice",
    ]
    (tmp_path / "listing").write_text("\n".join(listing) + "\n\n")
    (tmp_path / "adb").write_text(
        f'#!/bin/sh\n[ "$1" = devices ] && cat {tmp_path}/listing\nprintf "%s\\n" "$@"'
        f" >{tmp_path}/words\n"
    )
    (tmp_path / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    states = {one.serial: adb_client.remedy(one.state) for one in adb_client.listed()}
    assert states["A1"].startswith("this user may not open the USB device; apt-get install")
    assert states["B2"] == "in recovery mode; restart it (adb reboot) and run again"
    assert states["C3"].startswith("still asking whether it may")
    assert adb_client.choose("") == serial
    with pytest.raises(adb_client.DeviceError, match="connection was lost"):
        adb_client.Adb(serial).shell("true")
    assert (tmp_path / "words").read_text().splitlines()[:3] == ["-s", serial, "shell"]


def test_a_hot_phone_is_waited_for(connect, artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "POLL", 0.5)
    phone, said = connect(), []

    def say(words):
        """It cools once it is waited for, however busy this machine is."""
        said.append(words)
        if "waiting" in words:
            threading.Timer(
                1, phone.dumpsys, ("thermalservice", "Thermal Status: 3", "Thermal Status: 0")
            ).start()

    monkeypatch.setattr(session, "say", say)
    phone.dumpsys("thermalservice", "Thermal Status: 0", "Thermal Status: 3")
    (measurement,) = bench(
        [artifact], device="adb", output=tmp_path / "r.json", **(QUICK | {"cool_wait": 60.0})
    )
    assert (
        "bench: the device throttles (thermal status 3, severe); waiting up to 60 s for it to cool"
        in said
    )
    assert measurement.before.thermal_status == 3
    assert measurement.valid
    assert all(series.valid for series in measurement.series)


def test_big_cores_are_measured_beside_all(connect, artifact, tmp_path):
    """The core that every machine has plays the big one, because emulated programs are bound to
    this machine's cores.
    """
    phone = connect()
    for core in range(8):
        (phone.root / f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq").write_text(
            "2850000" if core == 0 else "1800000"
        )
    (measurement,) = bench(
        [artifact], device="adb", output=tmp_path / "r.json", **(QUICK | {"threads": (1, 2)})
    )
    assert [(s.threads_asked, s.cores) for s in measurement.series[:3]] == [
        (1, "all"),
        (2, "all"),
        (1, "0"),
    ]
    assert sum(len(s.samples_ns) for s in measurement.series if s.cores == "0") == 21


def test_from_push_to_report_without_a_latency(connect, artifact, tmp_path):
    """Two artifacts interleaved, by the command line; the page has their answers and none of their
    emulated times.
    """
    phone = connect()
    other = tiny_artifact(tmp_path / "other", "fp32", name="other")
    results = tmp_path / "results"
    done = mobilekd(
        "bench",
        artifact,
        other,
        "--device",
        "adb",
        "--threads",
        "1",
        "--samples",
        "20",
        "--output",
        results,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("golden pictures answered rightly") == 2
    assert "P50" not in done.stdout
    measurements = [read_measurement(path) for path in sorted(results.iterdir())]
    orders = [series.order for one in measurements for series in one.series]
    assert sorted(orders) == list(range(6))
    assert sorted(orders[:3]) != [0, 1, 2], "interleaved, not one after the other"
    page = report([results, artifact, other], tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    assert text.count("emulated, no latency") == 2
    assert "Steady latency" not in text
    assert all(
        one["latency_ms"] == []
        for one in json.loads(page.with_suffix(".json").read_text())["measurements"]
    )
    assert clean(phone)


def test_the_command_line_ends_with_2_and_one_line(connect, artifact, tmp_path):
    phone = connect(faults={"vanish_after": 20, "away": 1.0, "on": MEASURING})
    output = tmp_path / "r.json"
    done = mobilekd(
        "bench", artifact, "--device", f"adb:{phone.serial}", "--samples", "20", "--output", output
    )
    assert done.returncode == 2
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"mobilekd bench: adb:{phone.serial}: the connection was lost in the middle of a command;"
        " check the cable"
    )
    assert str(output) in last
    assert clean(phone, 5)


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_command_leaves_nothing_on_the_phone(connect, artifact, tmp_path, stop, code):
    """In the sustained part, when the runner would go on for minutes."""
    phone, output = connect(), tmp_path / "r.json"
    line = [
        sys.executable,
        "-m",
        "mobilekd",
        "bench",
        artifact,
        "--device",
        "adb",
        "--threads",
        "1",
        "--samples",
        "20",
        "--minutes",
        "9",
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # a test run that was itself started in the background of a shell ignores SIGINT, and hands that
    # down
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    running = subprocess.Popen(
        [*line, "--output", output], text=True, preexec_fn=listening, **pipes
    )
    for said in running.stderr:
        if "sustained for" in said:
            break
    time.sleep(1)
    running.send_signal(stop)
    running.communicate(timeout=120)
    assert running.returncode == code
    kept = read_measurement(output)
    assert len(kept.series) == 3
    assert kept.reasons == ("broken off: stopped by the user",)
    assert clean(phone, 5)


def test_energy_by_the_phones_own_counter(connect, artifact, tmp_path, monkeypatch):
    """Off the cable; the counter makes a step of 1000 microampere-hours while the phone works."""
    monkeypatch.setattr(session, "POLL", 0.5)
    phone = connect()
    service = phone.root / "system/etc/dumpsys/battery"
    text = re.sub(r"status: \d", "status: 3", service.read_text())
    level, volts = (
        int(re.search(rf"^ *{key}: (\d+)", text, re.MULTILINE)[1])
        for key in ("Charge counter", "voltage")
    )
    service.write_text(text)

    def drain():
        while not (
            phone.storage.exists() and any("--seconds" in word for word in phone_words(phone))
        ):
            time.sleep(0.2)
        time.sleep(1)
        service.write_text(
            text.replace(f"Charge counter: {level}", f"Charge counter: {level - 1000}")
        )

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    (measurement,) = bench(
        [artifact], device="adb", output=tmp_path / "r.json", minutes=0.08, **QUICK
    )
    thread.join()
    energy = measurement.energy
    assert energy.joules == pytest.approx(1000e-6 * 3600 * volts / 1000)
    assert energy.joules_per_inference == pytest.approx(
        energy.joules / measurement.sustained.inferences
    )
    assert (energy.used_uah, energy.resolution_uah) == (1000, 1000)


def phone_words(phone):
    """Arguments of everything that runs in the phone's sandbox."""
    lines = [command_line(entry) for entry in filter(str.isdigit, os.listdir("/proc"))]
    return [
        word
        for line in lines
        if str(phone.root).encode() in line
        for word in line.decode(errors="replace").split("\0")
    ]


def test_a_phone_that_is_far_too_slow(connect, artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(adb, "RUN", 2.0)
    phone = connect(faults={"stall": 6.0, "on": MEASURING})
    line = refused(artifact, tmp_path / "r.json", device=f"adb:{phone.serial}")
    assert line.startswith(
        f"adb:{phone.serial}: no end after 2 s; it hangs or is far too slow, check it and run again"
    )
    assert read_measurement(tmp_path / "r.json").golden.passed
    assert clean(phone, 5)


@pytest.mark.parametrize(
    "garbage",
    [b"noise without an end of line ", b"\xff\x00\xfe\n" * 9, b"mobilekd-runner-json {}\n"],
    ids=["no end of line", "binary", "our own words"],
)
def test_garbage_that_spoils_an_answer_or_not_is_at_most_one_line(
    connect, artifact, tmp_path, garbage
):
    phone = connect(faults={"garbage": garbage, "on": MEASURING})
    done = mobilekd(
        "bench",
        artifact,
        "--device",
        "adb",
        "--threads",
        "1",
        "--samples",
        "20",
        "--output",
        tmp_path / "r.json",
    )
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr
    assert read_measurement(tmp_path / "r.json").valid == (done.returncode == 0)
    assert clean(phone)


def test_a_folder_made_just_before_the_end_goes_too(connect, artifact, tmp_path):
    phone = connect(faults={"vanish_after": 0, "away": 1.0, "on": "mkdir"})
    assert "connection was lost" in refused(
        artifact, tmp_path / "r.json", device=f"adb:{phone.serial}"
    )
    assert clean(phone, 5)


def test_a_phone_that_never_comes_back_is_told_what_is_left(
    connect, artifact, tmp_path, monkeypatch
):
    monkeypatch.setattr(adb, "BACK", 0.5)
    phone = connect(faults={"vanish_after": 20, "away": 1e6, "on": MEASURING})
    line = refused(artifact, tmp_path / "r.json", device=f"adb:{phone.serial}")
    (left,) = phone.storage.iterdir()
    assert f"/data/local/tmp/{left.name} is left on the phone, remove it when it is back" in line
    assert read_measurement(tmp_path / "r.json").golden.passed
