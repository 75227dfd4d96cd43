"""The tables of results say what their files say."""

from importlib.util import module_from_spec, spec_from_file_location

import pytest


@pytest.fixture(scope="module")
def results(checkout):
    spec = spec_from_file_location("results", checkout / "docs/results.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_table_is_what_its_file_says(results, checkout):
    for page in results.PAGES:
        text = (checkout / page).read_text(encoding="utf-8")
        assert text == results.with_tables(text), f"{page} differs: run make docs-results"


def test_a_stale_figure_is_told(results, checkout):
    text = (checkout / "docs/explanation/split.md").read_text(encoding="utf-8")
    stale = text.replace("0.779", "0.799")
    assert stale != text
    assert results.with_tables(stale) == text
