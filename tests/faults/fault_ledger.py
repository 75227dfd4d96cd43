"""What was tried, counted: the rows of ``benchmarks/results/reliability.json`` and the table of
``docs/reliability.md``.
"""

import fcntl
import os
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fixtures.long_result import commit_of

from mobilekd.support.files import read_json, write_json, write_text
from mobilekd.support.provenance import utc_now

#: The last result, below the checkout, and the page made from it.
RESULT = Path("benchmarks/results/reliability.json")
PAGE = Path("docs/reliability.md")
COMMAND = "make reliability"

#: The table stands in the page between these lines.
START, END = "<!-- table -->", "<!-- end of the table -->"

COLUMNS = ("tried", "refused", "harmless", "wrong", "seconds")

FAULTS = {
    "kill": "Killed",
    "full disk": "Disk full",
    "flipped byte": "One byte flipped",
    "fuzz": "Odd input",
}


@dataclass
class Tally:
    """One row: trials by how they ended, with what was wrong in words."""

    refused: int = 0
    harmless: int = 0
    wrong: list[str] = field(default_factory=list)
    #: ``fuzz``: inputs, seconds, lines of ours that they reached.
    detail: str = ""

    @property
    def tried(self) -> int:
        return self.refused + self.harmless + len(self.wrong)


@dataclass
class Ledger:
    """Keeps each row at once, so that what was counted stays when the rest is broken off."""

    file: Path | None
    checkout: Path

    def keep(self, fault: str, where: str, tally: Tally, seconds: float, seed: int) -> None:
        """Put the row in place of an earlier one of its name."""
        if self.file is None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.file.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # other workers keep rows, too
            rows = read_json(self.file, "table")["rows"] if self.file.exists() else []
            row = {
                "fault": fault,
                "where": where,
                "tried": tally.tried,
                "refused": tally.refused,
                "harmless": tally.harmless,
                "wrong": len(tally.wrong),
                "detail": tally.detail,
                "what_was_wrong": [one[:1000] for one in tally.wrong[:5]],
                "seed": seed,
                "seconds": round(seconds),
                "commit": commit_of(self.checkout, self.file),
                "finished_utc": utc_now(),
            }
            rows = [one for one in rows if (one["fault"], one["where"]) != (fault, where)]
            order = list(FAULTS)
            rows = sorted([*rows, row], key=lambda one: (order.index(one["fault"]), one["where"]))
            document = {
                "what": "faults tried on every command, and how they ended",
                "command": COMMAND,
                "machine": (
                    f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python"
                    f" {sys.version_info.major}.{sys.version_info.minor}"
                ),
                "rows": rows,
            }
            write_json(self.file, document)
            if self.file == self.checkout / RESULT:
                page = self.checkout / PAGE
                write_text(page, with_table(page.read_text(encoding="utf-8"), document))
        finally:
            os.close(folder)


def with_table(page: str, document: dict[str, Any]) -> str:
    """The page with this result's table in the place of the one that it has."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    return f"{before}{start}\n{table(document)}{end}{after}"


def table(document: dict[str, Any]) -> str:
    """The page's table."""
    lines = [
        "| Fault | Where | Tried | Refused | Harmless | Wrong | Seconds | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in document["rows"]:
        numbers = " | ".join(f"{row[key]:,}" for key in COLUMNS)
        lines.append(f"| {FAULTS[row['fault']]} | {row['where']} | {numbers} | {row['detail']} |")
    totals = " | ".join(f"{sum(row[key] for row in document['rows']):,}" for key in COLUMNS)
    return "\n".join([*lines, f"| all | | {totals} | |"]) + "\n"
