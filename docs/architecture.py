"""Draws ``docs/architecture.svg`` from the imports, and writes the floors into
``docs/architecture.md``::

    make architecture

``tests/house/test_architecture.py`` fails where either differs from the code.
"""

import ast
import sys
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests" / "house"))
from test_floors import FLOORS, arrows, folder  # noqa: E402

PAGE, PICTURE = CHECKOUT / "docs/architecture.md", CHECKOUT / "docs/architecture.svg"
BEGIN, END = "<!-- floors: written by make architecture -->\n", "<!-- end of floors -->"

#: The picture's measures in its own units.
WIDTH, BOX, TALL, FLOOR_HEIGHT, MARGIN = 1000, 124, 34, 92, 20


def folder_imports() -> dict[str, set[str]]:
    """Which folders each folder imports, as the code says."""
    found: dict[str, set[str]] = {name: set() for floor in FLOORS for name in floor}
    for module, targets in arrows(CHECKOUT / "mobilekd").items():
        if folder(module) in found:
            found[folder(module)] |= {folder(target) for target in targets}
    return {name: (targets - {name}) & set(found) for name, targets in found.items()}


def without_detours(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that no longer way stands for: the transitive reduction of a graph without
    circles.
    """
    reached: dict[str, set[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        reached[name] = set().union(*({one} | reached[one] for one in graph[name]), set())
    return {
        name: {one for one in targets if not any(one in reached[other] for other in targets)}
        for name, targets in graph.items()
    }


def purpose(name: str) -> str:
    """The first sentence of the folder's docstring."""
    text = (CHECKOUT / "mobilekd" / name / "__init__.py").read_text(encoding="utf-8")
    paragraph = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    return " ".join(paragraph.split()).replace("``", "`").rstrip(".")


def floors() -> str:
    """The table of floors in Markdown, from the top to the ground."""
    lines = ["| Floor | Folder | What it is |", "| --- | --- | --- |"]
    for number, names in reversed(list(enumerate(FLOORS))):
        lines += [f"| {number} | `{name}/` | {purpose(name)} |" for name in names]
    return "\n".join(lines) + "\n"


def places() -> dict[str, tuple[float, float]]:
    """The upper left corner of every folder's box."""
    corners = {}
    for row, names in enumerate(reversed(FLOORS)):
        for column, name in enumerate(names):
            middle = WIDTH * (column + 0.5) / len(names)
            corners[name] = (middle - BOX / 2, MARGIN + row * FLOOR_HEIGHT)
    return corners


def picture() -> str:
    """Folders on their floors; an arrow for every import that no longer way stands for."""
    corners, height = places(), 2 * MARGIN + (len(FLOORS) - 1) * FLOOR_HEIGHT + TALL
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' font-family="sans-serif" font-size="15">',
        "<title>The folders of mobilekd on their floors, and which imports which</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#5b6b7b"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for name, targets in without_detours(folder_imports()).items():
        x, y = corners[name]
        for target in sorted(targets):
            to_x, to_y = corners[target]
            x1, y1, x2, y2 = x + BOX / 2, y + TALL, to_x + BOX / 2, to_y
            bend = (y2 - y1) / 2
            lines.append(
                f'<path d="M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}"'
                ' fill="none" stroke="#5b6b7b" stroke-width="1.3" marker-end="url(#tip)"/>'
            )
    for name, (x, y) in corners.items():
        lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{BOX}" height="{TALL}" rx="6" fill="#e8f0f7"'
            ' stroke="#2d5b88"/>'
            f'<text x="{x + BOX / 2:g}" y="{y + 22:g}" text-anchor="middle"'
            f' fill="#12263a">{escape(name)}/</text>'
        )
    return "\n".join([*lines, "</svg>\n"])


def with_floors(page: str) -> str:
    """The page with the table of floors between its two marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{floors()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    PAGE.write_text(with_floors(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
