"""``requirements-phone.txt``: pinned as the lock pins, whole, and small."""

import tomllib
from importlib.metadata import distribution, requires

from fixtures.light import listed, normal

from mobilekd.commands.doctor import LIGHT

#: What a phone owner's environment may take, in bytes, with pip and all.
MOST = 150e6


def pins(text: str) -> dict[str, str]:
    lines = (line.partition(";")[0].strip() for line in text.splitlines())
    return {
        normal(name): pin
        for name, equals, pin in (line.partition("==") for line in lines)
        if equals and not name.startswith("#")
    }


def test_it_pins_what_the_lock_pins(checkout):
    lock = pins((checkout / "requirements.lock").read_text(encoding="utf-8"))
    assert listed()
    assert {name: lock.get(name) for name in listed()} == listed()


def test_it_is_whole_and_has_nothing_else(checkout):
    from packaging.requirements import Requirement

    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    own = {normal(Requirement(text).name) for text in project["dependencies"]} & listed().keys()
    needed = set(own)
    for name in listed():
        for text in requires(name) or ():
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                needed.add(normal(one.name))
    assert needed == set(listed())
    assert own == set(LIGHT)


def test_it_is_small(checkout):
    """By the files that pip's records name; the whole environment stands in ``benchmarks/``."""
    size = {
        name: sum(
            file.size or 0 for file in distribution(name).files or () if file.suffix != ".pyc"
        )
        for name in (*listed(), "pip")
    }
    assert 0 < sum(size.values()) < 0.85 * MOST, size
