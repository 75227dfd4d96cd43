"""What a maintainer's first change goes through: every make target that is named exists, and
needs no system packages.
"""

import re
from pathlib import Path

import pytest
import yaml


@pytest.fixture(scope="module")
def targets(checkout: Path) -> dict[str, list[str]]:
    """What each target of the Makefile needs first; of two rules for one, the first."""
    found: dict[str, list[str]] = {}
    for line in (checkout / "Makefile").read_text(encoding="utf-8").splitlines():
        if rule := re.match(r"([a-z][a-z-]*):([^#=]*)(#.*)?$", line):
            found.setdefault(rule[1], rule[2].split())
    return found


def test_what_is_named_exists(checkout: Path, targets: dict[str, list[str]]) -> None:
    hooks = yaml.safe_load((checkout / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repository in hooks["repos"] for hook in repository["hooks"]]
    assert entries == ["make format", "make check"]
    for page in ("CONTRIBUTING.md", "README.md", ".pre-commit-config.yaml"):
        text = (checkout / page).read_text(encoding="utf-8")
        named = set(re.findall(r"`make ([a-z-]+)|entry: make ([a-z-]+)", text))
        named = {one or other for one, other in named}
        assert named <= targets.keys(), (page, named - targets.keys())


def needs(target: str, targets: dict[str, list[str]]) -> set[str]:
    first = set(targets[target])
    return first.union(*(needs(one, targets) for one in first))


@pytest.mark.parametrize("target", ["check", "format", "quick", "editor", "test"])
def test_the_quick_loop_needs_no_system_packages(
    target: str, targets: dict[str, list[str]]
) -> None:
    """``test`` is the rule for ``make test T=...``, which stands first."""
    assert "system" not in needs(target, targets)
    assert "setup" in needs(target, targets)
