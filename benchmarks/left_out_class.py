"""Does a guard know a kind of lesion that its student never saw? A student is trained on HAM10000
without a class, and rated on that class.

    python benchmarks/left_out_class.py data/ham10000 --class vasc --class bcc \
        --weights weights/mobilenetv2_035_backbone_in1k.pth --epochs 6 \
        --output benchmarks/results/left-out-class.json

For each ``--class`` the other six are laid out as folders of links, split by lesion; the recipe
``ham10000``'s control (no teacher) is trained on them, with the views for other clinics, and its
guard is fitted as always. Then every photograph of the class is told from the student's own test
photographs by the guard's score, and by what needs no guard: one minus the largest probability.
Each gets its AUROC and the share of the class that is refused, with 95% intervals (bootstrap over
photographs, 1,000 draws); and the guard's lead over the probability, paired. A call that was killed
goes on.
"""

import argparse
import csv
import shlex
import sys
from pathlib import Path

import numpy as np
from guard import DRAWS, auroc, rated

from mobilekd.commands.distill import control_of, distill
from mobilekd.data import inputs, load
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.inference.evaluation_set import open_evaluation_set
from mobilekd.inference.predictor import open_predictor
from mobilekd.metrics import Draws
from mobilekd.metrics.paired import p_value
from mobilekd.metrics.stats import holm
from mobilekd.support.files import write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions

#: Views that the recipe ``dermoscopy`` draws and ``ham10000`` does not.
VIEWS = {
    "scale": 0.4,
    "aspect": 0.15,
    "white_balance": 0.1,
    "gamma": 0.2,
    "blur": 0.15,
    "resolution": 0.2,
    "jpeg": 0.2,
    "hair": 0.15,
    "vignette": 0.15,
}


def lay_out(root: Path, folder: Path, left_out: str) -> None:
    """HAM10000 below ``root`` as links, a folder for each class but ``left_out``."""
    with (root / "HAM10000_metadata.csv").open() as file:
        rows = [(row["image_id"], row["dx"]) for row in csv.DictReader(file)]
    files = {path.stem: path.resolve() for path in root.glob("HAM10000_images_part_*/*.jpg")}
    for name, key in rows:
        target = folder / key / f"{name}.jpg"
        if key != left_out and not target.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(files[name])


def recipe_for(left_out: str, root: Path, folder: Path, weights: str, epochs: int) -> Recipe:
    """The control's recipe on the six other classes."""
    metadata = root / "HAM10000_metadata.csv"
    views = [f"augment.{name}={value}" for name, value in VIEWS.items()]
    return control_of(
        load_recipe(
            "ham10000",
            [
                f'name="without-{left_out}"',
                f'data={{kind="folder", root="{folder}", metadata="{metadata}"}}',
                f'student.weights="{weights}"',
                f"train.epochs={epochs}",
                "train.lr=1.5e-3",
                *views,
            ],
        )
    )


def scores_of(
    run: Path, root: Path, left_out: str
) -> tuple[float, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The guard's threshold; of the run's own test photographs and of the class, by score: how
    strange they are.
    """
    predictor = open_predictor(run)
    assert predictor.guard is not None
    own = open_evaluation_set(
        predictor.recipe, predictor.labels, predictor.split, predictor.split_hash, roles=("test",)
    )
    archive = load(DataTable(kind="ham10000", root=str(root)))
    keys = [label.key for label in archive.classes]
    chosen = [
        name
        for name, target in zip(archive.ids, archive.targets.tolist(), strict=True)
        if keys[target] == left_out
    ]
    found: dict[str, list[np.ndarray]] = {"guard": [], "probability": []}
    for pictures in (own.test().inputs, inputs(archive, chosen, predictor.preprocess)):
        answers = predictor.answers(pictures)
        assert answers.scores is not None
        found["guard"].append(np.asarray(answers.scores))
        found["probability"].append(1 - answers.probabilities.max(1))
    return predictor.guard.threshold, {name: (pair[0], pair[1]) for name, pair in found.items()}


def lead(scores: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Draws of the guard's AUROC less the probability's, on the same photographs."""
    random = np.random.default_rng(0)
    own, other = (len(part) for part in scores["guard"])
    draws = []
    for _ in range(DRAWS):
        rows, others = random.integers(0, own, own), random.integers(0, other, other)
        guard, probability = (
            auroc(scores[name][0][rows], scores[name][1][others])
            for name in ("guard", "probability")
        )
        draws.append((guard, guard - probability))
    return np.array(draws)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="HAM10000")
    parser.add_argument("--class", action="append", dest="classes", required=True, metavar="KEY")
    parser.add_argument("--weights", required=True, help="what the student starts from")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    found: dict[str, dict[str, object]] = {}
    p_values = []
    for key in arguments.classes:
        folder = arguments.runs / ".left-out" / key
        lay_out(arguments.root, folder, key)
        recipe = recipe_for(key, arguments.root, folder, arguments.weights, arguments.epochs)
        run = distill(recipe, arguments.runs, resume=True, control=False)
        threshold, scores = scores_of(run.folder, arguments.root, key)
        draws = lead(scores)
        low, high = np.quantile(draws[:, 1], [0.025, 0.975])
        above_half = auroc(*scores["guard"]) - 0.5
        p_values.append(p_value(Draws(above_half, draws[:, 0] - 0.5)))
        found[key] = {
            "own_photographs": len(scores["guard"][0]),
            "guard": rated(*scores["guard"], threshold),
            "own_refused": float((scores["guard"][0] > threshold).mean()),
            "probability": {
                name: value
                for name, value in rated(*scores["probability"], 1.0).items()
                if name != "refused"
            },
            "guard_minus_probability": {
                "value": auroc(*scores["guard"]) - auroc(*scores["probability"]),
                "low": float(low),
                "high": float(high),
            },
            "seconds_of_training": run.info.seconds,
        }
        say(f"left out: {key}: {found[key]}")
    for one, corrected in zip(found.values(), holm(p_values), strict=True):
        one["p_holm_above_half"] = corrected
    write_json(
        arguments.output,
        {
            "what": "how well a guard tells a class that its student never saw",
            "command": shlex.join(["python", "benchmarks/left_out_class.py", *sys.argv[1:]]),
            "classes": found,
            "created_utc": utc_now(),
            "commit": commit(),
            "versions": versions(),
        },
    )


if __name__ == "__main__":
    main()
