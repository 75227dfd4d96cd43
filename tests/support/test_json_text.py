"""JSON on disk: a fact a line, the same document, nothing that JSON has no word for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekd.support.files import json_text, write_json

DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(DOCUMENTS)
def test_the_document_comes_back(document):
    assert json.loads(json_text(document)) == document


def test_an_array_of_numbers_is_one_line_however_long(tmp_path):
    write_json(tmp_path / "a.json", {"samples_ns": list(range(10_000)), "names": ["x" * 80] * 2})
    lines = (tmp_path / "a.json").read_text().splitlines()
    assert lines[1] == f' "samples_ns": {list(range(10_000))},'
    assert lines[2:] == [' "names": [', f'  "{"x" * 80}",', f'  "{"x" * 80}"', " ]", "}"]


def test_short_objects_and_tables_of_numbers_are_one_line():
    document = {"score": {"value": 0.5, "low": None}, "matrix": [(1, 2), [3, 4]], "none": {}}
    assert json_text(document).splitlines() == [
        "{",
        ' "score": {"value": 0.5, "low": null},',
        ' "matrix": [[1, 2], [3, 4]],',
        ' "none": {}',
        "}",
    ]


def test_keys_are_json_s_own():
    assert json.loads(json_text({1: [{"a": [{}]}], None: True})) == json.loads(
        json.dumps({1: [{"a": [{}]}], None: True})
    )


@pytest.mark.parametrize("bad", [float("nan"), [float("inf")], {"a": {"b": [float("-inf")]}}])
def test_what_json_has_no_word_for_is_refused(bad):
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text(bad)
