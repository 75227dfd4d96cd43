"""``--via app``: our side of the contract with the app's benchmark entry, over the real adb. The
app's side is tested with the app.
"""

import base64
import json

import pytest

from mobilekd.commands.bench import bench
from mobilekd.formats.artifact import open_artifact
from mobilekd.formats.measurement import read_measurement
from mobilekd.support.errors import UserError

QUICK = {"device": "adb", "via": "app", "threads": (1,), "samples": 21, "cool_wait": 0.0}
SHA_OF_ANOTHER = "0" * 64


@pytest.fixture
def app(connect, artifact):
    """A phone with the app installed, and a function that sets what the app answers in a mode."""
    phone = connect()
    folder = phone.root / "system/etc/app"
    folder.mkdir()
    opened = open_artifact(artifact)
    sha, golden = opened.manifest.files["model.pte"], opened.golden()
    common = {
        "mobilekd_app": 1,
        "model_sha256": sha,
        "apk_sha256": "a" * 64,
        "versions": {"app": "0.1.0", "executorch": "1.5.1"},
    }
    answers = base64.b64encode(golden.probabilities.astype("<f4").tobytes()).decode()
    count, classes = golden.probabilities.shape
    rule = "windows of 10; steady when a window's median is within 2% of the one before"
    series = {
        "threads_asked": 1,
        "threads_in_effect": 1,
        "warmup_ns": [9] * 20,
        "steady_rule": rule,
        "samples_ns": [7] * 7,
    }
    documents = {
        "identify": {},
        "golden": {"count": count, "classes": classes, "answers": answers},
        "measure": {
            "cold": {"file_load_ns": 1, "method_load_ns": 2, "first_inference_ns": 3},
            "series": series,
            "pipeline": {"decode_ns": [4], "resize_ns": [3], "execute_ns": [2], "post_ns": [1]},
            "memory": {"baseline_rss_bytes": 1, "peak_rss_bytes": 3, "pss_bytes": 2},
            "sustained": None,
        },
    }

    def say(mode, **fields):
        (folder / f"{mode}.json").write_text(
            json.dumps(common | documents[mode] | fields), encoding="utf-8"
        )

    for mode in documents:
        say(mode)
    return phone, folder, say


def test_measure_through_the_app(app, artifact, tmp_path):
    phone, _, _ = app
    (measurement,) = bench([artifact], output=tmp_path / "r.json", **QUICK)
    assert measurement.valid
    assert measurement.via == "app"
    assert len(measurement.cold) >= 3
    assert measurement.pipeline.decode_ns == (4, 4, 4)
    assert measurement.memory.pss_bytes == 2
    assert measurement.versions["executorch (app)"] == "1.5.1"
    assert measurement.versions["apk sha256"] == "a" * 64
    calls = (phone.root / "sdcard/am.log").read_text()
    assert "-e model" not in calls, "the app has this model inside"
    assert list(phone.storage.iterdir()) == []


def test_another_model_inside_the_app_gets_the_artifacts_pushed(app, artifact, tmp_path):
    phone, _, say = app
    say("identify", model_sha256=SHA_OF_ANOTHER)
    bench([artifact], output=tmp_path / "r.json", **QUICK)
    assert "-e model /data/local/tmp/mobilekd-" in (phone.root / "sdcard/am.log").read_text()
    assert list(phone.storage.iterdir()) == []


def refused(artifact, tmp_path):
    with pytest.raises(UserError) as caught:
        bench([artifact], output=tmp_path / "r.json", **QUICK)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_app_that_runs_another_model_than_asked_is_caught(app, artifact, tmp_path):
    _, _, say = app
    say("measure", model_sha256=SHA_OF_ANOTHER)
    assert "the app ran another model" in refused(artifact, tmp_path)
    assert not read_measurement(tmp_path / "r.json").valid


def test_wrong_answers_of_the_app(app, artifact, tmp_path):
    _, _, say = app
    say("golden", answers=base64.b64encode(bytes(6 * 7 * 4)).decode())
    assert "wrong answers, so no latency" in refused(artifact, tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("measure.error", "the model does not load", "the app says: the model does not load"),
        ("crashed", "", "the app crashed while it measured"),
        ("measure.json", "{}", "the app's answer cannot be read"),
        ("measure.json", '{"mobilekd_app": 1, "model_sha256": "?"}', "the app ran another model"),
        ("golden.json", "not json", "the app's answer cannot be read"),
        ("golden.json", "[" * 100_000, "the app's answer cannot be read"),
        ("golden.json", '{"mobilekd_app": Infinity}', "the app's answer cannot be read"),
        ("identify.json", '{"mobilekd_app": 1, "versions": 3}', "the app's answer cannot be read"),
        ("measure.error", "a\x1b[2Jb", "the app says: a\\x1b[2Jb"),
    ],
)
def test_a_failing_app_is_one_line(app, artifact, tmp_path, file, text, line):
    phone, folder, _ = app
    (folder / file).write_text(text, encoding="utf-8")
    assert line in refused(artifact, tmp_path)
    assert list(phone.storage.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "fields", "line"),
    [
        ("golden", {"count": -6}, "the app's answers cannot be read"),
        ("golden", {"count": 10**18}, "the app's answers cannot be read"),
        ("golden", {"classes": 0}, "the app's answers cannot be read"),
        ("golden", {"answers": 3}, "the app's answers cannot be read"),
        ("measure", {"cold": [1]}, "not a valid measurement: "),
        ("measure", {"series": {"samples_ns": [-1]}}, "not a valid measurement: "),
        ("measure", {"memory": "much"}, "not a valid measurement: "),
        ("measure", {"pipeline": 4}, "not a valid measurement: "),
    ],
)
def test_an_app_that_answers_nonsense_is_one_line(app, artifact, tmp_path, mode, fields, line):
    _, _, say = app
    say(mode, **fields)
    assert line in refused(artifact, tmp_path)


def test_a_lost_app_is_stopped_and_leaves_nothing(app, artifact, tmp_path):
    """It would go on measuring for minutes, on a phone that somebody picks up again."""
    phone, folder, _ = app
    (folder / "refused").touch()  # the activity's way, whose answer lies in a file
    phone.faults.on, phone.faults.vanish_after = "mode measure", 0
    assert "connection was lost" in refused(artifact, tmp_path)
    assert read_measurement(tmp_path / "r.json").golden.passed
    assert "force-stop org.mobilekd.demo" in (phone.root / "sdcard/am.log").read_text()
    assert list((phone.root / "sdcard").rglob("bench.json")) == []
    assert list(phone.storage.iterdir()) == []


def test_where_instrumentation_is_refused_the_activity_serves(app, artifact, tmp_path):
    _, folder, _ = app
    (folder / "refused").touch()
    (measurement,) = bench([artifact], output=tmp_path / "r.json", **QUICK)
    assert measurement.valid


def test_without_the_app(connect, artifact, tmp_path):
    connect()
    assert "the demo app is not installed; mobilekd apk ARTIFACT --install" in refused(
        artifact, tmp_path
    )


def test_shell_and_app_are_never_compared(app, artifact, tmp_path):
    bench([artifact], output=tmp_path / "app.json", **QUICK)
    with pytest.raises(UserError, match="shell and app are never compared"):
        bench(
            [artifact],
            output=tmp_path / "shell.json",
            baseline=tmp_path / "app.json",
            **(QUICK | {"via": "shell"}),
        )
