"""One trial: a command, a fault, and what must hold afterwards.

After every fault a result is absent or whole under its final name, what the program says is one
line, and no process of the command runs on. The same command then ends well and leaves exactly what
an undisturbed one leaves: the same files, the same answers, nothing under a temporary name.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

#: Keys whose values differ between two undisturbed runs: times, and hashes of files that hold
#: times.
VOLATILE = frozenset(
    {
        "created_utc",
        "started_utc",
        "finished_utc",
        "utc",
        "seconds",
        "images_per_second",
        "command",
        "commit",
        "metrics.jsonl",
        "run.json",
        "teacher.json",
        "MODEL_CARD.md",
        "sha256",  # a document's own, over its times too
    }
)

#: Folders of a trial that belong to the system, not to the result.
OUTSIDE = ("tmp", "photographs-store")

#: The cache of builds, where a trial has one of its own: what is in it is compared by name.
CACHE = "cache"

#: How long what a killed command started may go on by itself.
PATIENCE = 120.0


@dataclass(frozen=True)
class Scenario:
    """A command of the smallest experiment: its words, what it leaves (``products``: folders or
    files that are absent or whole), and the command whose result it starts from.
    """

    command: str
    words: tuple[str, ...]
    products: tuple[str, ...]
    after: str | None = None
    #: Files whose content is measured anew each time: only their presence is compared.
    measured: tuple[str, ...] = ()
    #: Files that may be there or not, such as an earlier measurement that was moved aside.
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code (negative: the signal), what it said, the seconds."""

    code: int
    out: str
    err: str
    seconds: float
    events: tuple[str, ...] = ()

    @property
    def last_line(self) -> str:
        """The refusal, where it refused."""
        lines = [line for line in self.err.splitlines() if line.startswith("mobilekd ")]
        return lines[-1] if lines else ""


@dataclass
class Server:
    """The warm process that commands are forked from."""

    process: "subprocess.Popen[str]"
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls) -> "Server":
        paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "fault_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(paths),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        hook = os.pathsep.join([str(HERE / "hook"), *paths])
        return cls(process, {"PYTHONPATH": hook})

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def run(
        self,
        folder: Path,
        words: Sequence[str],
        *,
        point: int | None = None,
        number: int = signal.SIGKILL,
        after: float | None = None,
        largest: int | None = None,
    ) -> Outcome:
        """Run ``words`` in ``folder``. A fault is the change number ``point`` (see
        ``fault_points``), ``after`` seconds at which the process alone is killed, or the
        ``largest`` size of a file in bytes.
        """
        assert self.process.stdin
        assert self.process.stdout
        for name in OUTSIDE:
            (folder / name).mkdir(exist_ok=True)
        # beside the trial's folder, whose disk may be full: no terminal lies on it
        said, journal = (folder.with_name(f"{folder.name}-{part}") for part in ("said", "journal"))
        for part in (said, journal):
            part.mkdir(exist_ok=True)
        for name in ("out", "err"):  # one that is killed before it opens them has said nothing
            (said / name).write_text("")
        for old in journal.iterdir():
            old.unlink()
        arm = {"folder": str(folder), "journal": str(journal), "point": point, "number": number}
        job: dict[str, Any] = {
            "folder": str(folder),
            "words": list(words),
            "out": str(said / "out"),
            "err": str(said / "err"),
            "largest": largest,
            "arm": None if largest is not None else arm,
            "environment": {
                **self.environment,
                "TMPDIR": str(folder / "tmp"),
                "MOBILEKD_STORE": str(folder / "photographs-store"),
            },
        }
        if (folder / CACHE).exists():
            job["environment"] |= {"MOBILEKD_CACHE": str(folder / CACHE)}
        began = time.monotonic()
        print(json.dumps(job), file=self.process.stdin, flush=True)
        pid = json.loads(self.process.stdout.readline())["pid"]
        if after is not None:
            time.sleep(after)
            # ended before it: the server has collected it, so nobody else can carry this number
            if _state(pid) not in ("", "Z"):
                os.kill(pid, signal.SIGKILL)
        code = json.loads(self.process.stdout.readline())["code"]
        seconds = time.monotonic() - began
        _wait_for_the_others(pid)
        told = [(said / name).read_text(errors="replace") for name in ("out", "err")]
        logs = [log.read_text().splitlines() for log in sorted(journal.iterdir())]
        return Outcome(code, *told, seconds, tuple(max(logs, key=len, default=[])))


