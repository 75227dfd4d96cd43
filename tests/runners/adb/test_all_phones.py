"""``bench --device adb:all``: all phones at once, none lost by another, and processors that answer
otherwise from pass to pass.
"""

import json
import shutil
import threading
import time
from pathlib import Path

import pytest
from test_bench_adb import MEASURING, QUICK, clean, refused

from mobilekd.cli import main
from mobilekd.commands import bench as command
from mobilekd.commands.bench import PhonesError, bench
from mobilekd.formats.measurement import read_measurement
from mobilekd.page.latency_samples import latency_samples
from mobilekd.runners import phones
from mobilekd.support.errors import UserError
from mobilekd.support.process import run_bounded


def two(connect, *faults):
    """Two phones, each with its faults."""
    given = [*faults, {}, {}]
    return connect({"ro.product.model": "One"}, faults=given[0]), connect(
        {"ro.product.model": "Two", "ro.serialno": "PRETEND0002"}, faults=given[1]
    )


def test_phones_are_measured_at_once_and_each_of_them_once(
    connect, artifact, tmp_path, monkeypatch
):
    """Each waits for the other before it begins, so that one after the other neither would end. A
    third has the serial number of one: that is one phone by cable and Wi-Fi, whose cores would be
    shared.
    """
    meet, whole = threading.Barrier(2, timeout=120), command.measure

    def together(*arguments):
        meet.wait()
        whole(*arguments)

    monkeypatch.setattr(command, "measure", together)
    everyone = [*two(connect), connect({"ro.product.model": "One"})]
    with pytest.raises(PhonesError, match="measured on 2 of 3 phones") as caught:
        bench([artifact], device="adb:all", output=tmp_path / "results", **QUICK)
    (twin,) = [phone for phone in caught.value.phones if phone.problem]
    assert twin.problem.startswith("has the serial number of adb:127.0.0.1:")
    assert twin.measurements == ()
    found = [one for phone in caught.value.phones for one in phone.measurements]
    assert {one.device.model for one in found} == {"One", "Two"}
    assert len({one.session for one in found}) == 2
    for one in found:
        file = tmp_path / "results" / one.device.id / f"{one.artifact}.json"
        assert read_measurement(file) == one
        assert one.valid
        assert [each.name for each in one.golden.passes] == [
            "1 thread",
            "1 thread after the timed runs",
        ]
        assert one.golden.pass_difference == 0.0
    assert all(clean(phone) for phone in everyone)


def listing(capsys, *words):
    """What the command line says of all phones, and its exit code."""
    line = ["bench", *words, "--device", "adb:all", "--threads", "1", "--samples", "20"]
    code = main([*map(str, line)])
    return code, capsys.readouterr().out


def test_a_phone_that_vanishes_does_not_lose_the_other(connect, artifact, tmp_path, capsys):
    vanishes = {"vanish_after": 20, "away": 1.0, "on": MEASURING}
    first, second = two(connect, {}, vanishes)
    third = connect(faults={"unauthorized": True})
    code, said = listing(capsys, artifact, "--output", tmp_path, "--json")
    assert code == 1
    document = json.loads(said)
    assert [one["device"]["model"] for one in document["measurements"] if one["valid"]] == ["One"]
    lost = {one["device"].partition(" ")[0]: one["problem"] for one in document["not_measured"]}
    assert set(lost) == {f"adb:{second.serial}", f"adb:{third.serial}"}
    assert "has not allowed this computer" in lost[f"adb:{third.serial}"]
    why = lost[f"adb:{second.serial}"]
    assert why.startswith("the connection was lost in the middle of a command")
    (kept,) = tmp_path.glob("example-two-*/*.json")
    assert str(kept) in why
    assert read_measurement(kept).reasons[0].startswith("broken off: the connection was lost")
    assert clean(first)
    assert clean(second, 5)


