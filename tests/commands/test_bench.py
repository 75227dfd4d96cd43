"""``bench`` on this machine: what is written, in which order, what is refused, and how a baseline
judges.
"""

import json
import re
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from fixtures.bench import spoil_answers, tiny_artifact

from mobilekd.cli import main
from mobilekd.commands.bench import Regression, bench
from mobilekd.commands.devices import devices
from mobilekd.formats.integrity import write_sealed
from mobilekd.formats.measurement import Measurement, Sustained, read_measurement
from mobilekd.runners.base import DeviceError
from mobilekd.runners.baseline import baseline_ratios, judge
from mobilekd.runners.host import HostRunner
from mobilekd.support.errors import UserError

QUICK = {"threads": (1,), "samples": 21}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("artifacts")
    first = tiny_artifact(place / "one")
    second = place / "two"
    shutil.copytree(first, second)
    document = json.loads((second / "manifest.json").read_text())
    write_sealed(second / "manifest.json", {**document, "name": "other"})
    return first, second


@pytest.fixture(scope="session")
def measured(folders, tmp_path_factory):
    """Two artifacts, two thread counts, in one session."""
    output = tmp_path_factory.mktemp("results")
    return bench(folders, threads=(1, 2), samples=30, minutes=0.003, output=output), output


def test_files_hold_what_is_returned(measured):
    measurements, output = measured
    assert sorted(path.name for path in output.iterdir()) == [
        "other-xnnpack-fp32.json",
        "tiny-xnnpack-fp32.json",
    ]
    for measurement in measurements:
        assert read_measurement(output / f"{measurement.artifact}.json") == measurement