def _state(pid: int) -> str:
    """A process's state letter; empty where there is none of this number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def _wait_for_the_others(group: int) -> None:
    """What a command started ends with it, or soon after; an orphan that works on is a fault."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    os.killpg(group, signal.SIGKILL)
    raise AssertionError(f"processes of the killed command still ran after {PATIENCE:.0f} s")


def digest(folder: Path, scenario: Scenario | None = None) -> dict[str, str]:
    """Every file below ``folder`` with what it says: documents without their times, anything else
    as it is. Locks are no result.
    """
    optional = scenario.optional if scenario else ()
    measured = scenario.measured if scenario else ()
    told = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] in OUTSIDE or any(fnmatch(str(name), one) for one in optional):
            continue
        if "lock" in path.name or ".locks" in name.parts:
            continue
        if name.parts[0] == CACHE:
            if len(name.parts) == 3:
                told[str(name)] = "there"
        elif path.is_dir():
            if not any(path.iterdir()):
                told[str(name)] = "an empty folder"
        elif any(fnmatch(str(name), one) for one in measured):
            told[str(name)] = "measured"
        else:
            told[str(name)] = hashlib.sha256(_content(path)).hexdigest()[:16]
    return told


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.name == "MODEL_CARD.md":  # says when it was made, and how long training took
        raw = re.sub(rb"Training time: [\d.]+ hours", b"", raw)
        return re.sub(rb"\d{4}-\d\d-\d\d(T[\d:]+Z)?", b"", raw)
    if path.suffix not in (".json", ".jsonl"):
        return raw
    try:
        lines = raw.splitlines() if path.suffix == ".jsonl" else [raw]
        return json.dumps([_steady(json.loads(line)) for line in lines], sort_keys=True).encode()
    except ValueError:
        return raw


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(one) for key, one in value.items() if key not in VOLATILE}
    return [_steady(one) for one in value] if isinstance(value, list) else value


def differences(given: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Names that are too many, too few, or say something else."""
    return [
        *(f"left behind: {name}" for name in given.keys() - wanted.keys()),
        *(f"missing: {name}" for name in wanted.keys() - given.keys()),
        *(
            f"says something else: {name}"
            for name in given.keys() & wanted.keys()
            if given[name] != wanted[name]
        ),
    ]


def half_made(given: dict[str, str], wanted: dict[str, str], products: Sequence[str]) -> list[str]:
    """Products that stand under their final name without being whole. A run is one as soon as it
    holds its ``run.json``.
    """
    complaints = []
    for product in products:
        whole, found = _below(wanted, product), _below(given, product)
        begun = any(Path(name).name == "run.json" for name in whole) and not any(
            Path(name).name == "run.json" for name in found
        )
        if found and not begun:
            complaints += [
                f"half made: {product} ({one})"
                for one in differences(found, whole)
                if not one.startswith("left behind")
            ]
    return complaints


def _below(told: dict[str, str], product: str) -> dict[str, str]:
    return {
        name: value
        for name, value in told.items()
        if name == product or name.startswith(f"{product}/")
    }


def unfit(outcome: Outcome, codes: Sequence[int]) -> list[str]:
    """What is wrong with how a command ended: another code, a traceback, more than one line."""
    complaints = []
    if outcome.code not in codes:
        complaints.append(f"ended with code {outcome.code}: {outcome.err[-300:]}")
    if "Traceback (most recent call last)" in outcome.err or "unexpected " in outcome.last_line:
        complaints.append(f"ended with a traceback: {outcome.err[-600:]}")
    if outcome.code == 2 and not outcome.last_line:
        complaints.append(f"refused without a line: {outcome.err[-300:]}")
    return complaints


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """A file system of ``size`` bytes at ``folder``; gives False, and none, where this process may
    not mount one.
    """
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "mobilekd-test", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def resize(folder: Path, size: int) -> None:
    """Give the file system at ``folder`` ``size`` bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def bytes_on_disk(folder: Path) -> int:
    """What ``folder`` takes in pages of 4 KiB."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*")) + 65536


def copied(start: Path, folder: Path) -> Path:
    """A fresh copy of a prepared folder; a cache of builds, which is big, as links to its files."""
    leave = shutil.ignore_patterns(CACHE) if (start / CACHE).exists() else None
    shutil.copytree(start, folder, symlinks=True, dirs_exist_ok=True, ignore=leave)
    if leave:
        link(start / CACHE, folder / CACHE)
    return folder


def link(start: Path, folder: Path) -> None:
    """``start``'s files once more at ``folder``: links where the file system can, else copies."""

    def one(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.copytree(start, folder, symlinks=True, copy_function=one)
