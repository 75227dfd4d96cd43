"""What fitting an artifact to a clinic brings: 200 labelled photographs of one origin fit it, all
other photographs of that origin judge it, before and after.

    python benchmarks/clinic.py ARTIFACT --root isic2019 --origin BCN --map SCC=akiec \
        --output benchmarks/results/clinic-NAME.json

ROOT holds ISIC 2019 as it is published. The photographs that fit are drawn one by one with each of
``--seed``'s seeds (default 0 to 4), or as whole lesions (``--by lesion``); no lesion of them
judges. A draw that ``calibrate`` refuses stands in the result with its reason. Besides, the same
photographs without their labels: what drift is told and which mix of classes is estimated.
``--photographs N`` draws so many of the origin first, whole lesions, where time is short.
``--not-skin FOLDER`` counts what the fitted guard still refuses of it. ``--keep`` keeps the
artifact of the first seed.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.commands.calibrate import calibrate
from mobilekd.data import inputs, load, map_classes
from mobilekd.data.dataset import Dataset
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.interval import Interval
from mobilekd.formats.preprocess import readable_suffixes
from mobilekd.inference.predictor import Answers, Predictor, open_predictor
from mobilekd.metrics import metrics
from mobilekd.metrics.calibrate import rescaled
from mobilekd.metrics.clinic import coverage_span, estimate_shares, shares_of
from mobilekd.metrics.drift import drift
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions

WHAT = (
    "an artifact fitted to about 200 labelled photographs of another clinic, judged on other"
    " lesions of it, before and after"
)

#: Figures that are kept; those of single classes beside them.
FIGURES = ("ece", "nll", "brier", "accuracy", "balanced_accuracy", "set_coverage", "set_size")


def table_of(root: Path, exclude: tuple[str, ...] | str | None = None) -> DataTable:
    """ISIC 2019 below ``root``."""
    table: dict[str, Any] = {
        "kind": "isic",
        "root": str(root / "ISIC_2019_Training_Input"),
        "labels": str(root / "ISIC_2019_Training_GroundTruth.csv"),
        "metadata": str(root / "ISIC_2019_Training_Metadata.csv"),
        "origin": "lesion_id",
    }
    return DataTable.model_validate(table | ({"exclude": exclude} if exclude else {}))


def drawn(
    dataset: Dataset, rows: np.ndarray, count: int, seed: int, by: str = "lesion"
) -> np.ndarray:
    """``count`` of ``rows`` in an order of chance; ``by`` lesion a few more, all of each."""
    if by == "photograph":
        return np.random.default_rng(seed).permutation(rows)[:count]
    lesions = np.array([dataset.lesions[row] for row in rows])
    names = np.random.default_rng(seed).permutation(np.unique(lesions))
    place = {name: index for index, name in enumerate(names)}
    order = np.array([place[lesion] for lesion in lesions])
    last = np.sort(order)[count - 1]
    return np.asarray(rows[order <= last])


def fitted_answers(given: Answers, after: Predictor) -> Answers:
    """What a fitted artifact makes of its source's answers: both give the same, bit for bit."""
    outside = given.outside
    if given.scores is not None and after.guard is not None:
        outside = after.guard.refuses(given.scores)
    final = rescaled(given.probabilities, after.calibration.rescale)
    return Answers(final, given.scores, outside)


def of(given: Answers, rows: np.ndarray) -> Answers:
    """The answers to some photographs."""
    return Answers(
        given.probabilities[rows],
        None if given.scores is None else given.scores[rows],
        None if given.outside is None else given.outside[rows],
    )


def figures(predictor: Predictor, given: Answers, data: Dataset) -> dict[str, Any]:
    """Every kept figure of a predictor's answers, with its interval."""
    found: dict[str, Interval] = metrics(
        data.targets,
        given.probabilities,
        data.lesions,
        predictor.labels,
        calibration=predictor.calibration,
    )
    wanted = [*FIGURES, *(name for name in found if name.startswith(("set_coverage.", "recall.")))]
    document = {name: found[name].model_dump() for name in wanted if name in found}
    if given.outside is not None:
        document["outside"] = {"value": float(given.outside.mean())}
    return document