def test_files_obey_the_published_schema(measured):
    schema = Measurement.model_json_schema()
    for path in measured[1].iterdir():
        jsonschema.validate(json.loads(path.read_text()), schema)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (("series", 0, "samples_ns", 3), -5, "series"),
        (("series", 0, "samples_ns"), None, "series"),
        (("cold", 0, "first_inference_ns"), "soon", "cold"),
        (("sustained", "offsets_ns"), [1], "unknown key sustained.offsets_ns"),
        (("via",), "guess", "via"),
        (("extra",), 1, "unknown key extra"),
        (("series", 0, "samples_ns", 0), 0, "series"),
        (("before", "load"), float("nan"), "NaN is no JSON number"),
        (("golden", "max_error"), float("inf"), "Infinity is no JSON number"),
        (("energy",), {"joules": "much"}, "energy"),
        (("energy",), {"watts": 3}, "unknown key energy.watts"),
    ],
)
def test_a_damaged_file_is_refused_with_the_key(measured, tmp_path, key, value, words):
    document = json.loads((measured[1] / "tiny-xnnpack-fp32.json").read_text())
    place = document
    for part in key[:-1]:
        place = place[part]
    place[key[-1]] = value
    (tmp_path / "r.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=rf"not a (valid|readable) measurement.*{words}") as caught:
        read_measurement(tmp_path / "r.json")
    assert "\n" not in str(caught.value)


def test_a_newer_file_asks_for_a_newer_mobilekd(measured, tmp_path):
    """Measuring again would not help its reader."""
    file = written(
        json.loads((measured[1] / "tiny-xnnpack-fp32.json").read_text()),
        tmp_path / "r.json",
        schema_version=3,
    )
    with pytest.raises(
        UserError, match=r"version 3, this mobilekd reads version 2; update mobilekd$"
    ):
        read_measurement(file)


def test_minutes_of_a_fast_model_fit_into_a_file_that_can_be_sent():
    """Each block holds a hundredth of the time, and none of the inferences is lost from its sum."""
    count = 250_000
    load = Sustained.of(1, range(0, 4 * count, 4), [1, 3] * (count // 2))
    assert load.inferences == count
    assert load.length_ns == 4 * count - 1
    assert len(load.blocks) == 100
    assert load.blocks[1].model_dump() == {
        "offset_ns": 10_000,
        "count": 2500,
        "least_ns": 1,
        "p10_ns": 1,
        "median_ns": 2,
        "p90_ns": 3,
        "most_ns": 3,
    }
    assert len(json.dumps(load.model_dump())) < 20_000
    assert Sustained.of(1, (), ()).blocks == ()


def test_a_sustained_part_of_version_1_is_summed_up_as_it_is_read(measured, tmp_path):
    document = json.loads((measured[1] / "tiny-xnnpack-fp32.json").read_text())
    load = document["sustained"]
    del load["blocks"], load["length_ns"]
    load |= {"offsets_ns": [0, 50, 60], "samples_ns": [20, 10, 40], "every": 3}
    file = written(document, tmp_path / "r.json", schema_version=1)
    read = read_measurement(file).sustained
    assert (read.inferences, read.length_ns) == (9, 100)
    assert [(block.offset_ns, block.median_ns) for block in read.blocks] == [
        (0, 20),
        (50, 10),
        (60, 40),
    ]
    load["offsets_ns"] = [0]
    with pytest.raises(UserError, match=r"sustained: .*1 offsets for 3 samples"):
        read_measurement(written(document, tmp_path / "r.json", schema_version=1))


def test_the_command_line_prints_a_row_per_setting(folders, tmp_path, capsys):
    words = [
        "bench",
        *map(str, folders),
        "--threads",
        "1,2",
        "--samples",
        "20",
        "--output",
        str(tmp_path),
    ]
    assert main(words) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["ARTIFACT", "DEVICE", "THREADS", "P50"]
    assert [row.split()[0] for row in rows] == ["tiny-xnnpack-fp32"] * 2 + [
        "other-xnnpack-fp32"
    ] * 2
    assert all("21 in 3 processes" in row for row in rows)


def test_all_is_interleaved_and_nothing_is_lost(measured):
    measurements, _ = measured
    assert len({measurement.session for measurement in measurements}) == 1
    orders = [series.order for measurement in measurements for series in measurement.series]
    assert sorted(orders) == list(range(12))
    for measurement in measurements:
        assert [series.order for series in measurement.series] == sorted(
            series.order for series in measurement.series
        )
        for threads in (1, 2):
            places = [
                series.order for series in measurement.series if series.threads_asked == threads
            ]
            assert len(places) == 3
            assert abs(np.mean(places) - 5.5) < 1.5, (
                "drift over the session would favour this setting"
            )
            assert (
                sum(
                    len(series.samples_ns)
                    for series in measurement.series
                    if series.threads_asked == threads
                )
                == 30
            )


def test_phases_and_provenance_are_there(measured):
    for measurement in measured[0]:
        assert len(measurement.cold) == 7  # six processes and the sustained one
        assert measurement.memory.peak_rss_bytes > 0
        assert measurement.sustained.inferences > 0
        assert measurement.golden.passed
        assert not measurement.device.emulated
        assert {"executorch", "executorch (exporter)"} <= set(measurement.versions)
        assert "/" not in measurement.command


def test_a_baseline_that_is_equal_passes_and_a_slower_run_fails(
    measured, folders, tmp_path, monkeypatch
):
    # how busy this machine is must not decide
    monkeypatch.setattr("mobilekd.commands.bench.note_busy", lambda *_: None)
    fast = tmp_path / "fast.json"
    document = json.loads((measured[1] / "tiny-xnnpack-fp32.json").read_text()) | {
        "valid": True,
        "reasons": [],
    }
    for series in document["series"]:
        series["samples_ns"] = [max(1, ns // 20) for ns in series["samples_ns"]]
        series["valid"] = True
    fast.write_text(json.dumps(document))
    with pytest.raises(Regression, match=r"times the baseline, above --fail-above 1.05") as caught:
        bench(folders[:1], baseline=fast, fail_above=1.05, output=tmp_path / "new.json", **QUICK)
    assert caught.value.regressions["1 thread"].low > 1
    assert (tmp_path / "new.json").exists(), "what was measured is kept"
    slow = tmp_path / "slow.json"
    for series in document["series"]:
        series["samples_ns"] = [ns * 400 for ns in series["samples_ns"]]
    slow.write_text(json.dumps(document))
    bench(folders[:1], baseline=slow, fail_above=1.05, output=tmp_path / "new.json", **QUICK)


def written(document, path, **changes):
    """A copy of a measurement's document with other fields."""
    path.write_text(json.dumps(document | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"via": "app"}, "shell and app are never compared"),
        ({"artifact": "stranger-xnnpack-fp32"}, "which is not measured here"),
        ({"series": []}, "has no latency"),
        ({"schema_version": 3}, "measurement of version 3"),
        (
            {"valid": False, "reasons": ["it was busy"]},
            r"marked invalid \(it was busy\), so --fail-above cannot judge",
        ),
    ],
)
def test_an_unfit_baseline_is_refused_before_anything_is_measured(
    measured, folders, tmp_path, monkeypatch, changes, line
):
    document = json.loads((measured[1] / "tiny-xnnpack-fp32.json").read_text())
    monkeypatch.setattr(HostRunner, "measure", None)
    old = written(document, tmp_path / "old.json", **changes)
    with pytest.raises(UserError, match=line):
        bench(folders[:1], baseline=old, fail_above=1.05, output=tmp_path / "new.json", **QUICK)
    assert not (tmp_path / "new.json").exists()


def test_two_processes_bear_no_verdict(measured):
    """With two valid series a bootstrap inside them would call the machine slower than itself."""
    new = measured[0][0].model_copy(update={"valid": True})
    series = [
        one.model_copy(update={"valid": number < 2})
        for number, one in enumerate(s for s in new.series if s.threads_asked == 1)
    ]
    few = new.model_copy(update={"series": tuple(series)})
    ratio = baseline_ratios(few, new)["1 thread"]
    assert ratio.value > 0
    assert (ratio.low, ratio.high) == (None, None)
    assert "fewer than 3 valid processes" in ratio.reason
    with pytest.raises(
        UserError, match=r"fewer than 3 valid processes on one side, so --fail-above cannot judge"
    ):
        judge([few], new, Path("old.json"), 1.05)


def test_a_demanded_gain_that_is_missing_fails(measured):
    """--fail-above 0.9 asks for a tenth less time; as fast as before is not enough, whatever the
    interval.
    """
    new = measured[0][0].model_copy(update={"valid": True})
    spread = [
        one.model_copy(update={"samples_ns": (1000 + n,) * 30, "valid": True})
        for n, one in enumerate(new.series)
    ]
    steady = new.model_copy(update={"series": tuple(spread)})
    judge([steady], steady, Path("old.json"), 1.05)
    with pytest.raises(Regression, match=r"above --fail-above 0\.9"):
        judge([steady], steady, Path("old.json"), 0.9)


def test_no_measurement_overwrites_another_and_a_baseline_stays(folders, tmp_path):
    place = tmp_path / "r.json"
    (first,) = bench(folders[:1], output=place, **QUICK)
    (second,) = bench(folders[:1], output=place, **QUICK)
    (aside,) = [path for path in tmp_path.iterdir() if path != place]
    assert read_measurement(place) == second
    assert read_measurement(aside) == first
    assert re.fullmatch(r"r-\d{8}T\d{6}Z\.json", aside.name)
    (third,) = bench(folders[:1], output=place, baseline=place, **QUICK)
    assert read_measurement(place) == second, "the baseline is not replaced by what it judges"
    assert third in [read_measurement(path) for path in tmp_path.iterdir()]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_place_that_cannot_be_written_is_refused_at_once(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(HostRunner, "measure", None)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file, and 2 artifacts need a folder"):
        bench(folders, output=tmp_path / "file", **QUICK)
    with pytest.raises(UserError, match=r"file cannot be written \(Not a directory\); a file is"):
        bench(folders[:1], output=tmp_path / "file" / "r.json", **QUICK)
    with pytest.raises(UserError, match=r"cannot be written \(File name too long\); choose a sh"):
        bench(folders[:1], output=tmp_path / f"{'r' * 260}.json", **QUICK)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").write_text("x")
    with pytest.raises(UserError, match=r"--output results: .*results cannot be written"):
        bench(folders[:1], **QUICK)


def test_only_what_is_alike_is_compared(measured):
    first, second = measured[0]
    assert set(baseline_ratios(first, second)) == {"1 thread", "2 threads"}
    phone = second.model_copy(update={"device": second.device.model_copy(update={"id": "phone"})})
    with pytest.raises(UserError, match="the baseline is from phone"):
        baseline_ratios(first, phone)
    emulated = second.model_copy(
        update={"device": second.device.model_copy(update={"emulated": True})}
    )
    with pytest.raises(UserError, match="emulated times are no latency"):
        baseline_ratios(first, emulated)


def test_wrong_answers_get_no_latency_and_spare_the_others(folders, tmp_path):
    spoilt = tmp_path / "spoilt"
    shutil.copytree(folders[0], spoilt)
    spoil_answers(spoilt, "spoilt")
    with pytest.raises(UserError, match="wrong answers, so no latency"):
        bench([spoilt, folders[1]], output=tmp_path / "out", **QUICK)
    assert read_measurement(tmp_path / "out/spoilt-xnnpack-fp32.json").series == ()
    assert len(read_measurement(tmp_path / "out/other-xnnpack-fp32.json").series) == 3


@pytest.mark.parametrize(
    "stop",
    [
        DeviceError("host: gone; run again"),
        KeyboardInterrupt(),
        SystemExit(143),
        RuntimeError("ours"),
    ],
)
def test_what_was_measured_before_a_stop_is_kept(folders, tmp_path, monkeypatch, stop):
    """The third process fails: two series stay, marked."""
    measure, calls = HostRunner.measure, []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise stop
        return measure(*arguments, **options)

    monkeypatch.setattr(HostRunner, "measure", failing)
    with pytest.raises(type(stop)):
        bench(folders[:1], output=tmp_path / "r.json", **QUICK)
    kept = read_measurement(tmp_path / "r.json")
    assert len(kept.series) == 2
    assert not kept.valid
    assert "broken off" in kept.reasons[-1]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"threads": ()}, "thread counts"),
        ({"threads": (0,)}, "thread counts"),
        ({"samples": 5}, "at least 20"),
        ({"rounds": 2}, "at least three"),
        ({"minutes": -1.0}, "negative"),
        ({"minutes": float("nan")}, "lies between"),
        ({"samples": 10**8}, "is the most"),
        ({"fail_above": 1.05}, "needs --baseline"),
        ({"device": "phone"}, "unknown device"),
        ({"via": "usb"}, "unknown way"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(folders, tmp_path, options, line):
    with pytest.raises(UserError, match=line) as caught:
        bench(folders[:1], output=tmp_path / "r.json", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r.json").exists()


def test_two_artifacts_of_one_name_are_refused(folders, tmp_path):
    shutil.copytree(folders[0], tmp_path / "copy")
    with pytest.raises(UserError, match="two artifacts are called tiny-xnnpack-fp32"):
        bench([folders[0], tmp_path / "copy"], **QUICK)


def test_a_tampered_artifact_is_refused(folders, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folders[0], copy)
    (copy / "model.pte").write_bytes((copy / "model.pte").read_bytes()[:-1])
    with pytest.raises(UserError, match="does not match its hash"):
        bench([copy], **QUICK)


def test_devices_lists_this_machine_and_what_is_wrong_with_the_rest():
    found = devices()
    assert found[0].device == "host"
    assert found[0].usable
    assert [item.device for item in found][-4:] == [
        "qemu:cortex-a53",
        "qemu:cortex-a76",
        "qemu:neoverse-n1",
        "qemu:a64fx",
    ]
    for item in found:
        assert item.usable == (item.problem == "")
