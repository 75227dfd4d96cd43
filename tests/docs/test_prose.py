"""What the pages show works as written: commands parse, links lead somewhere, code runs, words are
spelled right.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from fixtures.scripts import script

from mobilekd.cli import commands
from mobilekd.formats.recipe_file import from_dict, load_recipe, shipped

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "CONTRIBUTING.md",
    *sorted((CHECKOUT / "docs").rglob("*.md")),
]
NAMES = [str(path.relative_to(CHECKOUT)) for path in PAGES]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order; one below ``<!-- not run -->`` is left out."""
    pattern = rf"(<!-- not run[^>]*-->\n)?^( *)```{language}\n(.*?)^ *```"
    found = re.findall(pattern, text, flags=re.S | re.M)
    return [re.sub(rf"^{indent}", "", body, flags=re.M) for skip, indent, body in found if not skip]


def command_lines(text: str) -> list[str]:
    """Every ``mobilekd`` line of the console blocks."""
    shown = "\n".join(blocks(text, "console")).replace("\\\n", " ")
    return re.findall(r"^\$ (mobilekd\b.*)$", shown, flags=re.M)


def _parses(words: list[str]) -> bool:
    try:
        commands().parse(words)
    except SystemExit as end:  # help and version end with 0
        return end.code == 0
    return True


def wrong_commands(text: str) -> list[str]:
    """Command lines of a page that the program does not take."""
    return [
        line
        for line in command_lines(text)
        if not _parses(shlex.split(line.partition("  #")[0].partition(" > ")[0])[1:])
    ]


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_command_parses(path: Path) -> None:
    assert not wrong_commands(path.read_text(encoding="utf-8")), path


def test_a_wrong_option_is_told() -> None:
    page = (CHECKOUT / "docs/how-to/release.md").read_text(encoding="utf-8")
    planted = page.replace("--precision int8", "--planted int8")
    assert planted != page
    assert wrong_commands(page) == []
    assert [line for line in wrong_commands(planted) if "--planted int8" in line]


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_option_in_the_text_is_one(path: Path) -> None:
    """What looks like an option between backticks is one of ours, or of a tool named there."""
    if path.name in ("reliability.md", "CONTRIBUTING.md"):  # they have pytest's and make's, too
        return
    known = {
        option
        for parser in commands().parsers.values()
        for action in parser._actions
        for option in action.option_strings
    }
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M)
    for span in re.findall(r"`([^`\n]*--[a-z][^`\n]*)`", prose):
        if span.split()[0] in ("git", "pip", "python", "torchrun", "make", "apt-get", "swift"):
            continue
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", span):
            assert option in known | {"--version"}, f"{path}: `{span}`"


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_key_that_is_set_is_one(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if "reference" in path.parts:  # made from the code
        return
    for key, value in re.findall(r"--set ([a-z_.0-9]+)=(\S+?)[`\s]", text):
        if not re.fullmatch(r"[A-Z]+", value.strip("'\"")):
            load_recipe("ham10000", [f"{key}={value}"])


def dead_links(text: str, folder: Path) -> list[str]:
    """Links and names of files in a page of ``folder`` that lead nowhere."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M)
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    names = re.findall(r"`((?:mobilekd|tests|docs|benchmarks|ios_export)/[\w./-]+)`", text)
    examples = [name for name in names if any(word in name for word in ("NAME", "YOUR"))]
    return [one for one in links if not (folder / one).exists()] + [
        one for one in names if one not in examples and not (CHECKOUT / one).exists()
    ]


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_links_lead_somewhere(path: Path) -> None:
    assert dead_links(path.read_text(encoding="utf-8"), path.parent) == [], path


def test_a_dead_link_is_told() -> None:
    folder = CHECKOUT / "docs"
    page = (folder / "index.md").read_text(encoding="utf-8")
    planted = page.replace("(glossary.md)", "(planted.md)") + "\nSee `docs/planted.py`.\n"
    assert dead_links(page, folder) == []
    assert dead_links(planted, folder) == ["planted.md", "docs/planted.py"]


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_python_runs(path: Path, tmp_path: Path) -> None:
    """The blocks of a page, one after another, in one fresh interpreter."""
    if path.name == "CONTRIBUTING.md":  # lines to add to files; the test below runs them
        return
    found = blocks(path.read_text(encoding="utf-8"), "python")
    if not found:
        return
    (tmp_path / "page.py").write_text("\n".join(found), encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, f"{path}\n{done.stderr[-2000:]}"


def test_the_first_change_passes_the_test_that_it_asks_for() -> None:
    """The loss of CONTRIBUTING.md and its test, among the names of the files that they go to."""
    text = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    loss, test = blocks(text, "python")
    names = {**vars(import_module("mobilekd.losses.logits"))}
    exec(loss, names)
    names |= vars(script(CHECKOUT / "tests/losses/test_losses.py"))
    exec(test, names)
    names["test_squared_logits_is_numpys_squared_distance"]()


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_recipes_are_read(path: Path) -> None:
    """A block of TOML is a recipe, or a part of one that fits a shipped recipe."""
    for block in blocks(path.read_text(encoding="utf-8"), "toml"):
        document = tomllib.loads(block)
        base = document.pop("base", "ham10000")
        assert base in shipped()
        whole = load_recipe(base).to_dict()
        for key, value in document.items():
            whole[key] = whole[key] | value if isinstance(value, dict) else value
        from_dict(whole, str(path), block, ())


def test_spelling() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", "--toml", "pyproject.toml", *map(str, PAGES)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
