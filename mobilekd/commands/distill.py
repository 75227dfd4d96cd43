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
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from mobilekd.data import training_hashes
from mobilekd.formats.calibration import Calibration
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
from mobilekd.lowering.trial import check_exports, refuse_unlowerable
from mobilekd.metrics import interval, metric_draws
from mobilekd.metrics.calibrate import calibrate, softmax
from mobilekd.students.any_network import is_known_elsewhere
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json, write_bytes, write_json, write_text
from mobilekd.support.lock import locked
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.training.experiment import (
    Experiment,
    count_macs,
    count_parameters,
    prepare,
    teachers_sizes,
)
from mobilekd.training.first_checks import check_recipe, seen_before, warn_of_few_steps
from mobilekd.training.licences import licence_of_student
from mobilekd.training.parallel import World
from mobilekd.training.pixels import predict_logits
from mobilekd.training.state import CHECKPOINT
from mobilekd.training.student import PRETRAINING, StudentTraining, make_ready

#: Metrics on validation that a run remembers, for its summary.
KEPT = ("balanced_accuracy", "accuracy", "nll")


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
            trainings = [
                make_ready(one, experiment, runs, world, seen, resume=resume) for one in unfinished
            ]
            if world.leader:
                for doubt in dict.fromkeys(d for one in trainings for d in one.doubts):
                    say(doubt)
                warn_of_few_steps(recipe, experiment)
            for training in trainings:
                is_student = training.recipe is recipe
                beside = wanted[0].name if is_student and len(wanted) > 1 else None
                _train(training, beside, is_control=not is_student)
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


def _train(training: StudentTraining, control: str | None, *, is_control: bool) -> None:
    """Train to the end and write the run. ``control`` names the run beside it, None where this is
    the control or has none.
    """
    if training.done:
        say(f"{training.folder}: finished already, from the same photographs in another place")
        return
    student, world = training.train(), training.trainer.world
    if world.leader:
        _keep(training, student, control, is_control=is_control)
    world.barrier()


def _keep(
    training: StudentTraining, student: nn.Module, control: str | None, *, is_control: bool
) -> None:
    """Calibrate on validation and write the run; ``run.json`` comes last, so its presence says that
    all is there.
    """
    experiment, folder = training.experiment, training.folder
    validation, device = experiment.validation, training.trainer.world.device
    logits = predict_logits(student, experiment.views, validation.inputs, device)
    fitted = calibrate(
        logits,
        validation.targets,
        _lesions(experiment),
        experiment.dataset.classes,
        validation.inputs,
        set_coverage=training.recipe.decision.set_coverage,
    )
    _write_files(training, student, fitted)
    # once more: a kill after the last checkpoint may have come before its last line
    write_text(folder / METRICS, training.trainer.metrics)
    probabilities = softmax(logits / fitted.temperature)
    info = _run_info(training, student, probabilities, control, is_control=is_control)
    write_run_info(folder, info)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    shutil.rmtree(folder / PRETRAINING, ignore_errors=True)
    say(f"{folder}: finished, {info.parameters:,} parameters, {info.seconds:.0f} s of training")


def _lesions(experiment: Experiment) -> list[str]:
    """Of the photographs of validation."""
    dataset = experiment.dataset
    return [dataset.lesions[row] for row in dataset.rows(experiment.validation_ids)]


def _write_files(training: StudentTraining, student: nn.Module, fitted: Calibration) -> None:
    """What later commands read beside ``run.json``: weights, calibration, guard, the teachers'
    answers to the test split, and hashes of what the student has seen.
    """
    folder, experiment = training.folder, training.experiment
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
    if training.ensemble:
        judged = training.ensemble.logits(experiment.split.test)
        write_bytes(
            folder / "teacher_logits.safetensors",
            safetensors.torch.save({"test": torch.from_numpy(judged).half()}),
        )
    seen = training_hashes(experiment.dataset, experiment.split)
    write_json(folder / "training_hashes.json", seen.model_dump(mode="json"))


def _run_info(
    training: StudentTraining,
    student: nn.Module,
    probabilities: np.ndarray,
    control: str | None,
    *,
    is_control: bool,
) -> RunInfo:
    """``run.json``; ``probabilities`` are the student's on validation."""
    recipe, experiment, clock = training.recipe, training.experiment, training.trainer.clock
    dataset = experiment.dataset
    teachers = training.ensemble.describe() if training.ensemble else ()
    validation = metric_draws(
        KEPT, experiment.validation.targets, probabilities, _lesions(experiment), dataset.classes
    )
    return RunInfo(
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
        identity=training.trainer.identity,
        parameters=count_parameters(student),
        macs=count_macs(student.cpu(), experiment.preprocess),
        validation={
            name: interval(drawn.value, drawn.spread) for name, drawn in validation.items()
        },
        epochs=recipe.train.epochs,
        seconds=round(clock.total(), 1),
        images_per_second=round(clock.images / max(clock.total(), 1e-9), 1),
        teachers=teachers,
        created_utc=utc_now(),
        versions=versions(),
        commit=commit(),
        command=shlex.join(["mobilekd", *sys.argv[1:]]),
        notes=training.notes,
        doubts=training.doubts,
    )
