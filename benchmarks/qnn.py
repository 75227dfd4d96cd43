"""What rounding for Hexagon costs: the shipped student's files for it, judged by Qualcomm's
simulator on test photographs, beside XNNPACK's.

    python benchmarks/qnn.py reference:ham10000-mobilenetv2-035 benchmarks/results/qnn.json \
        --data data/ham10000

Each file is lowered as ``export`` does, whatever its gates would say, and the saved file answers
for the same photographs, drawn with seed 0. Accuracy has 95% intervals (bootstrap over lesions,
1,000 draws, the same lesions for every file, so that differences are paired). The simulator takes a
fifth of a second for each photograph on a quiet machine; with ``--work`` a call that was stopped
goes on where it was.
"""

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobilekd.backends import Backend, for_soc, get
from mobilekd.backends.base import eager_runner
from mobilekd.backends.shared import htp
from mobilekd.formats.recipe_file import with_overrides
from mobilekd.formats.runs import Run, open_run
from mobilekd.inference.evaluation_set import EvaluationSet, LabelledImages, open_evaluation_set
from mobilekd.lowering import quantize
from mobilekd.lowering.artifact_folder import travelling
from mobilekd.lowering.decisions import share
from mobilekd.lowering.parity import max_error
from mobilekd.lowering.prepare import frozen_key, prepare
from mobilekd.lowering.request import check_words
from mobilekd.metrics import interval, metric_draws
from mobilekd.students import Deployable, deployed, load
from mobilekd.support.files import new_folder, write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions

#: The first is what the others are compared with.
EVERY = ("xnnpack/fp32", "xnnpack/int8", "qnn/w8a16", "qnn/w8a8")
METRICS = ("accuracy", "balanced_accuracy")
BLOCK = 20  # photographs between two notes of where it is


def rounded(run: Run, known: EvaluationSet, backend: Backend, precision: str, work: Path) -> Any:
    """The graph that is lowered, with the rounding that the student was shipped with; else with a
    new one, kept in ``work``.
    """
    preprocess = run.recipe.preprocess.to_preprocess()
    model = Deployable(deployed(load(run)), preprocess, run.calibration, cam=False, guard=None)
    example = torch.zeros(1, 3, preprocess.height, preprocess.width)
    key = frozen_key(backend, precision)
    kept = dict(quantize.read_frozen(work))
    parameters = quantize.read_frozen(run.folder).get(key) or kept.get(key)
    made = prepare(
        model.eval(), example, backend, precision, run.recipe, known, parameters, run.folder
    )
    if parameters is None and made.frozen is not None:
        quantize.write_frozen(work, {**kept, key: made.frozen})
    return made.model


def saved(run: Run, graph: Any, backend: Backend, precision: str, work: Path) -> Path:
    """The file, made unless an earlier call left it in ``work``."""
    preprocess = run.recipe.preprocess.to_preprocess()
    folder = work / f"{backend.name}-{precision}"
    if (done := folder / backend.model_file).exists():
        return done
    said = travelling(run, run.recipe, backend, precision, ("probabilities",))
    example = torch.zeros(1, 3, preprocess.height, preprocess.width)
    with new_folder(folder) as new:
        backend.lower(graph, example, precision, said, new)
    return done


def answers(backend: Backend, file: Path, photographs: np.ndarray) -> np.ndarray:
    """Probabilities ``[N, C]`` of the saved file; those of an earlier call are kept beside it."""
    kept = file.with_name("answers.npy")
    given = np.load(kept) if kept.exists() else np.zeros((0, 0), np.float32)
    while len(given) < len(photographs):
        block = backend.run(file, photographs[len(given) : len(given) + BLOCK])[0]
        given = np.concatenate([given, block]) if len(given) else block
        np.save(kept, given)
        if len(given) % (10 * BLOCK) == 0:
            say(f"qnn: {file.parent.name}: {len(given)} of {len(photographs)} photographs")
    return given[: len(photographs)]


def alike(given: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
    """Share of photographs decided alike, with Wilson's 95% interval."""
    hits = int((given.argmax(1) == wanted.argmax(1)).sum())
    return share(hits, len(given)).model_dump()


def judged(
    given: np.ndarray, fp32: np.ndarray, photographs: LabelledImages, classes: Any
) -> dict[str, Any]:
    """Figures of one file's answers, and what they lose beside ``fp32``."""
    own, base = (
        metric_draws(METRICS, photographs.truth, one, photographs.lesions, classes)
        for one in (given, fp32)
    )
    lost = {name: base[name] - own[name] for name in METRICS}
    return {
        **{name: interval(own[name].value, own[name].spread).model_dump() for name in METRICS},
        "lost": {name: interval(one.value, one.spread).model_dump() for name, one in lost.items()},
        "decides_as_fp32": alike(given, fp32),
    }


def drawn(known: EvaluationSet, most: int) -> LabelledImages:
    """The test photographs in an order drawn with seed 0, ``most`` of them."""
    test = known.test()
    rows = np.random.default_rng(0).permutation(len(test.truth))[:most]
    lesions = tuple(test.lesions[row] for row in rows)
    return LabelledImages(test.inputs[rows], test.truth[rows], lesions)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", help="reference:NAME or a run")
    parser.add_argument("output", type=Path)
    parser.add_argument("--data", required=True, help="root of the run's own data")
    parser.add_argument("--soc", default=get("qnn").soc)
    parser.add_argument("--photographs", type=int, default=600)
    parser.add_argument("--work", type=Path, help="keep files and answers in this folder")
    arguments = parser.parse_args()
    run = open_run(arguments.target)
    recipe = with_overrides(run.recipe, [f'data.root="{arguments.data}"'])
    for row in EVERY:
        check_words(*row.split("/"))
    known = open_evaluation_set(
        recipe, run.info.labels, run.split, run.info.split_hash, pixels=run.info.pixels
    )
    photographs = drawn(known, arguments.photographs)
    work = arguments.work or Path(tempfile.mkdtemp(prefix="mobilekd-qnn-"))
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    fp32 = None
    for export in EVERY:
        name, precision = export.split("/")
        backend = for_soc(get(name), arguments.soc if name == "qnn" else None)
        graph = rounded(run, known, backend, precision, work)
        file = saved(run, graph, backend, precision, work)
        given = answers(backend, file, photographs.inputs)
        fp32 = given if fp32 is None else fp32
        row = {"export": export, "bytes": file.stat().st_size}
        row |= judged(given, fp32, photographs, run.info.labels)
        if backend.socs:
            wanted = eager_runner(graph)(photographs.inputs)[0]
            row["beside_its_source"] = {
                "max_error": max_error(given, wanted),
                "decides_alike": alike(given, wanted),
            }
        rows.append(row)
        say(f"qnn: {export}: {row}")
    write_json(
        arguments.output,
        {
            "what": "accuracy of files for Hexagon, on Qualcomm's simulator, beside XNNPACK's",
            "command": shlex.join(["python", "benchmarks/qnn.py", *sys.argv[1:]]),
            "target": run.info.name,
            "soc": arguments.soc,
            "qnn": htp.find().version,
            "photographs": len(photographs.truth),
            "lesions": len(set(photographs.lesions)),
            "utc": utc_now(),
            "commit": commit(),
            "versions": versions(),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