def test_a_file_for_hexagon_does_not_take_xnnpacks_along(connect, artifact, tmp_path):
    """One phone has its chip, the other has not; the runner has the delegate for neither."""
    phones = [
        connect({"ro.product.model": name, "ro.soc.model": soc, "ro.serialno": name})
        for name, soc in (("One", "SM8650"), ("Two", "Tensor G3"))
    ]
    hexagon = tmp_path / "hexagon"
    shutil.copytree(artifact, hexagon)
    manifest = json.loads((hexagon / "manifest.json").read_text())
    chip = {"soc": "SM8650", "architecture": "v75", "qnn": "2.51.0"}
    manifest |= {"backend": "qnn", "precision": "w8a16", "chip": chip}
    (hexagon / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PhonesError) as caught:
        bench([artifact, hexagon], device="adb:all", output=tmp_path / "results", **QUICK)
    told = {phone.about.model: phone for phone in caught.value.phones}
    assert "needs ExecuTorch's runtime with qnn's delegate" in told["One"].problem
    assert "compiled for SM8650 alone, and the chip of this device is" in told["Two"].problem
    for phone in caught.value.phones:
        (measurement,) = phone.measurements
        assert (measurement.backend, measurement.valid) == ("xnnpack", True)
    assert all(clean(phone) for phone in phones)


def test_where_no_phone_could_be_measured_the_code_is_2_and_one_table_says_why(
    connect, artifact, capsys
):
    two(connect, {"unauthorized": True}, {"unauthorized": True})
    code, said = listing(capsys, artifact)
    assert code == 2
    assert said.count("NOT MEASURED: the phone has not allowed this computer") == 2
    assert "\n\n" not in said.strip()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"output": Path("r.json")}, "several phones need a folder; write --output r"),
        ({"baseline": Path("r.json")}, "is of one phone; name that one with --device adb:SERIAL"),
    ],
)
def test_what_is_for_one_phone_is_refused_for_all(artifact, options, line):
    with pytest.raises(UserError, match=line):
        bench([artifact], device="adb:all", **options)


def test_no_phone_at_all(adb_server, artifact, tmp_path):
    assert refused(artifact, tmp_path / "r", device="adb:all").startswith(
        "adb:all: no phone is connected; plug some in"
    )


def test_a_phone_that_answers_otherwise_in_a_later_pass_gets_no_latency(
    connect, artifact, tmp_path
):
    """By twenty times the artifact's limit, in one probability of one photograph: one phone with
    two threads, the other when it is hot.
    """
    faulty = {"One": (1, "2 threads"), "Two": (2, "2 threads after the timed runs")}
    two(connect, *({"other_answers_in": number} for number, _ in faulty.values()))
    with pytest.raises(PhonesError, match="measured on none of 2 phones") as caught:
        bench([artifact], device="adb:all", output=tmp_path, **(QUICK | {"threads": (1, 2)}))
    for phone in caught.value.phones:
        number, name = faulty[phone.about.model]
        assert "wrong answers, so no latency: picture 3, class c0: " in phone.problem
        where = f"beyond the limit (with {name}); the device answers differently from pass"
        assert where in phone.problem
        (kept,) = phone.measurements
        assert not kept.valid
        assert not kept.golden.passed
        assert kept.golden.pass_difference == pytest.approx(0.002, rel=1e-3)
        passes = [True] * len(kept.golden.passes)
        passes[number] = False
        assert [one.passed for one in kept.golden.passes] == passes
        assert bool(kept.series) == (number == 2), "what was timed before stays in the file"
        assert latency_samples(kept) == []


def test_a_stop_ends_every_program_and_lets_each_tidy_up(tmp_path, monkeypatch):
    tidied = []

    def work(name):
        try:
            run_bounded(["sh", "-c", f"touch {tmp_path}/{name}; sleep 600"], timeout=600)
        finally:
            run_bounded(["true"], timeout=60)
            tidied.append(name)

    def stopped(futures):
        """Ctrl-C reaches the thread that waits, once both are at work."""
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(phones, "wait", stopped)
    with pytest.raises(KeyboardInterrupt):
        phones.at_once(work, ["a", "b"])
    assert sorted(tidied) == ["a", "b"]
