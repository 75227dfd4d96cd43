"""One byte of a file is another: whatever reads the file refuses it by name, or answers as if
nothing had happened; it never answers otherwise.
"""

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from fault_commands import SCENARIOS, Workshop
from fault_ledger import Ledger, Tally
from fault_trials import Scenario, copied, differences, digest, unfit

OTHER = (
    "--no-control",  # reads nothing of what is flipped
    "--set",
    'name="other"',
    "--set",
    'teachers.0.trained="runs/small/teachers/0"',
)

#: What is flipped: the folder; the command after which it stands; those that read it.
PLACES: dict[str, tuple[str, str, Sequence[Sequence[str]]]] = {
    "run": (
        "runs/small",
        "evaluate",
        (
            ("evaluate", "runs/small", "--output=judged"),
            ("report", "runs/small", "--output=page.html"),
            ("distill", "small.toml", *OTHER),
        ),
    ),
    "artifact": (
        "artifact",
        "export",
        (
            ("evaluate", "artifact", "--output=judged"),
            ("report", "artifact", "--output=page.html"),
            ("inspect", "artifact"),
        ),
    ),
    "cache of teachers": ("runs/.cache", "evaluate", (("distill", "small.toml", *OTHER),)),
    "cache of apk": ("cache", "apk", (SCENARIOS["apk"].words,)),
}


def read(workshop: Workshop, start: Path, readers: Sequence[Sequence[str]]) -> list[tuple]:
    """Each reader's outcome with the digest of the files that it left."""
    answers = []
    for words in readers:
        outcome = workshop.server.run(start, words)
        told = {**digest(start), "its answer": outcome.out if words[0] == "inspect" else ""}
        answers.append((outcome, told))
    return answers


def flip(workshop: Workshop, place: str, flips: int, seed: int) -> Tally:
    """Flip ``flips`` bytes in turn, each file of the place as often as the others."""
    below, after, readers = PLACES[place]
    scenario: Scenario = SCENARIOS[after]
    workshop.undisturbed(scenario)
    random_, tally = random.Random(f"{place} {seed}"), Tally()
    start = workshop.root / after
    clean = read(workshop, copied(start, workshop.place()), readers)
    assert all(outcome.code == 0 for outcome, _ in clean), [one.err for one, _ in clean]
    files = [
        path.relative_to(start)
        for path in sorted((start / below).rglob("*"))
        if path.is_file() and path.stat().st_size and "lock" not in path.name
    ]
    random_.shuffle(files)
    for index in range(flips):
        name = files[index % len(files)]
        folder = copied(start, workshop.place())
        raw = bytearray((folder / name).read_bytes())
        at, bit = random_.randrange(len(raw)), random_.randrange(8)
        raw[at] ^= 1 << bit
        (folder / name).unlink()  # it may be a link to the prepared file
        (folder / name).write_bytes(raw)
        before = digest(folder).get(str(name))
        wrong, refused = [], False
        for words, (outcome, told), (_, wanted) in zip(
            readers, read(workshop, folder, readers), clean, strict=True
        ):
            wrong += unfit(outcome, (0, 2))
            if outcome.code == 2:
                refused = True
                break
            if before and told.get(str(name)) == before:  # the flipped file itself is no answer
                told = {**told, str(name): wanted[str(name)]}
            wrong += [f"{words[0]}: {one}" for one in differences(told, wanted)]
        if wrong:
            tally.wrong.append(f"{name}, bit {bit} of byte {at}: " + "; ".join(wrong))
        elif refused:
            tally.refused += 1
        else:
            tally.harmless += 1
        shutil.rmtree(folder)
    tally.detail = f"{len(files)} files"
    return tally


@pytest.mark.reliability
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_byte_is_refused_or_harmless(
    workshop: Workshop, ledger: Ledger, place: str, seed: int, share: float
):
    began = time.monotonic()
    tally = flip(workshop, place, max(8, round(300 * share)), seed)
    ledger.keep("flipped byte", place, tally, time.monotonic() - began, seed)
    assert not tally.wrong, "\n".join(tally.wrong)


def test_a_flipped_byte_of_a_run_is_refused_or_harmless(workshop: Workshop, seed: int):
    tally = flip(workshop, "run", 12, seed)
    assert not tally.wrong, "\n".join(tally.wrong)
