"""The C++ runner on this machine: answers, phases, failures, and the parsers of what
devices tell.
"""

import itertools
import shlex

import numpy as np
import pytest
from fixtures.bench import CLASSES, PICTURES, has_every_phase, tiny_artifact

from mobilekd.cli import commands
from mobilekd.formats.artifact import open_artifact
from mobilekd.formats.measurement import Conditions
from mobilekd.runners import android_state, get, host, linux_state, program
from mobilekd.runners.adb_client import remedy
from mobilekd.runners.base import DeviceError, Setting
from mobilekd.runners.golden_passes import REPEATS, GoldenPasses, compare_golden
from mobilekd.runners.native import build
from mobilekd.runners.session import Plan, energy, settings, too_hot
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.process import CompletedCommand


@pytest.fixture(scope="session")
def artifact(tmp_path_factory):
    return open_artifact(tiny_artifact(tmp_path_factory.mktemp("a") / "tiny; it's"))


def test_host_answers_equal_the_python_runtimes(artifact):
    golden = artifact.golden()
    np.testing.assert_array_equal(host.answers(artifact.model, golden.inputs), golden.probabilities)
    np.testing.assert_array_equal(
        host.answers(artifact.model, golden.inputs.astype(np.float32), floats=True),
        golden.probabilities,
    )


def test_a_measurement_has_every_phase(artifact):
    has_every_phase(artifact)


def test_sustained_offsets_rise_and_fill_the_time(artifact):
    started = []
    reading = get("host").measure(
        artifact, Setting(threads=1, samples=0, seconds=0.3), watch=lambda: started.append(1)
    )
    offsets = [block.offset_ns for block in reading.sustained.blocks]
    assert started == [1]
    assert offsets[0] == 0
    assert offsets[-1] < 0.3e9 <= reading.sustained.length_ns
    assert all(a < b for a, b in itertools.pairwise(offsets))


def test_memory_pass(artifact):
    memory = get("host").memory(artifact, 1)
    assert memory.peak_rss_bytes >= memory.baseline_rss_bytes > 1e6


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda model: model.write_bytes(b""), "missing, empty or not readable"),
        (lambda model: model.write_bytes(b"no program at all"), "not an ExecuTorch program"),
        (lambda model: model.write_bytes(model.read_bytes()[:3000]), "truncated or damaged"),
    ],
)
def test_a_bad_model_is_one_line(artifact, tmp_path, spoil, line):
    model = tmp_path / "model.pte"
    model.write_bytes(artifact.model.read_bytes())
    spoil(model)
    with pytest.raises(DeviceError, match=line):
        host.answers(model, artifact.golden().inputs)


