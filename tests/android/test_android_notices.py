"""What the app's build takes from others is named in NOTICE: its libraries, and those inside its
runtime.
"""

import pytest
from fixtures.scripts import script

from mobilekd.android import maven


@pytest.fixture(scope="module")
def inside(checkout):
    return script(checkout / "docs/notices.py").components("apk")


def test_every_library_that_the_build_takes_is_named(tools, inside):
    jars = maven.classpath("app", tools)
    assert jars
    assert {jar.stem for jar in jars} <= {f"{one['name']}-{one.get('version')}" for one in inside}


def test_libraries_inside_the_runtime_are_where_the_table_says(community, inside):
    """Of the community build, which the table was made from."""
    binary = community.libraries["arm64-v8a"]["libexecutorch.so"].read_bytes()
    marks = {one["name"]: one["mark"].encode() for one in inside if "mark" in one}
    assert len(marks) > 2
    assert [name for name, mark in marks.items() if mark not in binary] == []
