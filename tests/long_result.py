"""What ``make test-long`` leaves for its readers: outcome and seconds of every test, as JSON without a word about the machine's owner."""

import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mobilekd.files import write_json
from mobilekd.provenance import utc_now

#: Where the last result lies, below the checkout; a test keeps it complete.
RESULT = Path("benchmarks/results/test-long.json")


def outcomes(reports: Iterable[pytest.TestReport]) -> dict[str, dict[str, Any]]:
    """Per test the worst outcome of its setup, call and teardown, and the seconds of all three."""
    found: dict[str, dict[str, Any]] = {}
    for report in reports:
        test = found.setdefault(report.nodeid, {"outcome": "passed", "seconds": 0.0})
        test["seconds"] = round(test["seconds"] + report.duration, 1)
        if test["outcome"] != "failed" and report.outcome != "passed":
            test["outcome"] = report.outcome
    return dict(sorted(found.items()))


def write_result(file: Path, checkout: Path, reports: Iterable[pytest.TestReport]) -> None:
    """The last run's result at ``file``; its seconds are orientation, no measurement."""
    document = {
        "what": "the last run of the tests that `make test` leaves out: outcome and seconds of each",
        "command": "make test-long",
        "commit": _commit(checkout, file),
        "finished_utc": utc_now(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "tests": outcomes(reports),
    }
    write_json(file, document)


def _commit(checkout: Path, file: Path) -> str | None:
    """What was tested: the commit, ``-dirty`` where more than the earlier result differs from it; None where git cannot say."""

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(checkout), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    head = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--", ".", f":(exclude){os.path.relpath(file, checkout)}")
    return f"{head}-dirty" if head and changed else head
