"""A student made ready to be trained, so that a mistake costs no epoch, and trained: to see as its
teacher does where the recipe asks for it, then for the task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import open_run
from mobilekd.losses import Objective
from mobilekd.students import build
from mobilekd.students.weights import weights_hash
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json
from mobilekd.training.ensemble import TeacherEnsemble
from mobilekd.training.experiment import Experiment
from mobilekd.training.loop import Trainer
from mobilekd.training.parallel import World
from mobilekd.training.schedule import check_batch, imbalance
from mobilekd.training.state import identity_before_places_were_left_out

#: Where a run's pretraining keeps its checkpoint until the run is whole.
PRETRAINING = ".pretraining"


@dataclass(frozen=True)
class StudentTraining:
    """One student about to be trained, with everything that it needs."""

    recipe: Recipe
    folder: Path
    experiment: Experiment
    ensemble: TeacherEnsemble | None
    pretraining: Trainer | None
    trainer: Trainer
    done: bool  # finished before, from the same photographs in another place
    notes: tuple[str, ...]
    doubts: tuple[str, ...]

    def train(self) -> nn.Module:
        """Train to the end, from the checkpoint where there is one; the student in eval mode."""
        experiment, ensemble, trainer = self.experiment, self.ensemble, self.trainer
        experiment.keep_split(self.folder)
        write_json(self.folder / "recipe.json", self.recipe.to_dict())
        feed = (
            ensemble.feed(trainer.objective)
            if ensemble and trainer.objective.needs_teacher
            else None
        )
        if self.pretraining and ensemble and not trainer.epoch:
            feed_inside = ensemble.feed(self.pretraining.objective, self.recipe.pretrain.teacher)
            self.pretraining.fit(experiment.training_images, None, feed_inside)
            trainer.begin_again()
        # only a teacher knows what to say of a photograph without a label
        images = experiment.training_images if feed else experiment.labelled_images
        return trainer.fit(images, experiment.validation, feed)


def make_ready(
    recipe: Recipe,
    experiment: Experiment,
    runs: Path,
    world: World,
    doubts: tuple[str, ...],
    *,
    resume: bool,
) -> StudentTraining:
    """Everything that a student's training needs, opened and checked; with ``resume`` from its
    checkpoint.
    """
    folder = runs / recipe.name
    check_batch("train", recipe.train, len(experiment.split.train), world.size)
    ensemble = _ensemble(recipe, experiment, runs, world) if recipe.teachers else None
    torch.manual_seed(recipe.seed)
    student = build(recipe.student, experiment.classes, experiment.dataset.classes)
    objective = _objective(recipe, experiment, ensemble, student)
    parts = (recipe.student, recipe.ensemble, *recipe.teachers, *recipe.losses)
    learnt_to_see = (recipe.pretrain,) if recipe.pretrain.epochs else ()
    weights = ensemble.weights if ensemble else ()
    starting = weights_hash(recipe.student.weights)
    pretraining = None
    if recipe.pretrain.epochs and ensemble:
        pretraining = _pretraining(
            recipe, experiment, ensemble, student, folder, world, (*weights, starting)
        )
    trainer = Trainer(
        student,
        objective,
        recipe.train,
        experiment.views,
        classes=experiment.classes,
        seed=recipe.seed,
        folder=folder,
        world=world,
        what=recipe.name,
        identity=experiment.identity(
            "train", recipe.train, *parts, *learnt_to_see, also=(*weights, starting)
        ),
        earlier_identity=identity_before_places_were_left_out(
            recipe,
            "train",
            experiment.split.hash(),
            experiment.unlabelled_hash,
            *parts,
            also=weights,
        ),
        view_seed=experiment.view_seed(recipe.train),
    )
    done = _done(folder, trainer.identity)
    if resume and not done:
        trainer.restore()
        if pretraining and not trainer.epoch:
            pretraining.restore()
    doubts = (*doubts, *(ensemble.doubts() if ensemble else ()))
    notes = (*experiment.dataset.notes, *doubts)
    return StudentTraining(
        recipe, folder, experiment, ensemble, pretraining, trainer, done, notes, doubts
    )


def _done(folder: Path, identity: str) -> bool:
    """Whether ``folder`` holds this very run, finished; another one is the user's mistake."""
    if not (folder / "run.json").exists():
        return False
    if open_run(folder).info.identity not in (None, identity):
        raise UserError(
            f"{folder}: holds a finished run of other teachers or starting weights; give this one"
            " another name (--set name=...)"
        )
    return True


def _ensemble(recipe: Recipe, experiment: Experiment, runs: Path, world: World) -> TeacherEnsemble:
    """The recipe's teachers, each checked to know something of this very split."""
    return TeacherEnsemble.open(
        recipe.teachers,
        recipe.ensemble,
        recipe.train,
        experiment,
        runs / recipe.name,
        runs / ".cache" / "teachers",
        world,
    )


def _objective(
    recipe: Recipe,
    experiment: Experiment,
    ensemble: TeacherEnsemble | None,
    student: nn.Module,
) -> Objective:
    """The recipe's losses, weighed for classes that are not alike in number."""
    return Objective(
        recipe.losses,
        student=student,
        teacher=ensemble.network if ensemble else None,
        preprocess=experiment.preprocess,
        teacher_preprocess=ensemble.members[0].preprocess if ensemble else None,
        classes=experiment.classes,
        mixed=recipe.train.mixup > 0,
        **imbalance(recipe.train, experiment.training_targets, experiment.classes),
    )


def _pretraining(
    recipe: Recipe,
    experiment: Experiment,
    ensemble: TeacherEnsemble,
    student: nn.Module,
    folder: Path,
    world: World,
    weights: Sequence[str | None],
) -> Trainer:
    """What brings the student's embedding to a teacher's before the task."""
    table = recipe.pretrain
    check_batch("pretrain", table, len(experiment.split.train), world.size)
    objective = Objective(
        (table.loss(),),
        student=student,
        teacher=ensemble.network_of(table.teacher),
        preprocess=experiment.preprocess,
        teacher_preprocess=ensemble.members[table.teacher].preprocess,
        classes=experiment.classes,
    )
    return Trainer(
        student,
        objective,
        table,
        experiment.views,
        classes=experiment.classes,
        seed=recipe.seed,
        folder=folder / PRETRAINING,
        world=world,
        what=f"{recipe.name}, learning to see",
        identity=experiment.identity(
            "pretrain", table, recipe.student, *recipe.teachers, also=weights
        ),
        view_seed=experiment.view_seed(table),
    )
