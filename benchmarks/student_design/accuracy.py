r"""What each design choice is worth: a short training of every variant from random weights, judged
on validation.

    python benchmarks/student_design/accuracy.py ham10000-lesionnet \
        --set data.root=HAM10000_FOLDER [--only lesionnet stem] [--epochs 12] [--seeds 0 1]

The recipe gives data, split, size, augmentation and schedule; no teacher takes part, because a
choice should not depend on one. Two seeds tell a difference from noise. Finished variants are kept
in ``runs`` and not trained again.
"""

import argparse
import re
from pathlib import Path

import torch
from variants import named

from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import load_recipe
from mobilekd.formats.training_tables import LossTable
from mobilekd.losses import Objective
from mobilekd.support.files import read_json, write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.training.experiment import Experiment, count_parameters, prepare
from mobilekd.training.loop import Trainer
from mobilekd.training.parallel import World
from mobilekd.training.pixels import predict_logits, quick_scores

HERE = Path(__file__).resolve().parent


def train(
    name: str, recipe: Recipe, experiment: Experiment, seed: int, folder: Path
) -> dict[str, object]:
    """One variant with one seed: its figures on validation; goes on from a checkpoint."""
    done = folder / "scores.json"
    if done.exists():
        return read_json(done, "scores")
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    network = named([name])[name]()
    losses = [table for table in recipe.losses if table.name == "cross_entropy"] or [
        LossTable(name="cross_entropy")
    ]
    trainer = Trainer(
        network,
        Objective(losses, classes=experiment.classes),
        recipe.train,
        experiment.views,
        classes=experiment.classes,
        seed=seed,
        folder=folder,
        world=World.from_environment(),
        what=f"{name}, seed {seed}",
        identity=f"{experiment.identity('train', recipe.train, *losses)} {name} {seed}",
        view_seed=experiment.view_seed(recipe.train),
    )
    trainer.restore()
    trained = trainer.fit(experiment.training_images, experiment.validation, None)
    logits = predict_logits(
        trained, experiment.views, experiment.validation.inputs, trainer.world.device
    )
    scores = {
        "variant": name,
        "seed": seed,
        **quick_scores(logits, experiment.validation.targets, experiment.classes),
        "parameters": count_parameters(network),
        "seconds": round(trainer.clock.total(), 1),
    }
    write_json(done, scores)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="the recipe's own reduction: seconds, and no figures worth keeping",
    )
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of variants' names")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--runs", type=Path, default=Path("runs/student_design"))
    parser.add_argument("--output", type=Path, default=HERE / "accuracy.json")
    options = parser.parse_args()
    epochs = [f"train.epochs={options.epochs}"] if options.epochs else []
    recipe = load_recipe(options.recipe, [*options.overrides, *epochs], smoke=options.smoke)
    options.runs.mkdir(parents=True, exist_ok=True)
    experiment = prepare(
        recipe.data,
        recipe.split,
        recipe.preprocess.to_preprocess(),
        recipe.augment,
        recipe.seed,
        options.runs,
    )
    rows = []
    for seed in options.seeds:
        for name in named(options.only):
            rows.append(
                train(
                    name,
                    recipe,
                    experiment,
                    seed,
                    options.runs / f"{re.sub(r'[^a-z0-9.]+', '-', name.lower())}-{seed}",
                )
            )
            say(
                f"{name}, seed {seed}: balanced accuracy {rows[-1]['balanced_accuracy']} on"
                " validation"
            )
    write_json(
        options.output,
        {
            "what": (
                "variants trained alike from random weights without a teacher; figures on"
                " validation"
            ),
            "command": f"python benchmarks/student_design/accuracy.py {options.recipe}",
            "recipe": recipe.to_dict(),
            "split_hash": experiment.split.hash(),
            "created_utc": utc_now(),
            "commit": commit(),
            "versions": versions(),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
