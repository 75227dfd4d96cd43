"""What a guard is worth in a clinic that its student never saw: as it was shipped, with another
threshold (as ``calibrate`` moves it), and knowing some of the clinic's photographs
(``export --guard-photographs``).

    python benchmarks/guard_clinic.py reference:NAME --root ISIC_2019 --own HAM10000 \
        --not-skin FOLDER --output benchmarks/results/clinic-guard.json

``--count`` photographs of ``--origin`` are drawn with each of ``--seed``'s seeds. All others of
that origin, of other lesions, judge, and so do the run's own test photographs (``--own``) and
photographs of anything but skin: which share each guard refuses, and the AUROC of the clinic's
against no skin. No labels are used. The guard is the student's own, in floating point.
"""

import argparse
import shlex
import sys
from pathlib import Path

import numpy as np
from clinic import table_of
from guard import auroc, folder

from mobilekd.data import load, pictures
from mobilekd.formats.guard import Guard
from mobilekd.formats.recipe_file import with_overrides
from mobilekd.formats.runs import open_run
from mobilekd.inference.evaluation_set import open_evaluation_set
from mobilekd.inference.guard import shown
from mobilekd.metrics.guard import knowing_clinic, with_threshold
from mobilekd.students import load as load_student
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json
from mobilekd.support.provenance import commit, utc_now, versions


def rated(
    guard: Guard, clinic: np.ndarray, own: np.ndarray, no_skin: np.ndarray
) -> dict[str, float]:
    """Shares that ``guard`` refuses, and how well it tells the clinic's from no skin."""
    others, known, strange = (guard.scores(seen) for seen in (clinic, own, no_skin))
    return {
        "threshold": guard.threshold,
        "auroc": auroc(others, strange),
        **{
            name: float((scores > guard.threshold).mean())
            for name, scores in (
                ("clinic_refused", others),
                ("own_refused", known),
                ("no_skin_refused", strange),
            )
        },
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("--root", type=Path, required=True, help="ISIC 2019 as published")
    parser.add_argument("--origin", default="BCN")
    parser.add_argument("--own", type=Path, required=True, help="root of the run's own data")
    parser.add_argument("--not-skin", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    guard, student = run.guard, load_student(run).eval()
    if guard is None:
        raise UserError(f"{arguments.run}: has no guard")
    preprocess = run.recipe.preprocess.to_preprocess()
    recipe = with_overrides(run.recipe, [f'data.root="{arguments.own}"'])
    test = open_evaluation_set(
        recipe, run.info.labels, run.split, run.info.split_hash, roles=("test",)
    ).test()
    dataset = load(table_of(arguments.root))
    rows = np.flatnonzero(np.array(dataset.origins) == arguments.origin)
    clinic, own, no_skin = (
        shown(student, guard.layers, preprocess, these, deviations=guard.deviations)
        for these in (
            pictures(dataset, [dataset.ids[row] for row in rows], preprocess),
            test.inputs,
            folder(arguments.not_skin, preprocess, 10_000),
        )
    )
    lesions = np.array([dataset.lesions[row] for row in rows])
    draws = []
    for seed in arguments.seed:
        drawn = np.sort(np.random.default_rng(seed).permutation(len(rows))[: arguments.count])
        others = clinic[~np.isin(lesions, lesions[drawn])]
        guards = {
            "shipped": guard,
            "threshold_moved": with_threshold(guard, guard.scores(clinic[drawn])),
            "knowing": knowing_clinic(guard, clinic[drawn]),
        }
        draws.append(
            {
                "seed": seed,
                "judged_on": len(others),
                **{name: rated(one, others, own, no_skin) for name, one in guards.items()},
            }
        )
    write_json(
        arguments.output,
        {
            "what": "a guard in a clinic that its student never saw: shipped, with its threshold"
            f" moved, and knowing {arguments.count} of the clinic's photographs without labels",
            "command": shlex.join(["python", "benchmarks/guard_clinic.py", *sys.argv[1:]]),
            "run": run.info.name,
            "origin": arguments.origin,
            "own": len(own),
            "no_skin": len(no_skin),
            "draws": draws,
            "created_utc": utc_now(),
            "commit": commit(),
            "versions": versions(),
        },
    )


if __name__ == "__main__":
    main()