def pictures_of(folder: Path, predictor: Predictor) -> np.ndarray:
    """Every photograph below ``folder``, as the model takes it."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in readable_suffixes())
    if not files:
        raise UserError(f"{folder}: no photographs in this folder")
    return np.stack([predictor.preprocess.load(file).transpose(2, 0, 1) for file in files])


def one(
    artifact: Path,
    data: Dataset,
    pictures: np.ndarray,
    answers: Answers,
    arguments: argparse.Namespace,
    mapping: dict[str, str],
    others: Answers | None,
    seed: int,
) -> dict[str, Any]:
    """One draw: fitted, judged on all other lesions, before and after."""
    chosen = drawn(data, np.arange(len(data)), arguments.count, seed, arguments.by)
    lesions = {data.lesions[int(row)] for row in chosen}
    rest = np.flatnonzero([lesion not in lesions for lesion in data.lesions])
    before, own = open_predictor(artifact), set(map(int, chosen))
    place = arguments.keep if arguments.keep and seed == arguments.seed[0] else None
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        left_out = folder / "left_out.txt"
        known = load(table_of(arguments.root))
        kept = {data.ids[row] for row in own}
        left_out.write_text("\n".join(name for name in known.ids if name not in kept) + "\n")
        try:
            made = calibrate(
                artifact,
                data=table_of(arguments.root, str(left_out)),
                mapping=mapping,
                output=place or folder / "fitted",
            )
        except UserError as error:
            return {"seed": seed, "drawn": len(chosen), "refused": str(error)}
        assert made.artifact is not None
        assert made.clinic is not None
        after = open_predictor(made.artifact)
        judges, few = data.subset(rest), rest[:64]
        np.testing.assert_allclose(
            after.answer(pictures[few]),
            fitted_answers(of(answers, few), after).probabilities,
            atol=1e-9,
        )
        result: dict[str, Any] = {
            "seed": seed,
            "fitted_on": made.photographs,
            "lesions": made.clinic.lesions,
            "by_class": made.clinic.by_class,
            "span": {key: coverage_span(count, 0.9) for key, count in made.clinic.by_class.items()},
            "judged_on": len(rest),
            "cross_fitted": {
                name: figure.model_dump() for name, figure in made.clinic.after.items()
            },
            "before": figures(before, of(answers, rest), judges),
            "after": figures(after, fitted_answers(of(answers, rest), after), judges),
        }
        if others is not None and others.outside is not None:
            refused = fitted_answers(others, after).outside
            assert refused is not None
            result["not_skin_refused"] = {
                "before": float(others.outside.mean()),
                "after": float(refused.mean()),
            }
    given = of(answers, chosen)
    shares = before.calibration.shares
    if shares:
        values = estimate_shares(given.probabilities, shares)
        estimated = {label.key: float(v) for label, v in zip(before.labels, values, strict=True)}
        result["without_labels"] = {
            "estimated": estimated,
            "true": shares_of(data.targets[chosen], before.labels),
            "told": drift(
                given.probabilities,
                given.outside,
                pictures[chosen],
                before.guard,
                before.calibration,
                before.labels,
                shares=shares,
                estimated=estimated,
            ).text,
        }
    return result


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--root", type=Path, required=True, help="ISIC 2019 as published")
    parser.add_argument("--origin", default="BCN")
    parser.add_argument("--map", action="append", default=[], metavar="THEIRS=OURS")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--by", choices=("photograph", "lesion"), default="photograph")
    parser.add_argument("--seed", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--photographs", type=int, metavar="N", help="so many of the origin's, or all (default)"
    )
    parser.add_argument("--not-skin", type=Path, metavar="FOLDER")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    predictor = open_predictor(arguments.artifact)
    mapping = dict(text.split("=") for text in arguments.map)
    mapped, _ = map_classes(load(table_of(arguments.root)), mapping, predictor.labels, "clinic")
    rows = np.flatnonzero([origin == arguments.origin for origin in mapped.origins])
    if not len(rows):
        raise UserError(f"--origin {arguments.origin}: no photograph of it in {arguments.root}")
    if arguments.photographs and arguments.photographs < len(rows):
        rows = drawn(mapped, rows, arguments.photographs, 0)
    data = mapped.subset(rows)
    say(f"clinic: {len(data)} photographs of {arguments.origin}")
    pictures = inputs(data, data.ids, predictor.preprocess)
    answers, others = predictor.answers(pictures), None
    if arguments.not_skin:
        others = predictor.answers(pictures_of(arguments.not_skin, predictor))
    shown = ["ARTIFACT", "--root ISIC_2019", *(f"--map {one}" for one in arguments.map)]
    shown += ["--not-skin FOLDER"] if arguments.not_skin else []
    shown += [f"--count {arguments.count}", f"--by {arguments.by}"]
    if arguments.photographs:
        shown.append(f"--photographs {arguments.photographs}")
    shown += [f"--seed {' '.join(map(str, arguments.seed))}", f"--output {arguments.output.name}"]
    write_json(
        arguments.output,
        {
            "what": WHAT,
            "command": f"python benchmarks/clinic.py {' '.join(shown)}",
            "target": predictor.name,
            **{name: predictor.facts.get(name) for name in ("backend", "precision", "sha256")},
            "origin": arguments.origin,
            "photographs": len(data),
            "drawn_by": arguments.by,
            "draws": [
                one(arguments.artifact, data, pictures, answers, arguments, mapping, others, seed)
                for seed in arguments.seed
            ],
            "created_utc": utc_now(),
            "commit": commit(),
            "versions": versions(),
        },
    )


if __name__ == "__main__":
    main()
