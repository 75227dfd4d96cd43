"""The site builds strictly and offline, asks no other host, and fits the screen in both themes."""

import functools
import json
import os
import queue
import re
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fixtures.browser import messages


@pytest.fixture(scope="module")
def site(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a dead link or a page outside the menu ends it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-B", "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_nothing_is_asked_of_another_host(site: Path) -> None:
    """Links may lead out; scripts, styles, fonts and pictures may not."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"(https?:)?//", text)
        loaded += re.findall(r"<link[^>]*rel=\"(?:stylesheet|preconnect|icon)\"[^>]*//", text)
        assert not loaded, page
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?https?:", style.read_text(encoding="utf-8")), style


def test_every_page_can_be_found_and_read_by_a_program(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    text = (site / "llms.txt").read_text(encoding="utf-8")
    listed = set(re.findall(r"\]\(([^)]+\.html)\)", text))
    assert listed == found
    whole = (site / "llms-full.txt").read_text(encoding="utf-8")
    assert "# Recipe keys" in whole
    assert "# Glossary" in whole


WIDTHS = (360, 1600)

#: Themes, and how the site's style sheet calls them; None: as the page comes by itself.
THEMES = (("light", None), ("dark", "slate"))

#: Loads each page once, and looks at it in each theme and width.
HARNESS = """<!doctype html><body><script>
const frame = document.body.appendChild(document.createElement("iframe"));
frame.style = "height:900px;border:0";
const send = message => fetch("/found", {method: "POST", body: JSON.stringify(message)});
function look(width) {
  frame.style.width = `${width}px`;
  const d = frame.contentDocument, room = d.documentElement.clientWidth;
  const out = [...d.querySelectorAll("article *")]
    .filter(e => e.getBoundingClientRect().right > room + 1)
    .filter(e => !e.closest(".md-typeset__scrollwrap, pre, svg, .highlight"))
    .map(e => e.tagName + ": " + e.textContent.slice(0, 40));
  const broken = [...d.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src);
  return {wide: d.documentElement.scrollWidth, room, out, broken,
    paper: frame.contentWindow.getComputedStyle(d.body).backgroundColor,
    heading: d.querySelector("article h1")?.textContent ?? ""};
}
(async () => {
  for (const page of PAGES) {
    await new Promise(done => { frame.onload = done; frame.src = page; });
    const seen = {};
    for (const [theme, scheme] of THEMES) {
      if (scheme) frame.contentDocument.body.dataset.mdColorScheme = scheme;
      for (const width of WIDTHS) seen[`${theme} ${width}`] = look(width);
    }
    await send([page, seen]);
  }
  await send(null);
})();
</script></body>"""


@pytest.mark.timeout(1800)  # seconds on an idle machine
def test_every_page_fits_the_screen(site: Path, tmp_path: Path) -> None:
    """One browser for all pages; each sends what it sees to the local server as it goes. A browser
    that dies is started once more, for the pages that are left.
    """
    pages = [f"/{path.relative_to(site)}" for path in sorted(site.rglob("*.html"))]
    pages.remove("/404.html")
    found: dict[str, dict] = {}
    for attempt in range(2):
        left = [page for page in pages if page not in found]
        found |= _looked_at(site, left, tmp_path / f"profile-{attempt}") if left else {}
    assert set(found) == set(pages)
    for page, looks in found.items():
        assert len(looks) == len(THEMES) * len(WIDTHS)
        _fit(page, looks)


def test_a_device_in_dark_gets_the_dark_theme(site: Path, tmp_path: Path) -> None:
    found = _looked_at(site, ["/index.html"], tmp_path / "profile", (("dark", None),), device=0)
    _fit("/index.html", found["/index.html"])


def _fit(page: str, looks: dict[str, dict]) -> None:
    """Nothing sticks out, no picture is missing, and the paper is of the theme."""
    for way, seen in looks.items():
        theme, width = way.split()
        assert seen["wide"] <= seen["room"] <= int(width), (page, way, seen)
        assert seen["out"] == [], (page, way)
        assert seen["broken"] == [], (page, way)
        assert seen["heading"], (page, way)
        colours = [int(part) for part in re.findall(r"\d+", seen["paper"])[:3]]
        assert (sum(colours) > 384) == (theme == "light"), (page, way, seen["paper"])


def _looked_at(
    site: Path,
    pages: list[str],
    profile: Path,
    themes: tuple[tuple[str, str | None], ...] = THEMES,
    device: int = 1,
) -> dict[str, dict]:
    """What a browser sees of these pages, served by a local server that every host leads to; asking
    another host fails. ``device`` is Chromium's number for what the device prefers: 1 is light.
    """
    sent: queue.Queue[object] = queue.Queue()
    asked: set[str] = set()
    harness = HARNESS
    for name, value in (("PAGES", pages), ("WIDTHS", WIDTHS), ("THEMES", themes)):
        harness = harness.replace(name, json.dumps(value))

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.add(self.headers["Host"])
            if self.path == "/harness":
                self._answer(harness.encode(), "text/html; charset=utf-8")
            elif "/workers/search" in self.path:  # every page would index the whole site
                self._answer(b"", "text/javascript")
            else:
                super().do_GET()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/found":  # the browser's own questions come here, too
                sent.put(json.loads(body))
            self._answer(b"", "text/plain")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    handler = functools.partial(Handler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        options = (
            f"--host-resolver-rules=MAP * 127.0.0.1:{port}",
            f"--blink-settings=preferredColorScheme={device}",
            f"--window-size={max(WIDTHS) + 40},1000",
        )
        url = f"http://docs.test:{port}/harness"
        found = dict(messages(url, profile, sent, *options))
        server.shutdown()
    assert {host.partition(":")[0] for host in asked if host.endswith(f":{port}")} == {"docs.test"}
    return found


def test_a_browser_that_dies_ends_the_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the caller can start it again instead of waiting for what never comes."""
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    sent: queue.Queue[object] = queue.Queue()
    sent.put(["/a.html", {}])
    assert list(messages("about:blank", tmp_path / "profile", sent)) == [["/a.html", {}]]
