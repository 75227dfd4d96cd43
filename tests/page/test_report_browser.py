"""The report in a real Chromium: nothing leaves, nothing is complained about, nothing sticks out,
in both themes.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fixtures.browser import browse
from fixtures.evaluation import make_run
from fixtures.report import PHONE, make_artifact, make_measurement, write_measurement
from PIL import Image

from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.report import report


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    student = make_run(root / "runs", "tiny")
    evaluate(student)
    artifact = make_artifact(root / "artifact", student, "int8", 5_600)
    write_measurement(
        root / "results", make_measurement(artifact, 5.0, device=PHONE, sustained=True), "x"
    )
    long = PHONE.model_copy(
        update={"id": "long", "maker": "Maker of mammoth names", "model": "Ultra Maximum " * 6}
    )
    for number in range(3):
        name = f"{'a-student-with-a-long-name-' * 3}{number}-xnnpack-int8"
        other = make_measurement(artifact, 4.0 + number, device=long).model_copy(
            update={"artifact": name}
        )
        write_measurement(root / "results", other, f"{number}")
    return report([root], root / "report.html")


def test_no_request_leaves_and_the_console_stays_silent(page: Path, tmp_path: Path) -> None:
    """The page is served by a server that counts what is asked for; every other host is mapped onto
    it, so it would see that too.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.headers['Host']}{self.path}")
            self.send_response(200 if self.path == "/report.html" else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.read_bytes() if self.path == "/report.html" else b"")

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        everything = f"--host-resolver-rules=MAP * 127.0.0.1:{port}"
        found = browse(
            f"http://report.test:{port}/report.html", tmp_path / "profile", everything, "--dump-dom"
        )
        server.shutdown()
    ours = [request for request in asked if request.startswith("report.test")]
    assert ours == [f"report.test:{port}/report.html"]
    assert "<h1>" in found.stdout
    assert "CONSOLE" not in found.stderr


PROBE = """
<script>
addEventListener("load", () => {
  const wide = document.documentElement.scrollWidth, room = document.documentElement.clientWidth;
  const out = [...document.querySelectorAll("main *")]
    .filter(e => !e.closest(".scroll") && !e.closest("svg"))
    .filter(e => e.getBoundingClientRect().right > room + 1)
    .map(e => e.tagName + ": " + e.textContent.slice(0, 40));
  const outside = (r, box) => r.left < box.left - 1 || r.right > box.right + 1
    || r.top < box.top - 1 || r.bottom > box.bottom + 1;
  const clipped = [...document.querySelectorAll("svg")].flatMap(svg => {
    const box = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("text")]
      .filter(t => outside(t.getBoundingClientRect(), box)).map(t => t.textContent); });
  const found = {wide, room, out, clipped, paper: getComputedStyle(document.body).backgroundColor};
  document.body.dataset.found = JSON.stringify(found);
});
</script>
"""


WIDTHS = (360, 800, 1600)


def probed(
    text: str, tmp_path: Path, *widths: int, scheme: int = 1, probe: str = PROBE
) -> list[dict]:
    """What the probe says of a copy of the page in windows of these widths, in one browser."""
    copy = tmp_path / "probed.html"
    start = text.index("<meta http-equiv")
    framed = text[:start] + text[text.index(">", start) + 1 :].replace("</body>", probe + "</body>")
    copy.write_text(framed, encoding="utf-8")
    # Headless windows are at least 500 wide, so the narrow page is looked at through a frame.
    outer = tmp_path / "outer.html"
    frames = "".join(
        f'<iframe src="probed.html" style="width:{width}px;height:900px;border:0"></iframe>'
        for width in widths
    )
    reader = (
        "<script>onload=()=>setTimeout(()=>{document.body.dataset.found='['+"
        "[...document.querySelectorAll('iframe')]"
        ".map(one=>one.contentDocument.body.dataset.found)+']'},500)</script>"
    )
    outer.write_text(f"<!doctype html><body>{frames}{reader}</body>", encoding="utf-8")
    options = (
        "--allow-file-access-from-files",
        "--virtual-time-budget=5000",
        "--dump-dom",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--window-size={max(500, *widths) + 40},900",
    )
    dom = browse(outer.as_uri(), tmp_path / "profile", *options).stdout
    return list(
        json.loads(
            dom.split('data-found="')[1]
            .split('">')[0]
            .replace("&quot;", '"')
            .replace("&lt;", "<")
            .replace("&amp;", "&")
        )
    )


@pytest.mark.parametrize(("theme", "scheme"), [("light", 1), ("dark", 0)])
def test_it_fits_the_screen_in_both_themes(
    page: Path, tmp_path: Path, theme: str, scheme: int
) -> None:
    """A probe in a copy of the page (its content policy taken out for that) tells what sticks out
    and which theme is on.
    """
    looks = probed(page.read_text(encoding="utf-8"), tmp_path, *WIDTHS, scheme=scheme)
    for width, found in zip(WIDTHS, looks, strict=True):
        assert found["wide"] <= found["room"] <= width
        assert found["room"] > width - 30, "the frame has the width that was asked for"
        assert found["out"] == [], width
        assert found["clipped"] == [], width
        rgb = found["paper"].removeprefix("rgb(").removesuffix(")").split(",")
        assert (sum(map(int, rgb)) > 384) == (theme == "light"), width


def test_nothing_is_cut_off_on_paper(page: Path, tmp_path: Path) -> None:
    """The print style at the width of an A4 page: paper cannot be scrolled, so tables count too,
    and remarks are no larger than figures.
    """
    text = page.read_text(encoding="utf-8").replace("@media print{", "@media all{")
    sizes = "const size = q => parseFloat(getComputedStyle(document.querySelector(q)).fontSize);"
    probe = PROBE.replace('!e.closest(".scroll") && ', "").replace(
        "const found = {", sizes + 'const found = {figure: size("td"), remark: size("small"), '
    )
    [found] = probed(text, tmp_path, 718, probe=probe)
    assert found["out"] == []
    assert 8 < found["remark"] < found["figure"] < 14


def test_it_prints(page: Path, tmp_path: Path) -> None:
    browse(
        page.as_uri(),
        tmp_path / "profile",
        f"--print-to-pdf={tmp_path / 'report.pdf'}",
        "--no-pdf-header-footer",
    )
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_it_is_not_blank(page: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    browse(
        page.as_uri(), tmp_path / "profile", f"--screenshot={picture}", "--window-size=1200,1600"
    )
    with Image.open(picture) as image:
        assert len(image.convert("RGB").resize((300, 400)).getcolors(120_000)) > 50
