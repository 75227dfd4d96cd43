"""``mobilekd teach``: train a recipe's teachers under the split that its student will be
judged on.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from mobilekd.formats.recipe import LossTable, Recipe, TeacherTable
from mobilekd.losses import Objective
from mobilekd.metrics import metrics
from mobilekd.support.errors import UserError
from mobilekd.support.files import new_folder, read_json, sha256_file, write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.teachers.network import build_teacher, save_teacher
from mobilekd.teachers.shape_check import check_output_shape
from mobilekd.training.experiment import Experiment, prepare
from mobilekd.training.loop import Trainer
from mobilekd.training.parallel import World
from mobilekd.training.pixels import predict_logits
from mobilekd.training.schedule import class_weights, log_priors
from mobilekd.training.state import CHECKPOINT


def teach(recipe: Recipe, runs: Path = Path("runs"), *, resume: bool = False) -> list[Path]:
    """Train every teacher that is not there yet; returns their folders
    ``runs/<name>/teachers/<i>``.

    All are built before the first is trained, so that a mistake in the last one costs no epoch and
    leaves no file.
    """
    world = World.from_environment()
    folder = runs / recipe.name
    experiment = prepare(recipe, folder)
    lessons = []
    for index, table in enumerate(recipe.teachers):
        place = folder / "teachers" / str(index)
        if not table.trained and (place / "teacher.json").exists():
            if read_json(place / "teacher.json", "teacher")["identity"] != experiment.identity(
                "teach", table
            ):
                raise UserError(
                    f"{place}: was taught by another recipe; use another name (--set name=...), or"
                    " remove that folder"
                )
            say(f"{place}: trained already")
        elif not table.trained:
            lessons.append((table, place, _ready(experiment, table, place, index, world)))
    for table, place, trainer in lessons:
        experiment.keep_split(folder)
        model = trainer.fit(experiment.training_images, experiment.validation, None, resume=resume)
        if world.leader:
            _keep(model, experiment, table, place, trainer)
        world.barrier()
    return [
        Path(table.trained or folder / "teachers" / str(index))
        for index, table in enumerate(recipe.teachers)
    ]


def _ready(
    experiment: Experiment, table: TeacherTable, folder: Path, index: int, world: World
) -> Trainer:
    """The teacher with its pretrained weights, about to be trained."""
    recipe, train = experiment.recipe, experiment.recipe.teach
    torch.manual_seed(recipe.seed + index)
    model = build_teacher(table, experiment.classes)
    check_output_shape(model, table, index, experiment.classes, experiment.preprocess)
    targets = experiment.targets(experiment.split.train)
    objective = Objective(
        (LossTable(name="cross_entropy", options={"label_smoothing": train.label_smoothing}),),
        classes=experiment.classes,
        class_weights=(
            torch.from_numpy(class_weights(targets, experiment.classes))
            if train.balance == "weighted"
            else None
        ),
        log_priors=(
            torch.from_numpy(log_priors(targets, experiment.classes))
            if train.balance == "logit_adjustment"
            else None
        ),
    )
    return Trainer(
        model,
        objective,
        train,
        experiment.views,
        classes=experiment.classes,
        seed=recipe.seed + index,
        folder=folder.with_name(f".{folder.name}.training"),
        world=world,
        what=f"teacher {index} ({table.model})",
        identity=experiment.identity("teach", table),
        view_seed=experiment.view_seed(train),
    )


def _keep(
    model: nn.Module, experiment: Experiment, table: TeacherTable, folder: Path, trainer: Trainer
) -> None:
    """Write the teacher's folder whole: weights, and what validation says of them."""
    split, dataset = experiment.split, experiment.dataset
    logits = predict_logits(
        model, experiment.views, experiment.validation.inputs, trainer.world.device
    )
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    rows = dataset.rows(split.validation)
    scores = metrics(
        experiment.validation.targets,
        shifted / shifted.sum(1, keepdims=True),
        tuple(dataset.lesions[row] for row in rows),
        dataset.classes,
    )
    with new_folder(folder) as new:
        save_teacher(model, new / "weights.safetensors")
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
                "identity": trainer.identity,
                "weights_sha256": sha256_file(new / "weights.safetensors"),
                "validation": {key: value.model_dump() for key, value in scores.items()},
                "seconds": round(trainer.clock.total(), 1),
                "images_per_second": round(trainer.clock.images / trainer.clock.total(), 1),
                "created_utc": utc_now(),
                "versions": versions(),
                "commit": commit(),
            },
        )
    (trainer.folder / CHECKPOINT).unlink()
    (trainer.folder / "metrics.jsonl").rename(folder / "metrics.jsonl")
    trainer.folder.rmdir()
    say(f"{folder}: validation balanced accuracy {scores['balanced_accuracy'].value:.3f}")
