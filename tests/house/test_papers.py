"""Version, authors and licence are the same in every paper of the house."""

import tomllib

import yaml

from mobilekd.support.version import VERSION


def test_the_citation_is_of_this_version(checkout):
    cited = yaml.safe_load((checkout / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == VERSION == project["version"]
    assert cited["license"] == project["license"]
    assert [one["name"] for one in cited["authors"]] == [one["name"] for one in project["authors"]]
    assert cited["message"]
    assert cited["title"].startswith("mobilekd")
