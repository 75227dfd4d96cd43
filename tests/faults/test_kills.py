"""Every command is killed: before a change of the file system drawn by number, with SIGKILL for all
of its processes or SIGTERM, and at a moment drawn from its time.
"""

import random
import shutil
import signal
import time

import pytest
from fault_commands import SCENARIOS, Workshop
from fault_ledger import Ledger, Tally
from fault_trials import Scenario, copied, differences, digest, half_made, unfit


def kill(workshop: Workshop, scenario: Scenario, kills: int, in_a_row: int, seed: int) -> list[str]:
    """Kill the command ``in_a_row`` times in one folder, then let it end; ``kills`` times in all.
    Gives what was wrong.
    """
    random_ = random.Random(f"{scenario.command} {seed}")
    undisturbed = workshop.undisturbed(scenario)
    wanted, complaints = workshop.digests[scenario.command], []
    duration = undisturbed.seconds
    for first in range(0, kills, in_a_row):
        folder, story = copied(workshop.before(scenario), workshop.place()), []
        for _ in range(min(in_a_row, kills - first)):
            way = random_.choices(("point", "moment", "term"), (6, 3, 2))[0]
            point = random_.randrange(max(1, len(undisturbed.events)))
            moment = random_.uniform(0, duration)
            if way == "moment":
                outcome = workshop.server.run(folder, scenario.words, after=moment)
                story.append(f"SIGKILL after {moment:.2f} s")
            else:
                number = signal.SIGKILL if way == "point" else signal.SIGTERM
                outcome = workshop.server.run(folder, scenario.words, point=point, number=number)
                last = outcome.events[-1] if outcome.events else "nothing"
                story.append(f"{signal.Signals(number).name} at point {point} ({last})")
            # a sweep whose cell was ended refuses; a quick command is fine
            codes = (0, -signal.SIGKILL, 128 + signal.SIGTERM, *((2,) if way == "term" else ()))
            wrong = unfit(outcome, codes) + half_made(
                digest(folder, scenario), wanted, scenario.products
            )
            complaints += [f"{'; '.join(story)}: {one}" for one in wrong]
        outcome = workshop.server.run(folder, scenario.words)
        duration = min(duration, outcome.seconds)  # the first one loads what the others find loaded
        wrong = unfit(outcome, (0,)) or differences(digest(folder, scenario), wanted)
        complaints += [f"{'; '.join(story)}; then called again: {one}" for one in wrong]
        shutil.rmtree(folder)
    return complaints


def check(
    workshop: Workshop, ledger: Ledger, command: str, kills: int, in_a_row: int, seed: int
) -> None:
    began = time.monotonic()
    complaints = kill(workshop, SCENARIOS[command], kills, in_a_row, seed)
    wrong = complaints[:kills]
    tally = Tally(harmless=kills - len(wrong), wrong=wrong)
    ledger.keep("kill", command, tally, time.monotonic() - began, seed)
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("command", SCENARIOS)
def test_a_killed_command_leaves_nothing_half_made_and_ends_well_when_called_again(
    workshop: Workshop, ledger: Ledger, command: str, seed: int
):
    check(workshop, ledger, command, kills=12, in_a_row=4, seed=seed)


@pytest.mark.reliability
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("command", SCENARIOS)
def test_forty_kills_of_each_command(
    workshop: Workshop, ledger: Ledger, command: str, seed: int, share: float
):
    check(workshop, ledger, command, kills=max(2, round(40 * share)), in_a_row=2, seed=seed + 1)
