"""Every command on a disk that fills up: a tmpfs of ten sizes, from none to spare to ample."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_commands import SCENARIOS, Workshop
from fault_ledger import Ledger, Tally
from fault_trials import (
    bytes_on_disk,
    copied,
    differences,
    digest,
    half_made,
    resize,
    small_disk,
    unfit,
)

from mobilekd.support.errors import UserError
from mobilekd.support.files import check_room

AMPLE = 4 << 30


def fill(workshop: Workshop, command: str, sizes: int) -> Tally:
    """Run the command where ``sizes`` different amounts of room are left, then again with room
    enough. Where nothing can be mounted, a limit on the size of a file stands for the disk.
    """
    scenario, tally = SCENARIOS[command], Tally()
    workshop.undisturbed(scenario)
    wanted, start = workshop.digests[command], workshop.before(scenario)
    grown = bytes_on_disk(workshop.root / command) - bytes_on_disk(start)
    largest = max(path.stat().st_size for path in (workshop.root / command).rglob("*"))
    for step in range(sizes):
        folder = workshop.place()
        share = 1.3 * step / max(1, sizes - 1)
        with small_disk(folder, AMPLE) as mounted:
            copied(start, folder)
            if mounted:  # what is there takes other room on a tmpfs than where it was made
                resize(folder, shutil.disk_usage(folder).used + int(grown * share))
            limit = None if mounted else int(largest * share)
            outcome = workshop.server.run(folder, scenario.words, largest=limit)
            wrong = unfit(outcome, (0, 2))
            if mounted:
                resize(folder, AMPLE)
            wrong += half_made(digest(folder, scenario), wanted, scenario.products)
            if outcome.code == 2:
                again = workshop.server.run(folder, scenario.words)
                wrong += [f"then called again: {one}" for one in unfit(again, (0,))]
            wrong += differences(digest(folder, scenario), wanted)
            if wrong:
                tally.wrong.append(f"{share:.2f} of what it needs: " + "\n".join(wrong))
            elif outcome.code == 2:
                tally.refused += 1
            else:
                tally.harmless += 1
            tally.detail = "tmpfs" if mounted else "limit on a file's size"
    return tally


@pytest.mark.reliability
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("command", SCENARIOS)
def test_a_full_disk_is_refused_and_costs_nothing(
    workshop: Workshop, ledger: Ledger, command: str, seed: int
):
    began = time.monotonic()
    tally = fill(workshop, command, sizes=10)
    ledger.keep("full disk", command, tally, time.monotonic() - began, seed)
    assert not tally.wrong, "\n".join(tally.wrong)


def test_a_full_disk_under_an_evaluation(workshop: Workshop):
    tally = fill(workshop, "evaluate", sizes=3)
    assert tally.refused
    assert not tally.wrong, "\n".join(tally.wrong)


def test_apples_writer_is_not_asked_where_the_disk_is_full(tmp_path: Path):
    """It would end the whole process: the room is looked at before."""
    program = (
        "import sys; from pathlib import Path; from fixtures.coreml import *;"
        " lower = backends.get('coreai').lower;"
        " lower(captured(small('v2'), 'coreai', 'fp32'), EXAMPLE, 'fp32',"
        " facts('coreai', 'fp32'), Path(sys.argv[1]))"
    )
    with small_disk(tmp_path / "disk", 40960) as mounted:
        if mounted:
            tests = str(Path(__file__).parents[1])
            done = subprocess.run(
                [sys.executable, "-P", "-c", program, str(tmp_path / "disk")],
                capture_output=True,
                text=True,
                env={**os.environ, "PYTHONPATH": tests},
            )
            assert done.returncode == 1, done.stderr  # an exception, not Apple's abort
            assert "disk: cannot be written (No space left on device); free some" in done.stderr
            assert not list((tmp_path / "disk").iterdir())
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); free"):
        check_room(tmp_path, 1 << 62)
