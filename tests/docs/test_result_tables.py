"""The tables of results say what their files say."""

import pytest
from fixtures.scripts import script


@pytest.fixture(scope="module")
def results(checkout):
    return script(checkout / "docs/results.py")


def test_every_table_is_what_its_file_says(results, checkout):
    for page in results.PAGES:
        text = (checkout / page).read_text(encoding="utf-8")
        assert text == results.with_tables(text), f"{page} differs: run make docs-results"


def test_a_stale_figure_is_told(results, checkout):
    text = (checkout / "docs/explanation/split.md").read_text(encoding="utf-8")
    stale = text.replace("0.779", "0.799")
    assert stale != text
    assert results.with_tables(stale) == text
