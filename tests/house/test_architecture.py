"""The page of the architecture tells what is: its picture and its floors are those of the imports,
and the files that it names are there.
"""

import re

import pytest
from fixtures.scripts import script


@pytest.fixture(scope="module")
def architecture(checkout):
    return script(checkout / "docs/architecture.py")


def test_the_picture_is_made_from_the_imports(architecture, checkout):
    drawn = (checkout / "docs/architecture.svg").read_text(encoding="utf-8")
    assert drawn == architecture.picture(), "imports have changed: run make architecture"


def test_the_floors_are_those_that_the_test_of_floors_walks(architecture, checkout):
    page = (checkout / "docs/architecture.md").read_text(encoding="utf-8")
    assert page == architecture.with_floors(page), "floors have changed: run make architecture"


def test_every_folder_that_is_imported_has_a_way_of_arrows(architecture):
    """Arrows are left out only where others lead to the same folder."""
    whole = architecture.folder_imports()
    drawn = architecture.without_detours(whole)

    def reached(name):
        return set().union(*({one} | reached(one) for one in drawn[name]), set())

    for name, targets in whole.items():
        assert targets <= reached(name), name
        assert drawn[name] <= targets


def test_every_file_that_the_pages_name_is_there(checkout):
    for page in ("docs/architecture.md", "docs/glossary.md"):
        text = (checkout / page).read_text(encoding="utf-8")
        for place in re.findall(r"`((?:mobilekd|tests|docs|benchmarks)/[\w./-]+)`", text):
            assert (checkout / place).exists(), f"{page}: {place}"
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)\)", text):
            assert (checkout / "docs" / link).exists(), f"{page}: {link}"
