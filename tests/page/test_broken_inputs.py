"""What a report does with files that are broken, hostile or disagree: one line, or left out and
said.
"""

import json
import os
from pathlib import Path

import pytest
from fixtures.evaluation import make_run
from fixtures.report import EMULATED, PHONE, make_artifact, make_measurement

from mobilekd.commands.report import report
from mobilekd.page.collect import collect
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json, write_json


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that was not evaluated."""
    return make_run(tmp_path_factory.mktemp("runs"), "tiny")


@pytest.fixture(scope="module")
def measurement(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A measurement as it lies on disk."""
    artifact = make_artifact(tmp_path_factory.mktemp("artifact") / "a", run, "fp32", 16_000)
    return make_measurement(artifact, 4.0).model_dump(mode="json")


def broken_files(good: dict) -> dict[str, bytes]:
    """Files that say they are a measurement and are none, or are no JSON at all."""
    text = json.dumps(good)
    series = good["series"][0]
    return {
        "truncated.json": text[: len(text) // 2].encode(),
        "binary.json": b"\xff\xfe\x00\x01",
        "empty.json": b"",
        "deep.json": b"[" * 100_000,
        "nested.json": json.dumps(good | {"golden": [[[]]]}).encode(),
        "infinite.json": text.replace('"limit": 0.001', '"limit": Infinity').encode(),
        "huge.json": text.replace('"limit": 0.001', f'"limit": 1{"0" * 5000}').encode(),
        "negative.json": json.dumps(
            good | {"series": [series | {"samples_ns": [-1, 2, 3]}]}
        ).encode(),
        "twice.json": text.replace('"valid": true', '"valid": true, "valid": false', 1).encode(),
        "evaluation.json": b'{"kind": "evaluation", "metrics": 3}',
        "comparison.json": b'{"kind": "comparison", "groups": []}',
    }


def test_broken_files_in_a_folder_are_left_out_and_said(
    measurement: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "in" / "good.json", measurement)
    files = broken_files(measurement)
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    page = report([tmp_path / "in"], tmp_path / "report.html")
    said = capsys.readouterr().err
    left_out = json.loads(page.with_suffix(".json").read_text())["left_out"]
    assert len(left_out) == len(files)
    for name in files:
        for text in (page.read_text(), page.with_suffix(".md").read_text(), said, str(left_out)):
            assert name in text, name
    assert f"Left out: {len(files)}." in page.read_text()
    assert all(len(line) < 600 for line in left_out)


def test_a_broken_file_that_was_named_is_refused(measurement: dict, tmp_path: Path) -> None:
    for name, content in broken_files(measurement).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as caught:
            report([tmp_path / name], tmp_path / "report.html")
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("report.*"))


