"""The site builds strictly and offline, asks no other host, and fits the screen in both themes."""

import functools
import json
import re
import subprocess
import sys
import threading
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fixtures.browser import browse


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


#: Pages that one browser looks at, so that none takes minutes on a busy machine.
AT_ONCE = 8

HARNESS = """<!doctype html><body><script>
const pages = PAGES, width = WIDTH, found = {};
const frame = document.body.appendChild(document.createElement("iframe"));
frame.style = `width:${width}px;height:900px;border:0`;
async function look(page) {
  await new Promise(done => { frame.onload = done; frame.src = page; });
  const d = frame.contentDocument, room = d.documentElement.clientWidth;
  const out = [...d.querySelectorAll("article *")]
    .filter(e => !e.closest(".md-typeset__scrollwrap, pre, svg, .highlight"))
    .filter(e => e.getBoundingClientRect().right > room + 1)
    .map(e => e.tagName + ": " + e.textContent.slice(0, 40));
  const broken = [...d.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src);
  found[page] = {wide: d.documentElement.scrollWidth, room, out, broken,
    paper: frame.contentWindow.getComputedStyle(d.body).backgroundColor,
    heading: d.querySelector("article h1")?.textContent ?? ""};
}
(async () => { for (const page of pages) await look(page);
  document.body.dataset.found = JSON.stringify(found); })();
</script></body>"""


@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize(("theme", "scheme"), [("light", 1), ("dark", 0)])
def test_every_page_fits_the_screen(
    site: Path, tmp_path: Path, width: int, theme: str, scheme: int
) -> None:
    """Some pages in one browser, one after another, served by a local server that logs nothing."""
    pages = [f"/{path.relative_to(site)}" for path in sorted(site.rglob("*.html"))]
    pages = [page for page in pages if page != "/404.html"]
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Host"])
            if self.path.startswith("/harness?"):
                some = [pages[int(n)] for n in self.path.partition("?")[2].split(",")]
                text = HARNESS.replace("PAGES", json.dumps(some)).replace("WIDTH", str(width))
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(text.encode())
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    handler = functools.partial(Handler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        found = {}
        for start in range(0, len(pages), AT_ONCE):
            asked_for = ",".join(map(str, range(start, min(start + AT_ONCE, len(pages)))))
            dom = browse(
                f"http://docs.test:{port}/harness?{asked_for}",
                tmp_path / f"profile-{start}",
                f"--host-resolver-rules=MAP * 127.0.0.1:{port}",
                "--dump-dom",
                "--virtual-time-budget=60000",
                f"--blink-settings=preferredColorScheme={scheme}",
                f"--window-size={max(width, 500) + 40},1000",
            ).stdout
            assert 'data-found="' in dom, dom[-500:]
            found |= json.loads(unescape(dom.split('data-found="')[1].split('"')[0]))
        server.shutdown()
    assert {host.partition(":")[0] for host in asked if host.endswith(f":{port}")} == {"docs.test"}
    assert set(found) == set(pages)
    for page, seen in found.items():
        assert seen["wide"] <= seen["room"] <= width, (page, seen)
        assert seen["out"] == [], page
        assert seen["broken"] == [], page
        assert seen["heading"], page
        colours = [int(part) for part in re.findall(r"\d+", seen["paper"])[:3]]
        assert (sum(colours) > 384) == (theme == "light"), (page, seen["paper"])
