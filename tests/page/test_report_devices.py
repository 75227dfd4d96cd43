"""The report on several devices, ways, sessions and under load: what is set side by side, and what
bears a verdict.
"""

import json
import re
from pathlib import Path

import pytest
from fixtures.evaluation import make_run
from fixtures.report import (
    EMULATED,
    HOST,
    PHONE,
    make_artifact,
    make_measurement,
    write_measurement,
)

from mobilekd.commands.report import report
from mobilekd.formats.measurement import Measurement
from mobilekd.page.devices import device_name
from mobilekd.page.latency_ratios import latency_ratios
from mobilekd.page.latency_samples import ranges


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One student in two precisions."""
    root = tmp_path_factory.mktemp("artifacts")
    student = make_run(root / "runs", "tiny")
    return {
        "fp32": make_artifact(root / "fp32", student, "fp32", 16_000),
        "int8": make_artifact(root / "int8", student, "int8", 5_600),
    }


def test_two_phones_of_a_model_are_two_devices(artifacts: dict[str, Path], tmp_path: Path) -> None:
    for number, milliseconds in ((1, 4.0), (2, 8.0)):
        device = PHONE.model_copy(update={"id": f"phone-seven-{number}"})
        started = f"2026-01-0{number}T00:00:00Z"
        write_measurement(
            tmp_path,
            make_measurement(artifacts["int8"], milliseconds, device=device, started=started),
            "x",
        )
    page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "report.json").read_text())["differences"] == []
    assert "Phone Seven, via shell (phone-seven-1)" in page
    assert "Phone Seven, via shell (phone-seven-2)" in page


def test_side_by_side_shows_both_ways_onto_one_phone(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    for way, milliseconds in (("shell", 4.0), ("app", 8.0)):
        write_measurement(
            tmp_path, make_measurement(artifacts["int8"], milliseconds, device=PHONE, via=way), way
        )
    page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    chart = page.split("Devices side by side")[1].split("</svg>")[0]
    assert "Phone Seven, via shell</text>" in chart
    assert "Phone Seven, via app</text>" in chart


def test_precisions_are_compared_within_a_session_where_there_is_one(
    artifacts: dict[str, Path],
) -> None:
    together = [
        make_measurement(artifacts[name], ms, session="a")
        for name, ms in (("fp32", 6.0), ("int8", 3.0))
    ]
    later = make_measurement(artifacts["int8"], 5.0, session="b", started="2026-12-01T00:00:00Z")
    found = [one for one in latency_ratios([*together, later]) if one.old.precision == "fp32"]
    assert {one.interleaved for one in found} == {True}
    assert all(one.new.session == "a" for one in found)


def test_two_valid_processes_bear_no_verdict(artifacts: dict[str, Path]) -> None:
    def measured(session: str, milliseconds: float) -> Measurement:
        whole = make_measurement(
            artifacts["int8"],
            milliseconds,
            session=session,
            started=f"2026-01-0{session}T00:00:00Z",
        )
        return whole.model_copy(
            update={"series": tuple(one for one in whole.series if one.threads_asked == 1)[:2]}
        )

    (found,) = latency_ratios([measured("1", 4.0), measured("2", 8.0)])
    assert found.verdict == "no verdict: fewer than 3 valid processes on one side"


def test_drift_under_load_is_told_with_temperature_and_frequency(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    write_measurement(
        tmp_path, make_measurement(artifacts["int8"], 5.0, device=PHONE, sustained=True), "x"
    )
    page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    load = json.loads((tmp_path / "report.json").read_text())["measurements"][0]["sustained"]
    assert load["change"] == pytest.approx(0.29, abs=0.03)
    assert load["frequency_khz"][-1][1] == 1_900_000
    assert "Temperature from 29 to 38 °C." in page
    assert "Frequency of the fastest core from 2850 to 1900 MHz." in page
    assert "2850 to 1900" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_cores_are_written_as_ranges() -> None:
    assert [ranges(text) for text in ("7", "4,5,6,7", "0,4,5,7", "all")] == [
        "7",
        "4–7",
        "0, 4–5, 7",
        "all",
    ]


def test_two_measurements_of_one_minute_are_both_drawn(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    """A label that both share would leave one curve."""
    for second in (10, 40):
        started = f"2026-01-01T00:00:{second}Z"
        write_measurement(
            tmp_path,
            make_measurement(artifacts["int8"], 4.0, started=started, session=started),
            f"r{second}",
        )
    page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    for caption in (
        "Distribution of latency, 1 thread",
        "Every sample, 1 thread",
        "Latency by threads",
        "Cold against warm",
    ):
        chart = page.split(f"<figcaption>{caption}")[1].split("</svg>")[0]
        assert "2026-01-01 00:00:10" in chart
        assert "2026-01-01 00:00:40" in chart


def named(measurement: Measurement, name: str, **changes: object) -> Measurement:
    """The same figures as another student's."""
    return measurement.model_copy(
        update={"artifact": f"{name}-{measurement.backend}-{measurement.precision}", **changes}
    )


