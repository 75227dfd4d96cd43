"""``mobilekd teach``: train a recipe's teachers under the split that its student will be judged on."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from mobilekd.files import new_folder, sha256_file, write_json
from mobilekd.losses import Objective
from mobilekd.metrics import metrics
from mobilekd.parallel import World
from mobilekd.progress import say
from mobilekd.provenance import commit, utc_now, versions
from mobilekd.recipe import LossTable, Recipe, TeacherTable
from mobilekd.teachers import build_teacher
from mobilekd.training.experiment import Experiment, prepare
from mobilekd.training.loop import Fitter
from mobilekd.training.pixels import predict_logits
from mobilekd.training.schedule import class_weights, log_priors
from mobilekd.training.state import CHECKPOINT


def teach(recipe: Recipe, runs: Path = Path("runs"), *, resume: bool = False) -> list[Path]:
    """Train every teacher that is not there yet; returns their folders ``runs/<name>/teachers/<i>``."""
    world = World.from_environment()
    folder = runs / recipe.name
    experiment = prepare(recipe, folder)
    return [
        Path(table.trained) if table.trained else _teach_one(experiment, table, folder / "teachers" / str(index), index, world, resume)
        for index, table in enumerate(recipe.teachers)
    ]


def _teach_one(experiment: Experiment, table: TeacherTable, folder: Path, index: int, world: World, resume: bool) -> Path:
    if (folder / "teacher.json").exists():
        say(f"{folder}: trained already")
        return folder
    recipe, train = experiment.recipe, experiment.recipe.teach
    torch.manual_seed(recipe.seed + index)
    model = build_teacher(table, experiment.classes)
    work = folder.with_name(f".{folder.name}.training")
    targets = experiment.pictures.targets
    objective = Objective(
        (LossTable(name="cross_entropy", options={"label_smoothing": train.label_smoothing}),),
        classes=experiment.classes,
        class_weights=torch.from_numpy(class_weights(targets, experiment.classes)) if train.balance == "weighted" else None,
        log_priors=torch.from_numpy(log_priors(targets, experiment.classes)) if train.balance == "logit_adjustment" else None,
    )
    fitter = Fitter(
        model, objective, train, experiment.views, classes=experiment.classes, seed=recipe.seed + index, folder=work, world=world,
        what=f"teacher {index} ({table.model})", identity=experiment.identity("teach", table),
        view_seed=experiment.view_seed(train),
    )  # fmt: skip
    model = fitter.fit(experiment.pictures, experiment.validation, None, resume=resume)
    if world.leader:
        _keep(model, experiment, table, folder, fitter, world)
        (work / CHECKPOINT).unlink()
        (work / "metrics.jsonl").rename(folder / "metrics.jsonl")
        work.rmdir()
    world.barrier()
    return folder


def _keep(model: nn.Module, experiment: Experiment, table: TeacherTable, folder: Path, fitter: Fitter, world: World) -> None:
    """Write the teacher's folder whole: weights, and what validation says of them."""
    split, dataset = experiment.split, experiment.dataset
    logits = predict_logits(model, experiment.views, experiment.validation.inputs, world.device)
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    rows = dataset.rows(split.validation)
    scores = metrics(
        experiment.validation.targets,
        shifted / shifted.sum(1, keepdims=True),
        tuple(dataset.lesions[row] for row in rows),
        dataset.classes,
    )
    with new_folder(folder) as new:
        save_file({key: value.contiguous().cpu() for key, value in model.state_dict().items()}, new / "weights.safetensors")
        write_json(
            new / "teacher.json",
            {
                "schema_version": 1,
                "model": table.model,
                "options": table.options,
                "labels": [label.model_dump() for label in dataset.classes],
                "preprocess": experiment.preprocess.to_dict(),
                "split_hash": split.hash(),
                "split_by": split.by,
                "data_hash": dataset.hash,
                "recipe_hash": experiment.recipe.hash(),
                "weights_sha256": sha256_file(new / "weights.safetensors"),
                "validation": {key: value.model_dump() for key, value in scores.items()},
                "seconds": round(fitter.clock.total(), 1),
                "images_per_second": round(fitter.clock.images / fitter.clock.total(), 1),
                "created_utc": utc_now(),
                "versions": versions(),
                "commit": commit(),
            },
        )
    say(f"{folder}: validation balanced accuracy {scores['balanced_accuracy'].value:.3f}")
