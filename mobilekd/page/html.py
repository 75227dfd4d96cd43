"""The page in HTML: one file, its style and pictures inside, no script, nothing fetched."""

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from mobilekd.figures import DARK, LIGHT, STYLE, Chart
from mobilekd.page.blocks import Page
from mobilekd.support.text import visible


def render(page: Page) -> str:
    """Fill the template; every word is escaped, charts are our own SVG."""
    environment = Environment(
        loader=PackageLoader("mobilekd.page", "template"),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )
    environment.filters["svg"] = _svg
    environment.filters["kind"] = lambda block: type(block).__name__
    colours = f":root{{{LIGHT}}}@media screen and (prefers-color-scheme:dark){{:root{{{DARK}}}}}"
    return environment.get_template("page.html").render(page=page, style=Markup(colours + STYLE))


def _seen(value: object) -> object:
    """Texts as a person may see them; a picture is markup of our own."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _svg(chart: Chart) -> Markup:
    return Markup(chart.svg())