def test_only_broken_files_make_no_page(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.json").write_text("{")
    with pytest.raises(UserError, match=r"no run, artifact.*x\.json"):
        report([tmp_path / "in"], tmp_path / "report.html")


def test_what_is_no_file_is_not_waited_for(measurement: dict, tmp_path: Path) -> None:
    """A pipe would be read for ever, a link to its own folder walked for ever."""
    folder = tmp_path / "in"
    write_json(folder / "good.json", measurement)
    os.mkfifo(folder / "pipe.json")
    (folder / "gone.json").symlink_to(tmp_path / "nothing")
    (folder / "round").symlink_to(folder)
    inputs = collect([folder])
    assert len(inputs.measurements) == 1
    assert sorted(line.split(":")[0].rsplit("/")[-1] for line in inputs.left_out) == [
        "gone.json",
        "pipe.json",
    ]
    with pytest.raises(UserError, match="not a regular file"):
        collect([folder / "pipe.json"])
    with pytest.raises(UserError, match="check the path"):
        collect([tmp_path / ("long" * 100)])


def test_the_same_result_in_two_files_counts_once(measurement: dict, tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        write_json(tmp_path / name, measurement)
    inputs = collect([tmp_path])
    assert len(inputs.measurements) == 1
    assert inputs.left_out == (f"{tmp_path / 'b.json'}: the same result as in another file here",)


def test_a_broken_line_of_the_training_log_is_named(run: Path) -> None:
    log = run / "metrics.jsonl"
    good = '{"epoch": 1, "balanced_accuracy": 0.5, "loss.hinton": 2.0}\n'
    for text, words in (
        (good + '{"epoch": 2, "bal', "line 2: not JSON"),
        (good + "[]\n", "line 2: not a valid epoch"),
        ('{"epoch": 0}\n', "line 1: not a valid epoch"),
        ('{"epoch": 1, "balanced_accuracy": NaN}\n', "line 1: not JSON"),
    ):
        log.write_text(text)
        with pytest.raises(UserError, match=words):
            collect([run])
    log.write_text(good)
    (trained,) = collect([run]).runs
    assert [(one.epoch, one.balanced_accuracy) for one in trained.epochs] == [(1, 0.5)]
    log.unlink()


def test_an_unfinished_run_and_a_control_that_is_not_here_are_said(run: Path) -> None:
    root = run.parent
    (root / "begun").mkdir()
    (root / "begun" / "checkpoint.pt").write_bytes(b"x")
    info = read_json(run / "run.json", "run")
    write_json(run / "run.json", info | {"control": "nowhere"})
    left_out = collect([root]).left_out
    write_json(run / "run.json", info)
    assert any("begun: a run that is not finished" in line for line in left_out)
    assert any(
        "controls of 1 students are not here" in line and "tiny" in line for line in left_out
    )


def test_hostile_names_are_seen_and_harmless(measurement: dict, tmp_path: Path) -> None:
    names = {
        "maker": "<img src=x onerror=alert(1)>",
        "model": "bell\x07 \u202egnorw\u202c \u2069\u2069",
        "os": "w" * 5000,
    }
    device = {**measurement["device"], **names}
    write_json(tmp_path / "m.json", measurement | {"device": device, "artifact": "a|b\x1b[31m`c"})
    page = report([tmp_path], tmp_path / "report.html")
    for text in (page.read_text(), page.with_suffix(".md").read_text()):
        assert "<img" not in text
        assert not set("\x07\x1b\u202e") & set(text)
        assert "\\x07" in text
        assert "\\u202e" in text
        assert "w" * 200 not in text
        assert text.count("\u2068") == text.count("\u2069")
    assert "a\\|b" in page.with_suffix(".md").read_text()


def test_names_in_other_writings_stay_what_they_are(measurement: dict, tmp_path: Path) -> None:
    device = {**measurement["device"], "model": "Größe 7 – 写真"}
    write_json(tmp_path / "m.json", measurement | {"device": device})
    assert "Größe 7 – 写真" in report([tmp_path], tmp_path / "report.html").read_text("utf-8")


def test_what_has_no_place_in_a_table_is_named_with_its_count(run: Path, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "a", run, "fp32", 16_000)
    known = make_measurement(artifact, 4.0)
    stranger = known.model_copy(update={"artifact": "stranger", "artifact_sha256": "f" * 64})
    for number, one in enumerate(
        (
            known,
            stranger,
            make_measurement(artifact, 4.0, device=PHONE, valid=False),
            make_measurement(artifact, 4.0, device=EMULATED),
            make_measurement(artifact, 4.0, device=PHONE, passed=False),
        )
    ):
        write_json(tmp_path / f"{number}.json", one.model_dump(mode="json"))
    page = report([run, tmp_path], tmp_path / "report.html").read_text("utf-8")
    for words in (
        "Not evaluated: 1.",
        "No figures for tiny;",
        "Without latency, 2 of 5: tiny-xnnpack-fp32 on",
        "1 of 3, kept and marked",
        "Measured and not here: 1 whose accuracy is not known here",
        "): stranger.",
    ):
        assert words in page, words
