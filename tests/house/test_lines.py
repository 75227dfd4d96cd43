"""Source lines of every language have at most 100 characters."""

import pytest
from test_package import tracked

#: Python is left to ruff, which lets a pragma and a word without a space stand out.
LANGUAGES = ("kt", "kts", "swift", "cpp", "h", "c", "java", "sh")


@pytest.mark.parametrize("ending", LANGUAGES)
def test_lines_have_at_most_100_characters(ending, checkout):
    files = [path for path in tracked(checkout) if path.suffix == f".{ending}"]
    assert files
    long = [
        f"{path}:{number}"
        for path in files
        for number, line in enumerate((checkout / path).read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 100
    ]
    assert not long
