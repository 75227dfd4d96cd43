"""``mobilekd teach``: train a recipe's teachers under the split that its student will be
judged on.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mobilekd.formats.own_code import is_own
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import KEPT, as_recipe
from mobilekd.formats.runs import METRICS
from mobilekd.formats.teacher import (
    RECORD,
    TeacherRecord,
    file_of,
    finished_file,
    read_teacher,
    taught_before,
    teacher_folder,
    write_teacher,
)
from mobilekd.formats.training_tables import LossTable, TeachTable
from mobilekd.losses import Objective
from mobilekd.metrics import metrics
from mobilekd.metrics.calibrate import softmax
from mobilekd.students.answers import answer_fault, learns_nothing
from mobilekd.students.libraries import say_other_statistics
from mobilekd.students.weights import weights_hash
from mobilekd.support.errors import UserError
from mobilekd.support.files import new_folder, sha256_file, write_bytes, write_json, write_text
from mobilekd.support.lock import locked
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.teachers.network import (
    ChosenClasses,
    build_teacher,
    check_teacher,
    save_teacher,
    teacher_preprocess,
)
from mobilekd.teachers.program import check_alone, check_program, is_program
from mobilekd.teachers.same_teacher import difference, source_of
from mobilekd.teachers.shape_check import check_output_shape
from mobilekd.training.experiment import Experiment, prepare, teachers_sizes
from mobilekd.training.loop import Trainer
from mobilekd.training.member import refuse_one_answer, remedy_of_finished
from mobilekd.training.parallel import World
from mobilekd.training.pixels import predict_logits
from mobilekd.training.schedule import check_batch, imbalance
from mobilekd.training.state import identity_before_places_were_left_out
from mobilekd.training.views import Views


def teach(
    recipe: Recipe | str | Path,
    runs: Path = Path("runs"),
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
) -> list[Path]:
    """Train every teacher that is not there yet; returns their folders
    ``runs/<name>/teachers/<i>``. A recipe is given as it is, by a shipped name, or by its file.
    ``overrides`` change it (``data.root=photographs``, ``teach.epochs=3``).

    All are built before the first is trained, so that a mistake in the last one costs no epoch and
    leaves no file. The run's folder is locked until the end.
    """
    recipe = as_recipe(recipe, "teach", overrides)
    for table in recipe.teachers:
        if not taught_before(table):
            check_teacher(table)
    world = World.from_environment()
    folder = runs / recipe.name
    with locked(folder, f"teach {recipe.name}"):
        experiment = prepare(
            recipe.data,
            recipe.split,
            recipe.preprocess.to_preprocess(),
            recipe.augment,
            recipe.seed,
            folder,
            models=teachers_sizes(recipe.teachers, recipe.preprocess.to_preprocess()),
        )
        trainings = [
            _TeacherTraining(recipe, experiment, index, folder, world)
            for index, table in enumerate(recipe.teachers)
            if not taught_before(table)
        ]
        unfinished = [training for training in trainings if not training.finished()]
        for training in unfinished:
            training.make_ready(resume=resume)
        for training in trainings:
            if training not in unfinished:
                training.clear()
        if unfinished and world.leader:
            # so that the run's folder stands for the recipe, with all that was set
            write_json(folder / KEPT, recipe.to_dict())
        for training in unfinished:
            training.run()
    return [teacher_folder(table, folder, index) for index, table in enumerate(recipe.teachers)]


class _TeacherTraining:
    """One teacher about to be trained."""

    def __init__(
        self, recipe: Recipe, experiment: Experiment, index: int, runs_folder: Path, world: World
    ) -> None:
        self.recipe, self.experiment, self.index, self.world = recipe, experiment, index, world
        self.table = recipe.teachers[index]
        self.run_folder = runs_folder
        self.folder = runs_folder / "teachers" / str(index)
        self.work = self.folder.with_name(f".{index}.training")
        self.preprocess = teacher_preprocess(self.table, experiment.preprocess)
        self.file = finished_file(self.table)
        self.as_it_is = self.file is not None or recipe.teach.epochs == 0
        self.identity = experiment.identity(
            "teach",
            TeachTable(epochs=0) if self.file else recipe.teach,
            self.table,
            also=(weights_hash(str(self.file) if self.file else self.table.weights),),
            preprocess=self.preprocess,
        )
        self.earlier_identity = identity_before_places_were_left_out(
            recipe, "teach", experiment.split.hash(), experiment.unlabelled_hash, self.table
        )

    def finished(self) -> bool:
        """Whether the teacher is there; one of another recipe is the user's mistake."""
        if not (self.folder / RECORD).exists():
            return False
        record = read_teacher(self.folder)
        if record.identity not in (self.identity, self.earlier_identity):
            changed = difference(record, self.table, self.index, self.recipe.teach.epochs)
            raise UserError(
                f"{self.folder}: was taught by another recipe"
                + (
                    f" ({changed}); use another name (--set name=...), or write it as it was"
                    if changed
                    else "; use another name (--set name=...), or distil from it as it is (--set"
                    f" teachers.{self.index}.trained={self.folder})"
                )
            )
        say(f"{self.folder}: trained already")
        return True

    def clear(self) -> None:
        """Remove what a call that was killed after the teacher was whole had no time to."""
        if self.world.leader:
            shutil.rmtree(self.work, ignore_errors=True)

    def make_ready(self, *, resume: bool) -> None:
        """Build the network and try it; one to be trained goes on from its checkpoint if asked."""
        torch.manual_seed(self.recipe.seed + self.index)
        self.trainer: Trainer | None = None
        if self.as_it_is:
            self.model = self._finished_network()
            return
        self.trainer = self._trainer(self._network())
        if resume:
            self.trainer.restore()

    def _finished_network(self) -> nn.Module:
        """A teacher that is taken as it is: it answers for the data's classes, and not always the
        same.
        """
        experiment, table = self.experiment, self.table
        model = build_teacher(table, experiment.classes, finished=True)
        keys = [label.key for label in experiment.dataset.classes]
        if isinstance(model, ChosenClasses):
            model.choose(table.classes, keys)
        else:
            say(
                f"teacher {table.model}: its classes are taken in the data's order,"
                f" {', '.join(keys)}; teachers.{self.index}.classes says another"
            )
        check_output_shape(
            model, table, self.index, experiment.classes, self.preprocess, finished=True
        )
        check_program(model, self.index, self.preprocess)
        self._say_statistics()
        model.to(self.world.device).eval()
        check_alone(model, table.model, self.preprocess)
        refuse_one_answer(
            f"teacher {table.model}",
            model,
            self.preprocess,
            experiment,
            self.world.device,
            remedy_of_finished(self.index),
        )
        self._refuse_unfit(model.cpu())
        return model.to(self.world.device)

    def _network(self) -> nn.Module:
        """A teacher that is to be trained on the data's classes, with its pretrained weights."""
        experiment, table = self.experiment, self.table
        if table.classes:
            raise UserError(
                f"teachers.{self.index}.classes: the order of a finished teacher's classes, and"
                " this one is trained on the data's own; name its file in"
                f" teachers.{self.index}.trained, or leave classes out"
            )
        model = build_teacher(table, experiment.classes)
        if table.weights not in (None, "", "hub") and not is_own(table.model):
            say_other_statistics(
                f"teacher {table.model}",
                table.model,
                self.preprocess.mean,
                self.preprocess.std,
                f"where the file is of that kind, set teachers.{self.index}.mean and .std",
            )
        if any(isinstance(module, _BatchNorm) for module in model.modules()):
            train = self.recipe.teach
            check_batch("teach", train, len(experiment.split.train), self.world.size)
        check_output_shape(model, table, self.index, experiment.classes, self.preprocess)
        self._refuse_unfit(model)
        return model

    def _trainer(self, model: nn.Module) -> Trainer:
        """What trains ``model`` by cross-entropy alone."""
        experiment, train = self.experiment, self.recipe.teach
        smoothing = {"label_smoothing": train.label_smoothing}
        objective = Objective(
            (LossTable(name="cross_entropy", options=smoothing),),
            classes=experiment.classes,
            **imbalance(train, experiment.training_targets, experiment.classes),
        )
        return Trainer(
            model,
            objective,
            train,
            Views(experiment.augment, self.preprocess),
            classes=experiment.classes,
            seed=self.recipe.seed + self.index,
            folder=self.work,
            world=self.world,
            what=f"teacher {self.index} ({self.table.model})",
            identity=self.identity,
            earlier_identity=self.earlier_identity,
            view_seed=experiment.view_seed(train),
        )

    def _refuse_unfit(self, model: nn.Module) -> None:
        """A ``UserError`` where an own teacher cannot be trained, kept or listened to."""
        if not is_own(self.table.model):
            return

        table = self.table.model_copy(update={"weights": None, "trained": None})

        def again() -> nn.Module:
            return build_teacher(table, self.experiment.classes)

        fault = (None if self.as_it_is else learns_nothing(model)) or answer_fault(
            model, again, self.preprocess.height, self.preprocess.width
        )
        if fault:
            raise UserError(f"teacher {self.table.model}: {fault}")

    def _say_statistics(self) -> None:
        """How a finished teacher is shown photographs, where only its author knows how it was."""
        if self.table.weights == "hub" or (self.table.mean and self.table.std):
            return
        mean, std = (
            ", ".join(f"{value:.3f}" for value in values)
            for values in (self.preprocess.mean, self.preprocess.std)
        )
        say(
            f"teacher {self.table.model}: is shown photographs of"
            f" {self.preprocess.width}x{self.preprocess.height} with mean ({mean}) and std ({std});"
            f" where it was trained otherwise, set teachers.{self.index}.mean and .std"
        )

    def run(self) -> None:
        """Train to the end and write the teacher's folder."""
        experiment = self.experiment
        experiment.keep_split(self.run_folder)
        if self.trainer is None:
            model = self.model
        else:
            images = experiment.images(self.preprocess)
            model = self.trainer.fit(images, experiment.validation_of(self.preprocess), None)
        if self.world.leader:
            self._keep(model)
        self.world.barrier()

    def _keep(self, model: nn.Module) -> None:
        """Write the folder whole: weights, and what validation says of them."""
        experiment, trainer = self.experiment, self.trainer
        split, dataset = experiment.split, experiment.dataset
        validation = experiment.validation_of(self.preprocess)
        views = Views(experiment.augment, self.preprocess)
        logits = predict_logits(model, views, validation.inputs, self.world.device)
        scores = metrics(
            validation.targets,
            softmax(logits),
            tuple(dataset.lesions[row] for row in dataset.rows(experiment.validation_ids)),
            dataset.classes,
        )
        with new_folder(self.folder) as new:
            answering = file_of(self.table.model)
            if is_program(model) and self.file:
                write_bytes(new / answering, self.file.read_bytes())
            else:
                save_teacher(model, new / answering)
            if trainer:
                write_text(new / METRICS, trainer.metrics)
            record = TeacherRecord(
                model=self.table.model,
                options=self.table.options,
                classes=self.table.classes,
                code=self.table.code,
                labels=dataset.classes,
                preprocess=self.preprocess.to_dict(),
                split_hash=split.hash(),
                split_by=experiment.split_by,
                data_hash=dataset.hash,
                data_licence=self.table.licence if self.as_it_is else dataset.licence,
                recipe_hash=self.recipe.hash(),
                identity=self.identity,
                weights_sha256=sha256_file(new / answering),
                finished=self.as_it_is,
                source=source_of(self.table),
                validation=scores,
                seconds=round(trainer.clock.total(), 3) if trainer else 0.0,  # 0: as it was
                images_per_second=(
                    round(trainer.clock.images / trainer.clock.total(), 1) if trainer else 0.0
                ),
                created_utc=utc_now(),
                versions=versions(),
                commit=commit(),
            )
            write_teacher(new, record)
        if trainer:
            shutil.rmtree(self.work)
        say(f"{self.folder}: validation balanced accuracy {scores['balanced_accuracy'].value:.3f}")
        if (doubt := record.doubt()) is not None:
            say(doubt)
