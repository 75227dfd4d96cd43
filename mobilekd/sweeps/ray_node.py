"""What a node of a Ray cluster does for a sweep: it says what it has, and runs a cell.

A node either sees the sweep's folder of runs, and a cell works there and goes on from its
checkpoints wherever it comes to next; or it does not, and what a cell needs and leaves travels
through Ray's object store.
"""

import os
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilekd.support.errors import UserError
from mobilekd.support.files import cache_folder, working_folder
from mobilekd.support.lock import lock_file
from mobilekd.sweeps.parcel import pack, unpack
from mobilekd.sweeps.place import start

#: Seconds between two looks at a cell, at most one line of progress each, and until a cell that was
#: told to end is killed.
LOOK, GRACE = 0.5, 10.0
#: Lines of standard error that are kept of a cell, to be shown where it ends in a way of its own.
LINES = 30
#: What a cell takes over from whoever started the sweep, where it is set there.
PASSED_ON = ("OMP_NUM_THREADS",)
#: The lock by which nodes know the sweep's folder of runs. No run can be called so.
MARK = "a sweep on ray"


@dataclass(frozen=True)
class Home:
    """Where a sweep was started: its working folder, its folder of runs as given there, the word by
    which that folder is recognised, and its environment as far as cells take it over.
    """

    folder: str
    runs: str
    word: str
    environment: dict[str, str]

    def is_here(self) -> bool:
        """Whether this machine sees the sweep's folder of runs."""
        with suppress(OSError):
            marks = lock_file(Path(self.folder, self.runs) / MARK).read_text(encoding="utf-8")
            return self.word in marks
        return False


def look(told: dict[str, Any], places: list[tuple[str, str]]) -> dict[str, Any]:
    """Whether this node sees the sweep's runs, and which of a recipe's places it lacks.

    ``told`` is the sweep's ``Home`` as a dictionary, which any node can read.
    """
    home = Home(**told)
    missing = [(key, place) for key, place in places if not Path(home.folder, place).exists()]
    return {"shares": home.is_here(), "missing": missing}


def run(
    told: dict[str, Any], job: dict[str, Any], parcels: list[Any], board: Any
) -> dict[str, Any]:
    """Run a cell of the sweep whose ``Home`` is ``told``. ``parcels`` are references to what it
    needs of the sweep's runs where this node does not see them.

    Returns its exit code, its line, the end of what it said, and its folders as a parcel (None
    where they are in place already).
    """
    home = Home(**told)
    folder, own = Path(home.folder), job["recipe"]["name"]
    # Ray cancels a task by this signal, which a shell's background jobs and all below them ignore
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if home.is_here():
            return {**_process(job, folder, home, board), "parcel": None}
        with working_folder(cache_folder() / "sweeps" / own) as work:
            runs = work / "runs"
            runs.mkdir()
            answers = cache_folder() / "sweeps" / "answers"  # of teachers, for the next cell too
            answers.mkdir(parents=True, exist_ok=True)
            (runs / ".cache").symlink_to(answers)
            inside = _unpack(parcels, runs)
            cwd = folder if folder.is_dir() else work
            done = _process(_moved(job, runs), cwd, home, board)
            names = sorted(path.name for path in runs.iterdir() if path.name[0] != ".")
            made = [name for name in names if name == own or name not in inside]
            return {**done, "parcel": pack(runs, made)}
    except (UserError, OSError) as error:
        return {"code": 2, "answer": str(error), "said": "", "parcel": None}


def _unpack(parcels: list[Any], runs: Path) -> set[str]:
    """Unpack a cell's begun folders, and its teachers, whose names are returned: they stay here."""
    import ray

    begun, *teachers = parcels
    for parcel in teachers:
        unpack(ray.get(parcel), runs)
    inside = {path.name for path in runs.iterdir()}
    unpack(ray.get(begun), runs)
    return inside


def _moved(job: dict[str, Any], runs: Path) -> dict[str, Any]:
    """The job with its folder of runs at ``runs``, where its teachers are too."""
    home = Path(job["runs"])
    teachers = [
        {**table, "trained": str(runs / Path(table["trained"]).relative_to(home))}
        if table.get("trained") and Path(table["trained"]).is_relative_to(home)
        else table
        for table in job["recipe"]["teachers"]
    ]
    return {**job, "recipe": {**job["recipe"], "teachers": teachers}, "runs": str(runs)}


def _process(job: dict[str, Any], cwd: Path, home: Home, board: Any) -> dict[str, Any]:
    """A cell's process, from its start to its end. It ends with this one, or with its task."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    name = job["recipe"]["name"]
    board.tell.remote(name, node, None)
    environment = {**os.environ, **home.environment}
    process = start(job, cwd=cwd, env=environment, stderr=subprocess.PIPE)
    said: deque[str] = deque(maxlen=LINES)
    answer: list[str] = []
    assert process.stderr
    assert process.stdout
    stderr, stdout = process.stderr, process.stdout
    readers = [
        threading.Thread(target=lambda: said.extend(iter(stderr.readline, "")), daemon=True),
        threading.Thread(target=lambda: answer.append(stdout.read()), daemon=True),
    ]
    try:
        for reader in readers:
            reader.start()
        told = ""
        while process.poll() is None:
            # a task is cancelled between two steps of Python: a wait in the kernel would not end
            time.sleep(LOOK)
            last = said[-1].strip() if said else ""
            if last != told:
                told = last
                board.tell.remote(name, node, told)
        for reader in readers:
            reader.join(GRACE)
    finally:
        end(process)
    code = process.returncode
    return {"code": code, "answer": "".join(answer), "said": "".join(said)}


def end(process: "subprocess.Popen[str]") -> None:
    """End a cell that still runs: it is asked to, so that it leaves no lock, then killed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
