"""Host latency against the same network in ONNX Runtime and in LiteRT, interleaved in one run, 1
and 2 threads, fp32 and int8.

    python benchmarks/lowering/peers.py benchmarks/results/peers.json
    # one operator at a time
    python benchmarks/lowering/peers.py benchmarks/results/peers-operators.json --chains
    # minutes, figures of no worth
    python benchmarks/lowering/peers.py OUT --smoke

Installs the peers by itself, each in an environment of its own (environments.py). Every engine is a
process of its own, and all of them take turns of a few inferences, so a slow second slows all.
Ratios are ExecuTorch's median divided by the peer's, with Welch's 95% interval over processes. A
file whose fp32 answers are not eager's is left out, and so is an engine that fails: ``left_out``
says why, the others go on. ``operators`` says where the time of each goes, by ETDump and by ONNX
Runtime's profiler on one thread; ``above_one`` puts the two side by side wherever a peer is faster.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from environments import interpreter
from networks import NETWORKS, OPERATORS, SMOKE

from mobilekd.metrics.stats import median_ratio
from mobilekd.support.files import write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions

ENGINES = ("executorch", "onnxruntime", "litert")
ENGINES_FILE = Path(__file__).with_name("engines.py")
#: Inferences of one engine's turn.
TURN = 5
#: Seconds for one conversion, or for an engine to get ready.
LONGEST = 1200


class Server:
    """An engine that waits for its turn in a process of its own."""

    def __init__(self, command: list[str]) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the process
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.answer()

    def answer(self) -> Any:
        """The next line of JSON; what libraries print between is passed over."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(("{", "[")):
                return json.loads(line)
        self.errors.seek(0)
        raise RuntimeError(_last(self.errors.read()))

    def turn(self) -> list[int]:
        """Nanoseconds of ``TURN`` inferences."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died; `answer` says of what
            print(TURN, file=self.process.stdin, flush=True)
        return list(self.answer())

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self.errors.close()


def _last(text: str) -> str:
    return ([line for line in text.splitlines() if line.strip()] or ["it ended without a word"])[
        -1
    ][:300]


def command(
    task: str, engine: str, name: str, precision: str, threads: int, folder: Path
) -> list[str]:
    """How an engine's process is started, from its own environment."""
    return [
        str(interpreter(engine)),
        str(ENGINES_FILE),
        task,
        engine,
        name,
        precision,
        str(threads),
        str(folder),
    ]


def asked(task: str, engine: str, name: str, precision: str, folder: Path) -> Any:
    """One answer of a process that ends."""
    line = command(task, engine, name, precision, 1, folder)
    done = subprocess.run(line, capture_output=True, text=True, timeout=LONGEST)
    if done.returncode:
        raise RuntimeError(_last(done.stderr))
    return json.loads(done.stdout.splitlines()[-1])


def converted(name: str, precision: str, work: Path, left_out: dict[str, str]) -> dict[str, Any]:
    """Every engine's file in a folder of its own: size, error, where its time goes."""
    figures: dict[str, Any] = {"bytes": {}, "error": {}, "operators": {}}
    for engine in ENGINES:
        folder = work / engine
        folder.mkdir()
        try:
            made = asked("convert", engine, name, precision, folder)
        except (RuntimeError, subprocess.TimeoutExpired, OSError, ValueError, IndexError) as error:
            left_out[engine] = str(error)
            say(f"{name}, {precision}: {engine} is left out: {error}")
            continue
        figures["bytes"][engine], figures["error"][engine] = made["bytes"], made["error"]
        try:
            figures["operators"][engine] = asked("profile", engine, name, precision, folder)
        except (RuntimeError, subprocess.TimeoutExpired, OSError, ValueError, IndexError) as error:
            figures["operators"][engine] = {"reason": str(error)}
    return figures


def one_run(
    name: str, precision: str, threads: int, turns: int, work: Path, left_out: dict[str, str]
) -> dict[str, list[int]]:
    """Nanoseconds by engine, from a fresh process of each; every second round goes backwards."""
    servers: dict[str, Server] = {}
    times: dict[str, list[int]] = {}
    try:
        for engine in ENGINES:
            if engine in left_out:
                continue
            try:
                servers[engine] = Server(
                    command("serve", engine, name, precision, threads, work / engine)
                )
                times[engine] = []
            except RuntimeError as error:
                left_out[engine] = str(error)
        for number in range(turns):
            for engine in list(servers)[:: -1 if number % 2 else 1]:
                try:
                    times[engine] += servers[engine].turn()
                except RuntimeError as error:
                    left_out[engine] = str(error)
                    servers.pop(engine).close()
                    del times[engine]
    finally:
        for server in servers.values():
            server.close()
    return times


def compared(
    name: str, precision: str, threads: int, runs: list[dict[str, list[int]]]
) -> dict[str, Any]:
    """Medians and ratios of one setting, of the engines that answered in every process."""
    engines = [engine for engine in ENGINES if all(run.get(engine) for run in runs)]
    times = {engine: [np.array(run[engine]) for run in runs] for engine in engines}
    peers = (
        [engine for engine in engines if engine != "executorch"] if "executorch" in engines else []
    )
    row = {
        "network": name,
        "precision": precision,
        "threads": threads,
        "milliseconds": {
            engine: float(np.median(np.concatenate(series))) / 1e6
            for engine, series in times.items()
        },
        "ratio": {
            peer: median_ratio(times["executorch"], times[peer]).model_dump() for peer in peers
        },
        "nanoseconds": {
            engine: [samples.tolist() for samples in series] for engine, series in times.items()
        },
    }
    said = ", ".join(f"{peer} {_interval(ratio)}" for peer, ratio in row["ratio"].items())
    say(f"{name}, {precision}, {threads} thread(s): ExecuTorch / {said or 'nobody'}")
    return row


def _interval(ratio: dict[str, Any]) -> str:
    return (
        f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
        if ratio["low"] is not None
        else str(ratio["reason"])
    )


def above_one(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where a peer is faster on one thread: microseconds by kind of operator beside the peer's, the
    largest difference first.
    """
    faster = []
    for row in rows:
        for peer, ratio in row["ratio"].items():
            ours, theirs = (
                row["operators"].get(engine, {}).get("by_category")
                for engine in ("executorch", peer)
            )
            if row["threads"] != 1 or not ratio["value"] or ratio["value"] <= 1:
                continue
            said = {key: row[key] for key in ("network", "precision")} | {
                "peer": peer,
                "ratio": ratio["value"],
            }
            if ours is None or theirs is None:
                faster.append(
                    {**said, "reason": row["operators"].get(peer, {}).get("reason", "not profiled")}
                )
                continue
            kinds = sorted(
                {*ours, *theirs}, key=lambda kind: theirs.get(kind, 0.0) - ours.get(kind, 0.0)
            )
            faster.append(
                {
                    **said,
                    "microseconds": {
                        kind: [round(one.get(kind, 0.0), 1) for one in (ours, theirs)]
                        for kind in kinds
                    },
                }
            )
    return faster


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*NETWORKS, *OPERATORS], metavar="NETWORK")
    parser.add_argument(
        "--chains", action="store_true", help="the chains of one operator instead of the networks"
    )
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument(
        "--processes", type=int, default=5, help="per setting; Welch's interval wants three or more"
    )
    parser.add_argument(
        "--turns",
        type=int,
        default=20,
        help=f"of each engine in each process, {TURN} inferences each",
    )
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    names = arguments.only or (list(OPERATORS) if arguments.chains else list(NETWORKS))
    if arguments.smoke:
        names, arguments.processes, arguments.turns = list(SMOKE), 3, 3
    for engine in ENGINES:
        try:
            interpreter(engine)
        except (RuntimeError, OSError) as error:
            say(f"{engine}: its environment cannot be made, so it will be left out: {error}")
    rows: list[dict[str, Any]] = []
    for name in names:
        for precision in arguments.precisions:
            with tempfile.TemporaryDirectory() as folder:
                left_out: dict[str, str] = {}
                made = converted(name, precision, Path(folder), left_out)
                for threads in arguments.threads:
                    fresh = range(arguments.processes)
                    runs = [
                        one_run(name, precision, threads, arguments.turns, Path(folder), left_out)
                        for _ in fresh
                    ]
                    rows.append(
                        {
                            **compared(name, precision, threads, runs),
                            **made,
                            "left_out": dict(left_out),
                        }
                    )
            document = {
                "what": "ExecuTorch's latency divided by its peers', same network, interleaved",
                "command": f"python benchmarks/lowering/peers.py {' '.join(sys.argv[1:])}",
                "utc": utc_now(),
                "commit": commit(),
                "versions": versions(),
                "above_one": above_one(rows),
                "rows": rows,
            }
            # after each network, so that a run that is cut keeps what it has
            write_json(arguments.output, document)


if __name__ == "__main__":
    main()
