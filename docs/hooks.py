"""What MkDocs does besides: every backend's page gets its place in the menu, and the finished site
an ``llms.txt`` and an ``llms-full.txt`` out of the same pages.
"""

import re
from pathlib import Path
from typing import Any

#: Title, address and Markdown of every page, in the menu's order.
_pages: dict[str, tuple[str, str]] = {}


def on_config(config: Any) -> Any:
    """Backends' pages into the menu, as they lie in the folder."""
    folder = Path(config["docs_dir"], "reference/backends")
    for section in config["nav"]:
        for entry in section.get("Reference", []):
            if isinstance(entry, dict) and "Backends" in entry:
                entry["Backends"] = ["reference/backends/index.md"] + [
                    {path.stem: f"reference/backends/{path.name}"}
                    for path in sorted(folder.glob("*.md"))
                    if path.stem != "index"
                ]
    _pages.clear()
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Remember every page's text; leave it as it is."""
    _pages[page.file.src_uri] = (page.file.url, markdown)
    return markdown


def on_post_build(config: Any) -> None:
    """Write both texts for language models."""
    site = Path(config["site_dir"])
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", ""]
    for section in config["nav"]:
        for title, entries in section.items():
            lines += [f"## {title}", ""]
            lines += [_line(source) for source in _sources(entries)]
            lines.append("")
    (site / "llms.txt").write_text("\n".join(lines), encoding="utf-8")
    whole = "\n\n".join(text.strip() for _, text in _pages.values())
    (site / "llms-full.txt").write_text(whole + "\n", encoding="utf-8")


def _sources(entries: Any) -> list[str]:
    """Pages below one entry of the menu."""
    if isinstance(entries, str):
        return [entries]
    if isinstance(entries, dict):
        entries = list(entries.values())
    return [source for entry in entries for source in _sources(entry)]


def _line(source: str) -> str:
    """A page's title, address and first sentence."""
    url, text = _pages[source]
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    title = re.search(r"^# (.+)$", text, flags=re.M)
    prose = next(
        (
            " ".join(part.split())
            for part in text.split("\n\n")
            if part.strip()
            and not part.strip().startswith(("#", "|", "```", "![", "!!!", "- ", "<"))
        ),
        "",
    )
    prose = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", prose)
    first = re.split(r"(?<=\.) ", prose)[0]
    return f"- [{title[1] if title else source}]({url}){f': {first}' if first else ''}"
