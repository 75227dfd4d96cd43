"""``mobilekd distill``: the whole story of a student, top to bottom.

Data and split; teachers, checked to know something; the student taught by them and its control,
which is the same student under the same schedule without a teacher; temperature and "not sure"
fitted on validation; a run folder.
"""

import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from mobilekd.data import training_hashes
from mobilekd.formats.guard import GUARD
from mobilekd.formats.recipe import Recipe, same_but_for_places
from mobilekd.formats.recipe_file import as_recipe, changed_code
from mobilekd.formats.runs import (
    METRICS,
    Run,
    RunInfo,
    control_name,
    open_run,
    write_run_info,
)
from mobilekd.formats.training_tables import EnsembleTable, LossTable, PretrainTable
from mobilekd.inference.guard import guard_for
from mobilekd.losses import Objective
from mobilekd.lowering.trial import check_exports, refuse_unlowerable
from mobilekd.metrics import interval, metric_draws
from mobilekd.metrics.calibrate import calibrate, softmax
from mobilekd.students import build
from mobilekd.students.any_network import is_known_elsewhere
from mobilekd.students.weights import weights_hash
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json, write_bytes, write_json, write_text
from mobilekd.support.lock import locked
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.training.ensemble import TeacherEnsemble
from mobilekd.training.experiment import (
    Experiment,
    count_macs,
    count_parameters,
    prepare,
    teachers_sizes,
)
from mobilekd.training.first_checks import check_recipe, seen_before, warn_of_few_steps
from mobilekd.training.licences import licence_of_student
from mobilekd.training.loop import Trainer
from mobilekd.training.parallel import World
from mobilekd.training.pixels import predict_logits
from mobilekd.training.schedule import check_batch, imbalance
from mobilekd.training.state import CHECKPOINT, identity_before_places_were_left_out

#: Metrics on validation that a run remembers, for its summary.
KEPT = ("balanced_accuracy", "accuracy", "nll")

#: Where a run's pretraining keeps its checkpoint until the run is whole.
PRETRAINING = ".pretraining"


def distill(
    recipe: Recipe | str | Path,
    runs: Path = Path("runs"),
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    control: bool = True,
) -> Run:
    """Train the recipe's student, and its control unless told not to; returns the student's
    finished run. A recipe is given as it is, by a shipped name, or by its file. ``overrides``
    change it (``data.root=photographs``, ``train.epochs=3``).

    Both are made ready before either is trained, so that a mistake in the recipe costs no epoch and
    leaves no file. Both folders are locked until the end.
    """
    world, recipe = World.from_environment(), as_recipe(recipe, "distill", overrides)
    wanted = [control_of(recipe), recipe] if control and recipe.teachers else [recipe]
    with ExitStack() as locks:
        for one in wanted:
            locks.enter_context(locked(runs / one.name, f"distill {recipe.name}"))
        unfinished = [one for one in wanted if not _finished(one, runs / one.name, resume=resume)]
        if unfinished:
            check_recipe(recipe, runs)
            check_exports(recipe.student)
            folders = [runs / one.name for one in unfinished]
            experiment = prepare(
                recipe.data,
                recipe.split,
                recipe.preprocess.to_preprocess(),
                recipe.augment,
                recipe.seed,
                *folders,
                unlabelled=recipe.unlabelled_photographs,
                models=teachers_sizes(recipe.teachers, recipe.preprocess.to_preprocess()),
            )
            if is_known_elsewhere(recipe.student.model) and world.leader:
                _try_exports(recipe, experiment, runs / ".cache" / "exports")
            seen = seen_before(recipe, experiment)
            trials = [
                _ready(one, experiment, runs, world, seen, resume=resume) for one in unfinished
            ]
            if world.leader:
                for doubt in dict.fromkeys(d for trial in trials for d in trial.doubts):
                    say(doubt)
                warn_of_few_steps(recipe, experiment)
            for trial in trials:
                is_student = trial.recipe is recipe
                beside = wanted[0].name if is_student and len(wanted) > 1 else None
                trial.run(beside, is_control=not is_student)
        run = open_run(runs / recipe.name)
        if world.leader:  # an earlier call may have been killed before it came to this
            for one in wanted:
                (runs / one.name / CHECKPOINT).unlink(missing_ok=True)
                shutil.rmtree(runs / one.name / PRETRAINING, ignore_errors=True)
        # its control was left out before, and is there now
        if len(wanted) > 1 and run.info.control is None and world.leader:
            write_run_info(run.folder, run.info.model_copy(update={"control": wanted[0].name}))
        return open_run(run.folder)


