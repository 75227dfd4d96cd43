"""Writes ``docs/reference/`` and the JSON Schemas from the code::

    make docs-reference

``tests/docs/test_reference.py`` fails where a page or a schema differs from the code. Each kind of
page has a file of its own in ``docs/making/``.
"""

from pathlib import Path

from making.backend_pages import backend_page, backends_index
from making.command_pages import commands_page
from making.gate_pages import gates_page
from making.markdown import CHECKOUT, page, table
from making.metric_pages import metrics_page
from making.network_pages import losses_page, students_page
from making.python_pages import python_page
from making.recipe_pages import recipe_page
from making.schema_pages import DOCUMENTS, schema, schemas_page

from mobilekd import backends

PAGES = CHECKOUT / "docs/reference"

SCHEMAS = CHECKOUT / "docs/schemas"


def index_page() -> str:
    """The start of the reference."""
    rows = [
        ("[Commands](commands.md)", "options, defaults, exit codes"),
        ("[Recipe keys](recipe.md)", "type, default, what is allowed, meaning"),
        ("[Metrics](metrics.md)", "definition, unit, source"),
        ("[Gates and refusals](gates.md)", "what each asks, and what mends it"),
        ("[Backends](backends/index.md)", "needs, precisions, proof, troubleshooting"),
        ("[Losses](losses.md)", "options and papers"),
        ("[Students and adaptations](students.md)", "names and what each change does"),
        ("[Python functions](python.md)", "the same commands from Python"),
        ("[Schemas](schemas.md)", "JSON Schemas for editors and other languages"),
    ]
    return page(
        "Reference",
        "These pages are made from the code. A test fails when they differ from it.",
        table(("Page", "What it says"), rows),
    )


def pages() -> dict[Path, str]:
    """Every file that this makes, with its text."""
    made = {
        PAGES / "index.md": index_page(),
        PAGES / "commands.md": commands_page(),
        PAGES / "recipe.md": recipe_page(),
        PAGES / "metrics.md": metrics_page(),
        PAGES / "gates.md": gates_page(),
        PAGES / "losses.md": losses_page(),
        PAGES / "students.md": students_page(),
        PAGES / "python.md": python_page(),
        PAGES / "schemas.md": schemas_page(),
        PAGES / "backends/index.md": backends_index(),
    }
    made |= {PAGES / f"backends/{name}.md": backend_page(name) for name in backends.names()}
    made |= {SCHEMAS / f"{name}.schema.json": schema(name) for name in DOCUMENTS}
    return made


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
