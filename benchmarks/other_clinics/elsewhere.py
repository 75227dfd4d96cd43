"""Which shipped student holds best away from HAM10000: all of them on the same photographs.

    python benchmarks/other_clinics/elsewhere.py --root data/isic2019 \\
        --output benchmarks/results/other_clinics/elsewhere.json

The photographs are the test part of ``reference:dermoscopy-mobilenetv2-035`` by origin, without
HAM10000's, on which the other students were trained. None of the students was trained on a lesion
among them, but the first one has seen other lesions of the same clinics. Differences are paired by
photograph, lesions resampled, 2,000 draws, and p-values corrected by Holm over the table.
"""

import argparse
import shlex
import sys
from pathlib import Path

import numpy as np

from mobilekd.formats.recipe_file import with_overrides
from mobilekd.formats.runs import DEFAULT_REFERENCE, open_run, references
from mobilekd.inference.evaluation_set import LabelledImages, open_evaluation_set
from mobilekd.inference.predictor import open_predictor
from mobilekd.metrics import Draws, interval, metric_draws
from mobilekd.metrics.paired import p_value
from mobilekd.metrics.stats import holm
from mobilekd.support.files import write_json
from mobilekd.support.provenance import commit, utc_now, versions

METRICS = ("balanced_accuracy", "accuracy", "nll", "ece")

#: What all shipped students but one were trained on.
SEEN = "HAM"


def figures(draws: dict[str, Draws]) -> dict[str, object]:
    """Each metric with its interval."""
    return {name: interval(one.value, one.spread).model_dump() for name, one in draws.items()}


def compared(
    test: LabelledImages, answers: dict[str, np.ndarray], rows: np.ndarray, keys: list[str]
) -> dict[str, object]:
    """Every student on the photographs of ``rows`` and the default's lead over each other one.

    ``answers`` are probabilities [N, C] by student.
    """
    lesions = [test.lesions[row] for row in rows]
    drawn = {
        name: metric_draws(METRICS, test.truth[rows], one[rows], lesions, keys, draws=2000)
        for name, one in answers.items()
    }
    ahead = {
        name: {metric: drawn[DEFAULT_REFERENCE][metric] - one[metric] for metric in METRICS}
        for name, one in drawn.items()
        if name != DEFAULT_REFERENCE
    }
    return {
        "photographs": len(rows),
        "lesions": len(set(lesions)),
        "students": {name: figures(one) for name, one in drawn.items()},
        "default_minus": {
            name: {**figures(one), "p": p_value(one["balanced_accuracy"])}
            for name, one in ahead.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="ISIC 2019's folder")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    run = open_run("reference:dermoscopy-mobilenetv2-035")
    recipe = with_overrides(run.recipe, [f"data.root={arguments.root}"])
    known = open_evaluation_set(
        recipe,
        run.info.labels,
        run.split,
        run.info.split_hash,
        roles=("test",),
        pixels=run.info.pixels,
    )
    test, keys = known.test(), [label.key for label in run.info.labels]
    answers = {}
    for name in references():
        predictor = open_predictor(f"reference:{name}")
        if [label.key for label in predictor.labels] != keys:
            raise SystemExit(f"{name}: other classes than {', '.join(keys)}")
        answers[name] = predictor.answers(test.inputs).probabilities
    origins = np.array(test.origins)
    away = sorted(set(origins) - {SEEN})
    tables = {name: compared(test, answers, np.flatnonzero(origins == name), keys) for name in away}
    tables["all"] = compared(test, answers, np.flatnonzero(origins != SEEN), keys)
    each = [(table, name) for table in tables for name in tables[table]["default_minus"]]
    corrected = holm([tables[table]["default_minus"][name]["p"] for table, name in each])
    for (table, name), p in zip(each, corrected, strict=True):
        tables[table]["default_minus"][name]["p_holm"] = p
    write_json(
        arguments.output,
        {
            "what": "shipped students on test photographs of other origins than HAM10000",
            "command": shlex.join(
                ["python", "benchmarks/other_clinics/elsewhere.py", *sys.argv[1:]]
            ),
            "default": DEFAULT_REFERENCE,
            "split_hash": run.info.split_hash,
            "origins": tables,
            "versions": versions(),
            "commit": commit(),
            "created_utc": utc_now(),
        },
    )


if __name__ == "__main__":
    main()