def test_inputs_that_do_not_fit_are_refused(artifact):
    with pytest.raises(DeviceError, match="not a whole number of the model's inputs"):
        host.answers(artifact.model, artifact.golden().inputs[:, :, :-1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_never_reach_the_model(artifact, value):
    inputs = artifact.golden().inputs.astype(np.float32)
    inputs[3, 1, 2, 2] = value
    with pytest.raises(DeviceError, match="is not finite"):
        host.answers(artifact.model, inputs, floats=True)


def test_unknown_options_are_refused():
    finished = program.run(
        [build.host_bundle() / build.PROGRAM, "measure", "x", "--thread", "2"], timeout=20
    )
    assert (finished.code, finished.stderr) == (
        2,
        "mobilekd-runner: --thread: unknown option, or its value is missing\n",
    )


def test_a_program_that_hangs_is_ended():
    with pytest.raises(DeviceError, match="sleep: no end after 0 s"):
        program.run(["sleep", "20"], timeout=0.2)


GOOD = '{"count":1}'


@pytest.mark.parametrize(
    ("code", "stdout", "stderr", "line"),
    [
        (0, f"{program.JSON}{GOOD}\n", "", "cut short"),
        (0, f"{program.JSON}{GOOD[:5]}\n{program.END}\n", "", "damaged"),
        (-9, "", "", "killed by the system"),
        (137, "", "Killed\n", "killed by the system"),
        (132, "", "Illegal instruction\n", "lacks an instruction"),
        (5, "mobilekd-runner: boom\n", "", "D: boom"),
        (5, "mobilekd-runner: \x1b[31mred\u202e\n", "", r"D: \\x1b\[31mred\\u202e$"),
        (5, "mobilekd-runner: " + "x" * 10**6, "", r"D: x{100,600}\.\.\.$"),
        (1, "", "linker: no such file\n", "code 1: linker: no such file"),
    ],
)
def test_a_failed_run_is_one_line(code, stdout, stderr, line):
    with pytest.raises(DeviceError, match=line) as caught:
        program.document(CompletedCommand(code, stdout, stderr), "D")
    assert "\n" not in str(caught.value)


HOSTILE = {
    "nested": "[" * 10**6,
    "an object nested": '{"count":' * 10**5,
    "infinite": '{"count": Infinity}',
    "infinite by its exponent": '{"count": 1e999}',
    "not a number": '{"count": NaN}',
    "huge": '{"count": ' + "9" * 5000 + "}",
    "a list": "[1]",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_json_that_is_none_is_damaged(name):
    text = f"{program.JSON}{HOSTILE[name]}\n{program.END}\n"
    with pytest.raises(DeviceError, match=r"^D: the runner's answer arrived damaged"):
        program.document(CompletedCommand(0, text, ""), "D")


@pytest.mark.parametrize(
    "answer",
    [
        {"count": -1, "widths": [7]},
        {"count": 2, "widths": [-7]},
        {"count": 2, "widths": []},
        {"count": 2, "widths": {}},
        {"count": 2, "widths": 7},
        {"count": 0, "widths": [7]},
        {"count": 2.5, "widths": [7]},
        {"count": "2", "widths": [7]},
        {"count": True, "widths": [7]},
        {"count": 2**62, "widths": [2**62]},
        {"count": 1, "widths": [1] * 1000},
        {"count": 1, "widths": [[1]]},
        {"widths": [7]},
        {},
    ],
)
def test_a_shape_that_cannot_be_is_damaged(answer):
    with pytest.raises(DeviceError, match=r"^D: .*check the cable and run again$"):
        program.answer_array(bytes(8), answer, "D")


@pytest.mark.parametrize(
    "change",
    [
        {"samples_ns": [-1]},
        {"samples_ns": [2**63]},
        {"samples_ns": None},
        {"samples_ns": [[1]]},
        {"samples_ns": {}},
        {"first_inference_ns": -1},
        {"steady_rule": 3},
        {"threads_in_effect": "many"},
    ],
)
@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_reading_that_cannot_be_is_damaged(change, seconds):
    answer = {
        "file_load_ns": 1,
        "method_load_ns": 1,
        "first_inference_ns": 1,
        "threads_in_effect": 1,
        "warmup_ns": [],
        "steady_rule": "",
        "offsets_ns": [0],
        "samples_ns": [1],
    }
    setting = Setting(threads=1, samples=1, seconds=seconds)
    assert program.reading(answer, setting, "D")
    if seconds and change.keys() & {"steady_rule", "threads_in_effect"}:
        return  # a sustained part has neither
    with pytest.raises(DeviceError, match=r"^D: .*check the cable and run again$"):
        program.reading(answer | change, setting, "D")


def test_an_answers_file_without_end_is_not_read(tmp_path):
    with (tmp_path / "big").open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(DeviceError, match="more than any golden set's"):
        program.read_answers(tmp_path / "big", "D")
    with pytest.raises(DeviceError, match="left no answers"):
        program.read_answers(tmp_path / "none", "D")


def test_foreign_lines_are_passed_over():
    text = f"WARNING: x\n{program.JSON}{GOOD}\nnoise\n{program.END}\n"
    assert program.document(CompletedCommand(0, text, ""), "D") == {"count": 1}


@pytest.mark.parametrize("device", ["hosts", "qemu", "qemu:", "qemu:z80", "phone", ""])
def test_unknown_devices_are_refused(device):
    with pytest.raises(UserError):
        get(device)


def test_only_phones_have_the_app():
    with pytest.raises(UserError, match="only phones have the app"):
        get("host", "app")


def test_without_the_emulator_the_remedy_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CannotRunHere, match="apt-get install"):
        get("qemu:cortex-a53")
    with pytest.raises(CannotRunHere, match="apt-get install adb"):
        get("adb")


def test_the_sweep_covers_big_cores_as_far_as_there_are_some():
    plan = Plan(threads=(1, 2, 4), samples=200)
    assert [(s.threads, s.cores) for s in settings(plan, "6,7")] == [
        (1, "all"),
        (2, "all"),
        (4, "all"),
        (1, "6,7"),
        (2, "6,7"),
    ]
    assert {s.samples for s in settings(plan, "")} == {50}


def test_golden_comparison_names_the_worst_place():
    expected = np.full((PICTURES, CLASSES), 1 / CLASSES, np.float32)
    answers = expected.copy()
    answers[4, 2] += 0.25
    labels = [f"c{i}" for i in range(CLASSES)]
    check = compare_golden(answers, expected, 0.01, labels)
    assert not check.passed
    assert check.detail.startswith("picture 4, class c2: 0.3929 instead of 0.1429; 1 of 6 pictures")
    assert compare_golden(expected, expected, 0.0, labels).passed
    answers[:] = np.nan
    assert not compare_golden(answers, expected, 1e9, labels).passed
    assert not compare_golden(expected[:, :3], expected, 1e9, labels).passed


class Answering:
    """A device whose answers to the golden set are the right ones and what is added in each
    pass.
    """

    def __init__(self, golden, added):
        self.golden, self.added = golden, iter(added)

    def answers(self, artifact, inputs, threads=1):
        return self.golden.probabilities + next(self.added)


def passes(artifact, *added):
    """The check over passes with 1 and 2 threads, and with 2 on the hot device."""
    taken = GoldenPasses(artifact)
    device = Answering(artifact.golden(), added)
    for number, _ in enumerate(added):
        check = taken.take(device, min(number + 1, 2), after_load=number == 2)
    return check


def at(row, column, value):
    """Zeros but for one probability."""
    added = np.zeros((PICTURES, CLASSES), np.float32)
    added[row, column] = value
    return added


def test_a_device_that_answers_alike_passes(artifact):
    check = passes(artifact, *[at(0, 0, 0.0)] * 3)
    assert check.passed
    assert check.detail == ""
    assert check.pass_difference == 0.0
    assert [one.name for one in check.passes] == [
        "1 thread",
        "2 threads",
        "2 threads after the timed runs",
    ]
    rounding = passes(artifact, at(0, 0, 0.0), at(1, 1, REPEATS / 3))
    assert rounding.passed
    assert 0 < rounding.pass_difference < REPEATS


def test_a_difference_within_the_limit_but_between_passes_is_refused(artifact):
    limit = artifact.golden().index.max_error
    check = passes(artifact, at(0, 0, 0.0), at(3, 2, limit / 2), at(3, 2, 0.0))
    assert all(one.passed for one in check.passes)
    assert not check.passed
    assert check.max_error == pytest.approx(limit / 2, rel=0.01)
    assert check.pass_difference == pytest.approx(limit / 2, rel=0.01)
    assert check.detail.startswith(
        "the device answers differently from pass to pass: picture 3, class c2: "
    )
    assert "with 1 thread, " in check.detail
    assert check.detail.endswith(" with 2 threads; 1 of 6 pictures differ")


def test_a_wrong_pass_is_named_unless_all_are_wrong_alike(artifact):
    hot = passes(artifact, at(0, 0, 0.0), at(0, 0, 0.0), at(4, 1, 0.5))
    assert not hot.passed
    assert hot.detail.startswith("picture 4, class c1: ")
    assert "beyond the limit (with 2 threads after the timed runs); the device" in hot.detail
    alike = passes(artifact, *[at(4, 1, 0.5)] * 3)
    assert alike.detail.endswith("1 of 6 pictures beyond the limit")
    none = passes(artifact, at(0, 0, 0.0), at(2, 2, np.nan))
    assert none.detail == "picture 2: not a finite number (with 2 threads)"
    assert none.max_error is None


def test_heat_spoils_a_measurement():
    assert too_hot(Conditions(utc="", thermal_status=1, battery_celsius=39.9)) == ()
    assert too_hot(Conditions(utc="")) == ()
    assert "thermal status 2, moderate" in too_hot(Conditions(utc="", thermal_status=2))[0]
    assert "battery" in too_hot(Conditions(utc="", battery_celsius=41.0))[0]


def test_energy_counts_only_off_the_cable_and_above_the_counters_step():
    def at(charge, charging=False):
        return Conditions(utc="", charge_uah=charge, voltage_mv=4000, charging=charging)

    found = energy(at(3_000_000), at(2_990_000), [2_996_000, 2_992_000], 1000, 300)
    assert found.joules == pytest.approx(0.010 * 3600 * 4.0)
    assert found.joules_per_inference == pytest.approx(found.joules / 1000)
    assert found.resolution_uah == 2000
    assert energy(at(3_000_000), at(3_000_000), [], 1000, 300).joules is None
    assert "charging" in energy(at(3_000_000, True), at(2_990_000), [], 1, 1).reason
    assert energy(Conditions(utc=""), at(1), [], 1, 1) is None


def test_what_a_kernel_does_not_tell_is_absent():
    assert linux_state.state({}) == {"frequency_khz": ()}
    assert linux_state.big_cores({}) == ""
    assert linux_state.hardware({}) == {"cores": 0, "cpu_features": (), "memory_bytes": None}
    assert android_state.conditions("garbage\n## battery\n  level: x\n").battery_percent is None


def test_states_are_read_in_their_units():
    text = "\n".join(
        [
            "/sys/devices/system/cpu/cpu10/cpufreq/scaling_cur_freq:900000",
            "/sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq:1800000",
            "/sys/class/thermal/thermal_zone0/type:x86_pkg_temp",
            "/sys/class/thermal/thermal_zone0/temp:51000",
            "/sys/class/thermal/thermal_zone1/type:skin",
            "/sys/class/thermal/thermal_zone1/temp:99000",
            "/sys/class/power_supply/AC/type:Mains",
            "/sys/class/power_supply/BAT:0/type:Battery",
            "/sys/class/power_supply/BAT:0/temp:305",
            "/sys/class/power_supply/BAT:0/status:Discharging",
        ]
    )
    state = linux_state.state(linux_state.parse(text))
    assert state == {
        "frequency_khz": (1800000, 900000),
        "soc_celsius": 51.0,
        "battery_celsius": 30.5,
        "charging": False,
    }


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (
            "error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\n",
            "tap Allow",
        ),
        (
            "no permissions (missing udev rules? user is in the plugdev group)",
            "may not open the USB device",
        ),
        ("offline", "offline; replug"),
        (
            "adb: error: failed to copy 'a' to 'b': remote write failed: No space left on device",
            "storage is full",
        ),
        ("error: more than one device/emulator", "set ANDROID_SERIAL, or"),
        ("error: device 'x' not found", "not connected"),
        ("something new", "something new; check the connection"),
        ("", "without a word"),
    ],
)
def test_adbs_words_become_advice(words, advice):
    assert advice in remedy(words)


def test_the_phone_owners_page_speaks_our_words(checkout):
    """Every failure it explains is one that we say, and every command of it is one that we have."""
    page = (checkout / "benchmarks/phone.md").read_text(encoding="utf-8")
    said = "".join(
        path.read_text(encoding="utf-8")
        for path in [
            *(checkout / "mobilekd/runners").glob("*.py"),
            checkout / "mobilekd/commands/bench.py",
            checkout / "mobilekd/support/process.py",
        ]
    )
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 8
    for phrase in (part for row in rows for part in row.split(", ")):
        assert phrase in said, phrase
    typed = [line.strip() for line in page.splitlines() if line.startswith("    mobilekd ")]
    assert len(typed) >= 5
    for line in typed:
        commands().parse(shlex.split(line)[1:])
