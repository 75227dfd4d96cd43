"""Every parser of ours under a fuzzer that is guided by the branches it reaches: it answers or
raises ``UserError``, whatever it is fed.
"""

import os
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_commands import Workshop
from fault_ledger import Ledger, Tally

pytest.importorskip("atheris", reason="atheris has wheels for Linux on x86-64 only")

HERE = Path(__file__).resolve().parent

PARSERS = (
    "recipe",
    "tables",
    "manifest",
    "measurement",
    "run",
    "teacher",
    "layers",
    "adb",
    "checkpoint",
    "litert",
    "mil",
    "onnx",
    "pte",
    "vulkan",
)

#: Which folder a parser's seeds lie in, where it is not that of all commands.
SEEDS = {"mil": "coreml", "onnx": "onnx", "vulkan": "vulkan"}

#: A valid text for parsers whose input is text.
TEXTS = {
    "recipe": ["small.toml"],
    "tables": [],
}
WORDS = {
    "tables": ["@image,lesion_id,age\nISIC_1,l1,30\nISIC_2,l2,\n", " image,MEL,NV\nISIC_1,1.0,0\n"],
    "adb": [
        "\x00R58M\tdevice\nemulator-5554\toffline\n",
        "\x20[ro.product.manufacturer]: [Google]\n[ro.build.version.sdk]: [34]\n",
        "\x50## battery\n  level: 88\n  scale: 100\n  temperature: 312\n",
    ],
}


def fuzz(workshop: Workshop, parser: str, seed: int, *limits: str) -> Tally:
    """Feed ``parser`` until a limit of libFuzzer's is reached (``-runs=N``,
    ``-max_total_time=S``).
    """
    seeds = workshop.seeds(SEEDS.get(parser, "bench"))
    work = workshop.place()
    corpus = work / "corpus"
    corpus.mkdir(parents=True)
    for index, text in enumerate(WORDS.get(parser, [])):
        (corpus / f"text{index}").write_bytes(text.encode("latin-1"))
    for file in TEXTS.get(parser, []):
        (corpus / file).write_bytes(b" " + (seeds / file).read_bytes())
    for byte in range(0, 256, 24):  # one input for each way that a target knows
        (corpus / f"way{byte}").write_bytes(bytes([byte]) * 64)
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            str(HERE / "fuzz_targets.py"),
            parser,
            str(seeds),
            str(work / "work"),
            *limits,
            f"-seed={seed + 1}",
            "-timeout=60",
            "-rss_limit_mb=6000",
            "-max_len=4096",
            "-len_control=0",  # long inputs from the start
            f"-artifact_prefix={work}/",
            str(corpus),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
        },
    )
    harmless, refused = struct.unpack("<QQ", (work / "work" / "counts").read_bytes())
    covered = re.findall(r"cov: (\d+)", done.stderr)
    tally = Tally(refused, harmless, detail=f"{covered[-1] if covered else 0} branches reached")
    if done.returncode:
        # the interpreter's own words stand before libFuzzer's
        told = (done.stdout + done.stderr).partition("Uncaught Python exception")[2] or done.stderr[
            -2000:
        ]
        kept = [str(path) for path in work.iterdir() if path.is_file()]
        tally.wrong.append(f"code {done.returncode}, input {kept}: {told[:3000]}")
    else:
        shutil.rmtree(work)
    return tally


@pytest.mark.parametrize("parser", PARSERS)
def test_odd_input_is_answered_or_refused(workshop: Workshop, parser: str, seed: int):
    tally = fuzz(workshop, parser, seed, "-runs=2000", "-max_total_time=5")
    assert not tally.wrong, tally.wrong[0]
    assert tally.tried


@pytest.mark.reliability
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("parser", PARSERS)
def test_ten_minutes_of_odd_input(
    workshop: Workshop, ledger: Ledger, parser: str, seed: int, share: float
):
    began = time.monotonic()
    tally = fuzz(workshop, parser, seed, f"-max_total_time={max(10, round(600 * share))}")
    ledger.keep("fuzz", parser, tally, time.monotonic() - began, seed)
    assert not tally.wrong, tally.wrong[0]
