"""Draws the README's picture, light and dark: the phone's answer beside the head of a report::

    make docs-pictures

The report is that of the shipped student, its int8 file made here, and the measurements in
``benchmarks/results``. The phone's answer is the app's own drawing in ``android_demo/docs``.
Needs Chromium.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from mobilekd import export, report
from mobilekd.formats.runs import DEFAULT_REFERENCE, open_run

CHECKOUT = Path(__file__).resolve().parents[1]
MEASURED = CHECKOUT / "benchmarks/results/amd-epyc-2-cores"
WIDE, TALL = 1500, 900
#: The theme's name, Chromium's number for it, and its paper.
THEMES = (("light", 1, "#f3f4f6"), ("dark", 0, "#0b0f14"))
PAGE = """<!doctype html><style>body{{margin:0;background:{paper};display:flex;gap:24px;
padding:24px;height:852px}}iframe{{border:0;width:1000px;height:852px;border-radius:12px}}
img{{height:852px;border-radius:24px}}</style><img src="{phone}"><iframe src="{page}"></iframe>"""


def draw(browser: str, folder: Path) -> None:
    """Both pictures into ``docs/assets``."""
    made = export(f"reference:{DEFAULT_REFERENCE}", precision="int8", output=folder / "int8")
    measured = [
        MEASURED / f"{DEFAULT_REFERENCE}-xnnpack-{precision}.json" for precision in ("fp32", "int8")
    ]
    student = open_run(f"reference:{DEFAULT_REFERENCE}").folder
    page = report([student, made.folder, *measured], folder / "report.html")
    for theme, scheme, paper in THEMES:
        phone = CHECKOUT / f"android_demo/docs/answer-{theme}.png"
        outer = folder / f"{theme}.html"
        outer.write_text(
            PAGE.format(paper=paper, phone=phone.as_uri(), page=page.as_uri()), encoding="utf-8"
        )
        picture = folder / f"{theme}.png"
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--allow-file-access-from-files",
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--window-size={WIDE},{TALL}",
            f"--screenshot={picture}",
            outer.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=240)
        with Image.open(picture) as image:
            small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
            small.save(CHECKOUT / f"docs/assets/report-{theme}.png", optimize=True)


if __name__ == "__main__":
    found = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if found is None:
        sys.exit("docs/pictures.py: chromium is missing; apt-get install chromium")
    with TemporaryDirectory() as name:
        draw(found, Path(name))