def _try_exports(recipe: Recipe, experiment: Experiment, cache: Path) -> None:
    """Export the untrained student once, before an epoch is spent; what passed is not tried
    again.
    """
    student = recipe.student.model_copy(update={"weights": None})
    tried = {
        "student": student.model_dump(mode="json"),
        "classes": experiment.classes,
        "preprocess": experiment.preprocess.to_dict(),
        "versions": versions(),
    }
    passed = cache / f"{sha256_json(tried)}.json"
    if not passed.exists():
        refuse_unlowerable(student, experiment.classes, experiment.preprocess)
        write_json(passed, tried)


def control_of(recipe: Recipe) -> Recipe:
    """The same student, schedule and augmentation without a teacher: cross-entropy alone, with the
    student's options.
    """
    supervised = next(
        (table for table in recipe.losses if table.name == "cross_entropy"),
        LossTable(name="cross_entropy"),
    )
    return recipe.model_copy(
        update={
            "name": control_name(recipe.name),
            "title": f"{recipe.title or recipe.name}: control",
            "teachers": (),
            "ensemble": EnsembleTable(),
            "pretrain": PretrainTable(),
            "losses": (supervised.model_copy(update={"weight": 1.0, "schedule": "constant"}),),
        }
    )


def _finished(recipe: Recipe, folder: Path, *, resume: bool) -> bool:
    """Whether the run is there already; one of another recipe, or one begun without ``resume``, is
    the user's mistake.

    A recipe that only finds its files elsewhere is told apart later, by their content.
    """
    if (folder / "run.json").exists():
        run = open_run(folder)
        if run.info.recipe_hash == recipe.hash():
            say(f"{folder}: finished already")
            return True
        if not same_but_for_places(run.recipe, recipe):
            changed = changed_code(run.recipe, recipe)
            why = f" ({changed} is another since)" if changed else ""
            raise UserError(
                f"{folder}: holds a finished run of another recipe{why}; give this one another name"
                " (--set name=...)"
            )
        return False
    begun = (folder / CHECKPOINT).exists() or (folder / PRETRAINING / CHECKPOINT).exists()
    if begun and not resume:
        raise UserError(
            f"{folder}: holds an unfinished run; go on with --resume, or remove the folder to start"
            " again"
        )
    return False


def _ready(
    recipe: Recipe,
    experiment: Experiment,
    runs: Path,
    world: World,
    doubts: tuple[str, ...],
    *,
    resume: bool,
) -> "Trial":
    """Everything that a student's training needs, opened and checked; with ``resume`` from its
    checkpoint.
    """
    folder = runs / recipe.name
    check_batch("train", recipe.train, len(experiment.split.train), world.size)
    ensemble = None
    if recipe.teachers:
        ensemble = TeacherEnsemble.open(
            recipe.teachers,
            recipe.ensemble,
            recipe.train,
            experiment,
            folder,
            runs / ".cache" / "teachers",
            world,
        )
    torch.manual_seed(recipe.seed)
    student = build(recipe.student, experiment.classes, experiment.dataset.classes)
    objective = Objective(
        recipe.losses,
        student=student,
        teacher=ensemble.network if ensemble else None,
        preprocess=experiment.preprocess,
        teacher_preprocess=ensemble.members[0].preprocess if ensemble else None,
        classes=experiment.classes,
        mixed=recipe.train.mixup > 0,
        **imbalance(recipe.train, experiment.training_targets, experiment.classes),
    )
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
    done = (folder / "run.json").exists()
    if done and open_run(folder).info.identity not in (None, trainer.identity):
        raise UserError(
            f"{folder}: holds a finished run of other teachers or starting weights; give this one"
            " another name (--set name=...)"
        )
    if resume and not done:
        trainer.restore()
        if pretraining and not trainer.epoch:
            pretraining.restore()
    doubts = (*doubts, *(ensemble.doubts() if ensemble else ()))
    notes = (*experiment.dataset.notes, *doubts)
    return Trial(recipe, folder, experiment, ensemble, pretraining, trainer, done, notes, doubts)


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


