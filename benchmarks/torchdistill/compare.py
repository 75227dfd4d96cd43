r"""The same distillation step through torchdistill and through us, interleaved, loading and
augmentation included.

    python benchmarks/torchdistill/compare.py [--data HAM10000_FOLDER] [--threads 2] \
        [--rounds 12] [--smoke]

Makes an environment for torchdistill beside this file (it shares this one's torch, so both run the
same kernels), starts one process for each side and lets them take turns; whoever waits is stopped,
its loader's workers with it. Ends with one JSON file: images per second, ratios with intervals, and
the share of the time that is student arithmetic.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import venv
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
from worker import Step

from mobilekd.data import load
from mobilekd.formats.data_tables import DataTable
from mobilekd.metrics.stats import median_ratio
from mobilekd.support.files import write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
ENVIRONMENT = HERE / ".venv"
TORCHDISTILL = "1.1.5"
#: A recipe's usual length, over which the one-time cost of fixed views is spread.
EPOCHS, VIEWS = 24, 6


def environment() -> Path:
    """torchdistill's python: a fresh environment that sees this one's packages behind its own."""
    python = ENVIRONMENT / "bin" / "python"
    marker = ENVIRONMENT / f"torchdistill-{TORCHDISTILL}"
    if not marker.exists():
        say(f"making {ENVIRONMENT} with torchdistill {TORCHDISTILL}")
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        inside = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        )
        # an environment may itself stand on another
        seen = [path for path in sys.path if path.endswith("site-packages")]
        (Path(inside.stdout.strip()) / "shared.pth").write_text(
            "\n".join(seen) + "\n", encoding="utf-8"
        )
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--no-deps", f"torchdistill=={TORCHDISTILL}"],
            check=True,
        )
        subprocess.run([python, "-m", "pip", "install", "-q", "pyyaml>=6", "scipy"], check=True)
        marker.touch()
    return python


class Side:
    """A worker in a process group of its own, stopped except while it takes its turn."""

    def __init__(self, python: Path, script: str, step: Step) -> None:
        self.process = subprocess.Popen(
            [str(python), str(HERE / script), step.dumps()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": str(step.threads), "PYTHONPATH": str(CHECKOUT)},
        )
        self.facts = self._answer()
        self._signal(signal.SIGSTOP)

    def turn(self, mode: str) -> float:
        """Images per second of one round."""
        self._signal(signal.SIGCONT)
        assert self.process.stdin is not None
        print(mode, file=self.process.stdin, flush=True)
        answer = self._answer()
        self._signal(signal.SIGSTOP)
        return float(answer["images"]) / float(answer["seconds"])

    def _answer(self) -> dict:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(
                f"{self.process.args[1]} ended with {self.process.wait()}; its message is above"
            )
        return json.loads(line)

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def __enter__(self) -> "Side":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            self._signal(signal.SIGKILL)
        self.process.wait()


def photographs(folder: Path, root: str | None, count: int) -> int:
    """Fill ``folder/CLASS/*.jpg`` with photographs of the data set, or with generated ones; returns
    the classes.
    """
    table = DataTable.model_validate(
        {"kind": "ham10000", "root": root}
        if root
        else {"kind": "synthetic", "count": count, "size": 256}
    )
    dataset = load(table)
    chosen = np.random.default_rng(0).permutation(len(dataset.ids))[:count]
    for index in chosen:
        target = folder / dataset.classes[dataset.targets[index]].key / f"{dataset.ids[index]}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        if dataset.paths:
            target.symlink_to(Path(dataset.paths[index]).resolve())
        else:
            dataset.photograph(int(index)).save(target, quality=92)
    return len(list(folder.iterdir()))


def summary(rates: dict[str, np.ndarray]) -> dict[str, object]:
    """Ratios of medians to torchdistill, the cost of fixed views spread over a run, and the
    student's share.
    """
    theirs = 1 / rates["torchdistill"]
    ratios = {
        f"{mode}": median_ratio(theirs, 1 / rates[mode]).model_dump(exclude_none=True)
        for mode in ("fresh", "cached", "floor")
    }
    median = {mode: float(np.median(values)) for mode, values in rates.items()}
    spread = 1 / (1 / median["cached"] + VIEWS / EPOCHS / median["fill"])
    return {
        "images_per_second": {mode: round(value, 1) for mode, value in median.items()},
        "ratio_to_torchdistill": ratios,
        "cached_with_filling": {
            "images_per_second": round(spread, 1),
            "ratio_to_torchdistill": round(spread / median["torchdistill"], 3),
            "epochs": EPOCHS,
            "views": VIEWS,
        },
        "student_arithmetic_share": {
            mode: round(median[mode] / median["floor"], 3)
            for mode in ("torchdistill", "fresh", "cached")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of HAM10000; generated photographs otherwise")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, default=2, help="torchdistill's loader processes")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="tiny and uncompiled: shows that it works, its figures mean nothing",
    )
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rounds, sizes = options.rounds, {"size": options.size, "storage": options.size * 5 // 4}
    if options.smoke:
        rounds, sizes = 2, {"size": 32, "storage": 40, "batch": 8, "steps": 2, "compile": "no"}
    python = environment()
    with tempfile.TemporaryDirectory() as folder:
        probe = Step(folder, 0, **sizes)
        classes = photographs(Path(folder), options.data, probe.batch * probe.steps)
        step = Step(folder, classes, threads=options.threads, workers=options.workers, **sizes)
        with (
            Side(Path(sys.executable), "ours.py", step) as ours,
            Side(python, "theirs.py", step) as theirs,
        ):
            if ours.facts["parameters"] != theirs.facts["parameters"]:
                raise SystemExit(f"the networks differ: {ours.facts} and {theirs.facts}")
            measured: dict[str, list[float]] = {
                name: [] for name in ("torchdistill", "fresh", "cached", "fill", "floor")
            }
            for number in range(rounds + 1):  # the first round warms up and does not count
                for name in measured:
                    rate = theirs.turn("fresh") if name == "torchdistill" else ours.turn(name)
                    if number:
                        measured[name].append(rate)
                say(
                    f"round {number} of {rounds}: "
                    + ", ".join(f"{name} {rate[-1]:.1f}" for name, rate in measured.items() if rate)
                )
            facts = {"ours": ours.facts, "torchdistill": theirs.facts}
    words = ["HAM10000_FOLDER" if word == options.data else word for word in sys.argv[1:]]
    document = {
        "what": (
            "distillation step, images per second, loading and augmentation included, rounds"
            " interleaved"
        ),
        "command": "python benchmarks/torchdistill/compare.py " + " ".join(words),
        "smoke": options.smoke,
        "step": {
            key: value for key, value in json.loads(step.dumps()).items() if key != "photographs"
        },
        "photographs": "HAM10000" if options.data else "synthetic",
        **summary({name: np.array(rates) for name, rates in measured.items()}),
        "rates": {name: [round(rate, 2) for rate in rates] for name, rates in measured.items()},
        "facts": facts,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
        },
        "torchdistill": TORCHDISTILL,
        "created_utc": utc_now(),
        "commit": commit(),
        "versions": versions(),
    }
    output = options.output or (
        Path(tempfile.gettempdir()) / "torchdistill-smoke.json"
        if options.smoke
        else HERE / "result.json"
    )
    write_json(output, document)
    print(
        json.dumps(
            {
                key: document[key]
                for key in (
                    "images_per_second",
                    "ratio_to_torchdistill",
                    "student_arithmetic_share",
                )
            }
        )
    )


if __name__ == "__main__":
    main()