def texts(chart: str) -> list[str]:
    """What is written in a picture."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", chart)


def test_every_artifact_of_every_device_has_its_row(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    """Two students of one precision once shared a row, and one of them was not drawn."""
    for device in (PHONE, HOST):
        for name in ("lesionnet", "mobilenet"):
            write_measurement(
                tmp_path, named(make_measurement(artifacts["fp32"], 4.0, device=device), name), name
            )
    page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    rows = texts(page.split("Devices side by side")[1].split("</svg>")[0])
    assert (rows.count("lesionnet fp32"), rows.count("mobilenet fp32")) == (2, 2)


def test_forty_artifacts_are_told_apart(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """No picture has more curves than there are dashes, and no name is cut where it differs from
    the next.
    """
    for number in range(20):
        for precision, path in artifacts.items():
            one = named(
                make_measurement(path, 4.0 + number),
                f"a-student-with-a-rather-long-name-{number}",
                artifact_sha256=f"{number}",
            )
            write_measurement(tmp_path, one, f"{number}{precision}")
    page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    charts = [part.split("</svg>")[0] for part in page.split("<figcaption>")[1:]]
    curves = [chart for chart in charts if chart.startswith("Distribution of latency, 1 thread, ")]
    assert len(curves) == 7
    assert max(chart.count('<path d="M6.0') for chart in curves) == 6
    names = [
        text
        for chart in charts
        if chart.startswith("Every sample")
        for text in texts(chart)
        if text.startswith("a-student")
    ]
    assert len(set(names)) == len(names) == 40


def test_an_emulated_processor_is_not_counted_as_a_device(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    emulated = make_measurement(artifacts["int8"], 9.0, device=EMULATED)
    write_measurement(tmp_path, emulated, "x")
    page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>Answers checked on cortex-a72</h1>" in page
    write_measurement(tmp_path, make_measurement(artifacts["int8"], 5.0, device=PHONE), "x")
    page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>Measured on Phone Seven</h1>" in page
    assert "golden sets answered rightly, on 1 device and 1 emulated processor" in page


def test_one_drift_has_one_figure_and_seconds_make_no_headline(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    whole = make_measurement(artifacts["int8"], 5.0, device=PHONE, sustained=True)
    assert whole.sustained is not None
    blocks = tuple(
        block.model_copy(update={"offset_ns": block.offset_ns // 100})
        for block in whole.sustained.blocks
    )
    brief = {"length_ns": whole.sustained.length_ns // 100, "blocks": blocks}
    short = whole.model_copy(update={"sustained": whole.sustained.model_copy(update=brief)})
    for measurement, headline in ((whole, True), (short, False)):
        write_measurement(tmp_path, measurement, "x")
        page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
        change = json.loads((tmp_path / "report.json").read_text())["measurements"][0]["sustained"][
            "change"
        ]
        words = f"{100 * change:+.1f}%"
        assert f"Median latency changes by {words} from the first to the last tenth" in page
        assert f"<td>{words}</td>" in page
        assert ("latency drifts by" in page) == headline
        assert ("5 min 00 s" if headline else "3 s") in page


def test_names_from_right_to_left_turn_nothing_around_them() -> None:
    assert (
        device_name(PHONE.model_copy(update={"maker": "חברה", "model": "טלפון 7"}))
        == "\u2068חברה טלפון 7\u2069"
    )
    assert device_name(PHONE.model_copy(update={"model": "Two\nlines"})) == "Phone Two lines"


def test_a_valid_measurement_stands_beside_other_devices_and_not_a_later_invalid_one(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    valid = make_measurement(artifacts["int8"], 4.0, device=PHONE)
    later = make_measurement(
        artifacts["int8"], 9.0, device=PHONE, started="2026-12-01T00:00:00Z", valid=False
    )
    for number, one in enumerate((valid, later, make_measurement(artifacts["int8"], 6.0))):
        write_measurement(tmp_path, one, str(number))
    page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    beside = page.split("Devices side by side")[1].split("</table>")[0]
    assert "invalid" not in beside
    legend = texts(
        page.split("<figcaption>Distribution of latency, 1 thread</figcaption>")[2].split("</svg>")[
            0
        ]
    )
    assert {"int8", "2026-12-01 00:00, invalid"} <= set(legend)


def test_one_phones_processors_have_a_row_each(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """One phone with one processor needs no such table: its answers stand in another."""
    caption = "<caption>Files by chip and processor"
    one = make_measurement(artifacts["int8"], 4.0, device=PHONE)
    write_measurement(tmp_path, one, "cpu")
    assert caption not in report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    write_measurement(tmp_path, one.model_copy(update={"backend": "qnn"}), "npu")
    page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    table = page.split(caption)[1].split("</table>")[0]
    assert table.count("CPU") == 1
    assert table.count("NPU") == 1


def test_files_are_grouped_by_chip_and_processor(
    artifacts: dict[str, Path], tmp_path: Path
) -> None:
    """Two phones of one chip share a row; its neural processor, and another chip, have their
    own.
    """
    golden = {"passes": (), "pass_difference": 2e-6}
    for number, (soc, backend, milliseconds) in enumerate(
        [("A1", "xnnpack", 4.0), ("A1", "xnnpack", 8.0), ("A1", "qnn", 1.0), ("B2", "xnnpack", 9.0)]
    ):
        device = PHONE.model_copy(update={"id": f"phone-{number}", "soc": soc})
        one = make_measurement(artifacts["int8"], milliseconds, device=device)
        one = one.model_copy(
            update={"backend": backend, "golden": one.golden.model_copy(update=golden)}
        )
        write_measurement(tmp_path, one, "x")
    page = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    rows = json.loads((tmp_path / "report.json").read_text())["by_chip"]
    assert [(row["chip"], row["processor"], row["devices"]) for row in rows] == [
        ("A1", "CPU", ["phone-0", "phone-1"]),
        ("A1", "NPU", ["phone-2"]),
        ("B2", "CPU", ["phone-3"]),
    ]
    assert rows[0]["setting"] == "1 thread"
    assert rows[0]["p50_ms"]["phone-1"] > 1.5 * rows[0]["p50_ms"]["phone-0"]
    assert {row["pass_difference"] for row in rows} == {2e-6}
    table = page.split("<caption>Files by chip and processor")[1].split("</table>")[0]
    assert table.count("2 of 2") == 1
    assert table.count("1 of 1") == 2
    assert "NPU" in table


def test_a_measurement_of_before_has_no_passes(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """And one of a backend that this version does not know is read, too."""
    one = make_measurement(artifacts["int8"], 4.0, device=PHONE)
    document = one.model_dump(mode="json") | {"backend": "of-tomorrow"}
    del document["golden"]["passes"], document["golden"]["pass_difference"]
    (tmp_path / "old.json").write_text(json.dumps(document))
    report([tmp_path], tmp_path / "report.html")
    (row,) = json.loads((tmp_path / "report.json").read_text())["by_chip"]
    assert (row["processor"], row["pass_difference"]) == ("not known", None)