@dataclass(frozen=True)
class Trial:
    """One student about to be trained."""

    recipe: Recipe
    folder: Path
    experiment: Experiment
    ensemble: TeacherEnsemble | None
    pretraining: Trainer | None
    trainer: Trainer
    done: bool  # finished before, from the same photographs in another place
    notes: tuple[str, ...]
    doubts: tuple[str, ...]

    def run(self, control: str | None, *, is_control: bool) -> None:
        """Train to the end and write the run. ``control`` names the run beside it, None where this
        is the control or has none.
        """
        experiment, ensemble, trainer = self.experiment, self.ensemble, self.trainer
        if self.done:
            say(f"{self.folder}: finished already, from the same photographs in another place")
            return
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
        student = trainer.fit(images, experiment.validation, feed)
        if trainer.world.leader:
            self._finish(student, control, is_control=is_control)
        trainer.world.barrier()

    def _finish(self, student: nn.Module, control: str | None, *, is_control: bool) -> None:
        """Calibrate on validation and write the run; ``run.json`` comes last, so its presence says
        that all is there.
        """
        recipe, folder, experiment, ensemble, trainer = (
            self.recipe,
            self.folder,
            self.experiment,
            self.ensemble,
            self.trainer,
        )
        dataset, device = experiment.dataset, trainer.world.device
        logits = predict_logits(student, experiment.views, experiment.validation.inputs, device)
        lesions = [dataset.lesions[row] for row in dataset.rows(experiment.validation_ids)]
        fitted = calibrate(
            logits,
            experiment.validation.targets,
            lesions,
            dataset.classes,
            experiment.validation.inputs,
            set_coverage=recipe.decision.set_coverage,
        )
        state = {key: value.contiguous().cpu() for key, value in student.state_dict().items()}
        write_bytes(folder / "student.safetensors", safetensors.torch.save(state))
        write_json(folder / "calibration.json", fitted.model_dump(mode="json"))
        guard = guard_for(
            student,
            experiment.preprocess,
            experiment.inputs(experiment.split.train),
            experiment.validation.inputs,
        )
        if guard:
            write_json(folder / GUARD, guard.model_dump(mode="json"))
        # once more: a kill after the last checkpoint may have come before its last line
        write_text(folder / METRICS, trainer.metrics)
        if ensemble:
            judged = ensemble.logits(experiment.split.test)
            write_bytes(
                folder / "teacher_logits.safetensors",
                safetensors.torch.save({"test": torch.from_numpy(judged).half()}),
            )
        seen = training_hashes(dataset, experiment.split)
        write_json(folder / "training_hashes.json", seen.model_dump(mode="json"))
        teachers = ensemble.describe() if ensemble else ()
        info = RunInfo(
            name=recipe.name,
            recipe_hash=recipe.hash(),
            split_hash=experiment.split.hash(),
            split_by=experiment.split_by,
            data_hash=dataset.hash,
            data_licence=licence_of_student(experiment, recipe.student.weights, teachers),
            confirmed=dataset.confirmed(),
            labels=dataset.classes,
            control=control,
            is_control=is_control,
            identity=trainer.identity,
            parameters=count_parameters(student),
            macs=count_macs(student.cpu(), experiment.preprocess),
            validation={
                name: interval(drawn.value, drawn.spread)
                for name, drawn in metric_draws(
                    KEPT,
                    experiment.validation.targets,
                    softmax(logits / fitted.temperature),
                    lesions,
                    dataset.classes,
                ).items()
            },
            epochs=recipe.train.epochs,
            seconds=round(trainer.clock.total(), 1),
            images_per_second=round(trainer.clock.images / max(trainer.clock.total(), 1e-9), 1),
            teachers=teachers,
            created_utc=utc_now(),
            versions=versions(),
            commit=commit(),
            command=shlex.join(["mobilekd", *sys.argv[1:]]),
            notes=self.notes,
            doubts=self.doubts,
        )
        write_run_info(folder, info)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        shutil.rmtree(folder / PRETRAINING, ignore_errors=True)
        say(f"{folder}: finished, {info.parameters:,} parameters, {info.seconds:.0f} s of training")
