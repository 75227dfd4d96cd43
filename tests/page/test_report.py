"""The report: recognised by content, a pure function of its inputs, honest about emulation, leaks
and invalid runs.
"""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from fixtures.evaluation import keep_teacher, make_run
from fixtures.light import light
from fixtures.report import (
    EMULATED,
    HOST,
    PHONE,
    make_artifact,
    make_measurement,
    write_measurement,
)

from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.report import report
from mobilekd.figures.comparison import scores
from mobilekd.formats.integrity import write_sealed
from mobilekd.page.collect import collect
from mobilekd.page.latency_ratios import latency_ratios
from mobilekd.page.latency_samples import latency_samples, spread
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student, its control, two artifacts, and measurements of every kind, below one folder."""
    root = tmp_path_factory.mktemp("all")
    student = make_run(root / "runs", "tiny", control="tiny-control")
    make_run(root / "runs", "tiny-control", is_control=True)
    split = json.loads((student / "split.json").read_text())
    keep_teacher(student, np.random.default_rng(0).normal(size=(len(split["test"]), 7)))
    lines = [{"epoch": epoch, "balanced_accuracy": 0.2 + 0.05 * epoch} for epoch in (1, 2, 3)]
    (student / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("tiny", "tiny-control"):
        evaluate(root / "runs" / name)
    fp32 = make_artifact(root / "odd name, no suffix", student, "fp32", 16_000)
    int8 = make_artifact(root / "b", student, "int8", 5_600)
    results = root / "results"
    write_measurement(results, make_measurement(fp32, 6.0, seed=1), "x")
    write_measurement(results, make_measurement(int8, 3.0, seed=2), "y")
    write_measurement(
        results, make_measurement(int8, 5.0, seed=3, device=PHONE, via="app", sustained=True), "z"
    )
    write_measurement(results, make_measurement(int8, 7777.0, seed=4, device=EMULATED), "emulated")
    write_measurement(
        results,
        make_measurement(fp32, 1.0, device=PHONE.model_copy(update={"id": "bad"}), passed=False),
        "wrong",
    )
    write_json(results / "something-else.json", {"hello": 1})
    report([root], root / "report.html")
    return root


class Outline(HTMLParser):
    """Tags, ids, headings and text of a page; complains about tags that do not match."""

    VOID = frozenset({"meta", "link", "br", "path", "rect", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_phone_owners_install_writes_the_same_page(everything: Path, tmp_path: Path) -> None:
    """Every section, without torch, scipy and the like."""
    ((code, _, err),) = light([["report", str(everything), "--output", "here.html"]], tmp_path)
    assert code == 0, err
    for suffix in (".html", ".md", ".json"):
        there = (everything / "report").with_suffix(suffix).read_bytes()
        assert (tmp_path / "here").with_suffix(suffix).read_bytes() == there


@pytest.fixture(scope="module")
def page(everything: Path) -> str:
    return (everything / "report.html").read_text(encoding="utf-8")


def test_the_page_asks_nobody_for_anything(page: str) -> None:
    outline = Outline(page)
    assert (
        not outline.all("script")
        + outline.all("img")
        + outline.all("iframe")
        + outline.all("object")
    )
    for _, attributes in outline.tags:
        for key in ("src", "href", "action", "srcset"):
            assert (attributes.get(key) or "#").startswith(("#", "data:,"))
        assert not any(key.startswith("on") for key in attributes)
    assert not re.findall(r"url\(|@import|@font-face", page)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page)
    policy = next(
        one["content"]
        for one in outline.all("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_the_page_reads_well_aloud(page: str) -> None:
    outline = Outline(page)
    assert outline.all("html")[0]["lang"] == "en"
    assert len(outline.all("h1")) == len(outline.all("main")) == len(outline.all("nav")) == 1
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in outline.all("a"):
        assert (link["href"] or "")[1:] in ids
    for part in outline.all("section"):
        assert part["aria-labelledby"] in ids
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert all(head.get("scope") in ("col", "row") for head in outline.all("th"))
    assert len(outline.all("svg")) == page.count('role="img"') <= len(outline.all("title"))
    assert all(
        box.get("tabindex") == "0" and box.get("aria-label")
        for box in outline.all("div")
        if box.get("class") == "scroll"
    )


def test_the_same_inputs_give_the_same_bytes(everything: Path, page: str, tmp_path: Path) -> None:
    again = report(
        [
            everything / "runs",
            everything / "odd name, no suffix",
            everything / "b",
            everything / "results",
        ],
        tmp_path / "again.html",
    )
    assert again.read_text(encoding="utf-8").split() == page.split()
    assert again.with_suffix(".md").exists()


def test_an_emulated_or_wrong_device_has_no_latency(everything: Path, page: str) -> None:
    assert "7777" not in page
    assert "7778" not in page
    assert "emulated, no latency" in page
    assert "picture 3 differs" in page
    for one in json.loads((everything / "report.json").read_text())["measurements"]:
        assert bool(one["latency_ms"]) == (
            one["golden"]["passed"] and not one["device"]["emulated"]
        )


def test_no_times_slip_through_where_a_runner_wrote_some(everything: Path) -> None:
    timed = make_measurement(everything / "b", 4.0)
    assert latency_samples(timed)
    assert not latency_samples(timed.model_copy(update={"device": EMULATED}))
    assert not latency_samples(
        timed.model_copy(update={"golden": timed.golden.model_copy(update={"passed": False})})
    )


def test_everything_that_was_asked_for_is_there(everything: Path, page: str) -> None:
    markdown = (everything / "report.md").read_text(encoding="utf-8")
    for words in (
        "What was trained on what",
        "Students beside controls and teachers",
        "Parity, step by step",
        "unverified",
        "53 of 53",
        "Steady latency, ms",
        "Cold starts, ms",
        "Accuracy against latency",
        "What it was not validated on",
        "not a medical device",
        "Provenance",
        "something-else.json",
    ):
        assert words in page, words
        assert words in markdown, words
    for chart in (
        "Sustained load",
        "Reliability diagram",
        "Risk and coverage",
        "Latency by threads",
        "Every sample",
        "Sub-groups",
    ):
        assert f"<figcaption>{chart}" in page, chart
    assert "Confirmed by histology" in page
    assert "delays treatment" in page


def test_the_json_carries_the_figures(everything: Path) -> None:
    document = json.loads((everything / "report.json").read_text())
    assert document["comparisons"][0]["groups"][0]["control"] == "tiny-control"
    assert {run["run"]["name"] for run in document["runs"]} == {"tiny", "tiny-control"}
    faster, *_ = [one for one in document["differences"] if one["threads"] == 1]
    assert (faster["new"], faster["old"]) == ("tiny-xnnpack-int8", "tiny-xnnpack-fp32")
    assert faster["verdict"].startswith("faster: 50% less time")
    host = document["tradeoff"]["Acme Bench 2, via shell"]
    assert {point["name"]: point["front"] for point in host} == {
        "tiny-xnnpack-fp32": False,
        "tiny-xnnpack-int8": True,
    }


def test_shell_and_app_are_never_compared(everything: Path) -> None:
    shell = make_measurement(everything / "b", 4.0, device=PHONE)
    write_json(everything / "extra" / "shell.json", shell.model_dump(mode="json"))
    report(
        [everything / "extra", everything / "results", everything / "b"], everything / "mixed.html"
    )
    ways = {
        one["way"] for one in json.loads((everything / "mixed.json").read_text())["differences"]
    }
    assert all(
        one["old"] != one["new"]
        for one in json.loads((everything / "mixed.json").read_text())["differences"]
    )
    assert "Phone Seven, via app" not in ways


def test_verdicts_are_plain_and_honest(everything: Path) -> None:
    def verdict(old_ms: float, new_ms: float) -> str:
        old = make_measurement(
            everything / "b", old_ms, seed=1, session="a", started="2026-01-01T00:00:00Z"
        )
        new = make_measurement(
            everything / "b", new_ms, seed=2, session="b", started="2026-01-02T00:00:00Z"
        )
        return latency_ratios([new, old])[0].verdict

    assert verdict(4.0, 4.0) == "no difference shown"
    assert verdict(4.0, 4.4).startswith("slower: 1")
    assert verdict(4.0, 2.0).startswith("faster: 50% less time")


def test_an_invalid_measurement_is_shown_and_bears_no_verdict(
    everything: Path, tmp_path: Path
) -> None:
    new = make_measurement(everything / "b", 2.0, valid=False)
    old = make_measurement(everything / "b", 4.0, started="2026-01-01T00:00:00Z")
    assert latency_ratios([new, old]) == []
    write_measurement(tmp_path / "r", new, "new")
    page = report([tmp_path / "r"], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Invalid measurements." in page
    assert "No latency here may be relied on" in page
    assert "the machine was busy before it began" in page


def test_one_difference_has_one_verdict_on_a_page(everything: Path, tmp_path: Path) -> None:
    """A comparison among more runs corrects by Holm over more claims, so the smaller one gives way
    to it.
    """
    (small,) = collect([everything / "runs"]).comparisons
    more = [
        group.model_copy(update={"name": f"other-{group.name}", "seeds": ()})
        for group in small.groups
    ]
    large = small.model_copy(update={"groups": (*small.groups, *more)})
    elsewhere = small.model_copy(update={"split_hash": "f" * 64})
    for comparison, kept in ((large, [large]), (small, [small]), (elsewhere, [small, elsewhere])):
        write_json(tmp_path / "comparison.json", comparison.model_dump(mode="json"))
        assert (
            list(collect([everything / "runs", tmp_path / "comparison.json"]).comparisons) == kept
        )


def test_the_first_screen_says_no_more_than_the_claims(everything: Path, page: str) -> None:
    lead = page.split('class="lead">')[1].split("</p>")[0]
    claim, _ = json.loads((everything / "report.json").read_text())["comparisons"][0]["claims"]
    assert (
        lead.split("points")[1]
        .split(": ")[1]
        .startswith("better than its control" if claim["holds"] else "not shown to be better")
    )


def test_the_page_explains_itself(everything: Path, page: str) -> None:
    """Chance in charts, classes in words, control and interval on the first screen, what next."""
    lead = page.split('class="lead">')[1].split("</p>")[0]
    assert "the same student trained as long without a teacher" in lead
    assert "where guessing gets 14.3%" in lead
    first = page.split("</section>")[0]
    assert "a control is the same student" in first
    assert "95% interval" in first
    for title in ("Balanced accuracy", "Recall by class", "Validation while training"):
        chart = page.split(f"<title>{title}</title>")[1].split("</svg>")[0]
        assert "dashed: chance, 14.3" in chart, title
        assert 'class="guide"' in chart, title
    plane = page.split("<title>Accuracy against latency</title>")[1].split("</svg>")[0]
    assert "dashed: chance, 14.3" in plane
    recall = page.split("Recall by class, %")[-1].split("</thead>")[0]
    assert "melanocytic nevus" in recall
    matrix = page.split("<title>Confusion matrix</title>")[1].split("</svg>")[0]
    assert "melanoma (mel)" in matrix
    assert "basal cell carcinoma or melanoma against the rest" in page
    steps = page.split(">What next<")[-1].split("</section>")[0]
    assert "--device adb" not in steps, "a phone has measured already"
    alone = report([everything / "b"], everything / "alone.html").read_text(encoding="utf-8")
    assert "--device adb" in alone.split(">What next<")[-1].split("</section>")[0]


def test_where_no_lesion_is_known_none_is_counted(everything: Path) -> None:
    (small,) = collect([everything / "runs"]).comparisons
    assert f"of {small.lesions:,} lesions" in scores(small).note
    note = scores(small.model_copy(update={"lesions": small.photographs})).note
    assert "none of them known to show the same lesion" in note
    assert "lesions:" not in note


def test_a_leaky_split_is_labelled_wherever_it_is_shown(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs", "leaky", split="photograph")
    evaluate(folder)
    output = report([folder], tmp_path / "report.html")
    for text in (
        output.read_text(encoding="utf-8"),
        output.with_suffix(".md").read_text(encoding="utf-8"),
    ):
        assert text.lower().count("leaky") >= 4
    assert "on a leaky split" in output.read_text(encoding="utf-8")


def test_a_run_without_an_evaluation_says_so(tmp_path: Path) -> None:
    text = report([make_run(tmp_path, "fresh")], tmp_path / "report.html").read_text(
        encoding="utf-8"
    )
    assert "No figures for fresh" in text


def test_only_one_kind_of_thing_makes_a_page_too(everything: Path, tmp_path: Path) -> None:
    for path in (everything / "b", everything / "results" / HOST.id / "x.json"):
        assert "<h1>" in report([path], tmp_path / "one.html").read_text(encoding="utf-8")


def test_names_are_escaped(everything: Path, tmp_path: Path) -> None:
    device = HOST.model_copy(update={"maker": "<script>alert(1)</script>", "model": "a & b"})
    write_measurement(tmp_path, make_measurement(everything / "b", 3.0, device=device), "x")
    text = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_wrong_inputs_end_in_one_line(everything: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_json(tmp_path / "other.json", {"hello": 1})
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match="no run, artifact"):
        report([tmp_path / "empty"], tmp_path / "r.html")
    with pytest.raises(UserError, match="neither a measurement"):
        report([tmp_path / "other.json"], tmp_path / "r.html")
    with pytest.raises(UserError, match="not a readable"):
        report([tmp_path / "broken.json"], tmp_path / "r.html")
    with pytest.raises(UserError, match="no such run"):
        report([tmp_path / "gone"], tmp_path / "r.html")
    with pytest.raises(UserError, match=r"ends in \.html"):
        report([everything / "b"], tmp_path / "r.pdf")
    assert not list(tmp_path.glob("r.*"))


def test_everything_below_a_folder_is_found_once(everything: Path) -> None:
    found = collect([everything / "runs", everything, everything / "runs" / "tiny"])
    assert [one.name for one in found.runs] == ["tiny", "tiny-control"]
    assert (len(found.artifacts), found.ignored.count("something-else.json")) == (2, 1)


def test_a_student_brings_its_control_along(everything: Path) -> None:
    found = collect([everything / "runs" / "tiny"])
    assert [one.name for one in found.runs] == ["tiny", "tiny-control"]


def test_plain_figures_of_known_samples() -> None:
    figure = spread(np.r_[np.arange(1.0, 10.0), 1000.0])
    assert (figure["min"], figure["max"], figure["trimmed_mean"]) == (
        1,
        1000,
        np.mean(np.arange(2.0, 10.0)),
    )


def test_what_was_left_out_of_the_data_is_on_the_page(everything: Path, tmp_path: Path) -> None:
    """Once for each note, with whatever it was said of."""
    shutil.copytree(everything / "runs", tmp_path / "runs")
    note = "data: 3 files (<a>.heic, b, c) left out"
    for name in ("tiny", "tiny-control"):
        path = tmp_path / "runs" / name / "evaluation" / "metrics.json"
        document = json.loads(path.read_text())
        document["data"]["notes"] = [note]
        write_sealed(path, document)
    report([tmp_path / "runs"], tmp_path / "page.html")
    assert (tmp_path / "page.md").read_text().count(".heic, b, c) left out") == 1
    page = (tmp_path / "page.html").read_text()
    assert "3 files (&lt;a&gt;.heic, b, c) left out" in page
    assert "the evaluation of tiny" in page
    assert "the evaluation of tiny-control" in page
