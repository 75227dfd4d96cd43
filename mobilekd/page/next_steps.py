"""What next: the commands that would tell a reader more than this page can, by what it lacks."""

import shlex
from pathlib import Path

from mobilekd.android.several import ANY_PHONE
from mobilekd.backends import get, names
from mobilekd.figures.comparison import PRIMARY, claim_verdict
from mobilekd.formats.artifact import Artifact
from mobilekd.formats.runs import RUNS, Run
from mobilekd.page.blocks import Points, Section, section_of
from mobilekd.page.glance import best_student
from mobilekd.page.inputs import Inputs

#: Test photographs below which a gate on 98% agreement cannot be decided at all.
FEW = 200

#: Where each kind of data says which photographs show one lesion; the others bring it along.
LESIONS = {
    "folder": "a table image,lesion_id (data.metadata)",
    "isic": "a table image,lesion_id (data.metadata)",
    "csv": "a column lesion_id (data.columns names it)",
}


def section(inputs: Inputs) -> Section | None:
    """One point for each thing that is missing, in the order in which one would do it."""
    steps = [*_of_runs(inputs), *_of_comparisons(inputs), *_of_artifacts(inputs)]
    return section_of("next", "What next", [Points(tuple(steps))] if steps else [])


def _of_runs(inputs: Inputs) -> list[tuple[str, str]]:
    steps = []
    waiting = [one.run for one in inputs.runs if one.evaluation is None]
    if waiting:
        steps.append(("Judge it", f"mobilekd evaluate {_named(waiting[0])} gives its figures."))
    students = [one for one in inputs.runs if not one.run.info.is_control]
    alone = [
        one
        for one in students
        if one.run.recipe.teachers and not one.run.info.control and _goes_on(one.run)
    ]
    if alone:
        folder = alone[0].run.folder
        beside = [] if folder.parent == RUNS else ["--runs", str(folder.parent)]
        command = shlex.join(["mobilekd", "distill", alone[0].run.name, *beside])
        steps.append(
            (
                "Train its control",
                f"{alone[0].name} has none, so nobody knows what its teacher is worth;"
                f" {command} trains the control, too.",
            )
        )
    leaky = [one.run for one in students if one.run.info.split_by.startswith("photograph")]
    if leaky:
        steps.append(
            (
                "Say which photographs show one lesion",
                "the same mole on both sides of the split makes figures too good;"
                f" {_lesions_of(leaky[0])}split.by = lesion keeps it on one.",
            )
        )
    return steps


def _named(run: Run) -> str:
    """A run as a command takes it from anywhere."""
    return shlex.quote(run.name)


def _goes_on(run: Run) -> bool:
    """Whether ``distill`` finds the run by its folder: a reference has no recipe to go on with, and
    one of another name would be trained anew.
    """
    return not run.reference and run.folder.name == run.info.name and run.folder.parent != Path()


def _lesions_of(run: Run) -> str:
    """What tells the lesions of a run's data, where it was not known."""
    if run.info.split_by == "photograph":  # they are known, and were not asked for
        return ""
    data = run.recipe.data
    kinds = dict.fromkeys(one.kind for one in (data.sources or (data,)))
    told = [LESIONS[kind] for kind in kinds if kind in LESIONS]
    return f"{told[0]} with " if told else ""


def _of_comparisons(inputs: Inputs) -> list[tuple[str, str]]:
    best = best_student(inputs.comparisons)
    if best is None:
        return []
    student, comparison = best
    steps = []
    claim = next(
        (one for one in comparison.claims if one.metric == PRIMARY and one.student == student.name),
        None,
    )
    if claim is not None and claim_verdict(claim).mark == "warn":
        steps.append(
            (
                "Find out whether the teacher helps",
                f"{comparison.photographs:,} test photographs and"
                f" {len(student.seeds)} seed{'s' * (len(student.seeds) > 1)} do not show it;"
                " more photographs narrow the interval most, more seeds (mobilekd sweep --seeds)"
                " some.",
            )
        )
    if comparison.photographs < FEW:
        steps.append(
            (
                "Judge on more photographs",
                f"{comparison.photographs:,} leave wide intervals, and gates that cannot be"
                " decided.",
            )
        )
    return steps


def _of_artifacts(inputs: Inputs) -> list[tuple[str, str]]:
    steps = []
    students = [one for one in inputs.runs if not one.run.info.is_control]
    artifacts = [one.manifest for one in inputs.artifacts]
    if students and not artifacts:
        run = _named(students[0].run)
        steps.append(("Make the file", f"mobilekd export {run} --precision int8 makes it."))
    # one of each title, as bench names its files so
    titles = {one.title: one for one in reversed(inputs.artifacts) if _for_android(one)}
    for_android = [one for one in inputs.artifacts if titles.get(one.title) is one]
    if for_android and not any(one.device.kind == "adb" for one in inputs.measurements):
        folders = shlex.join([str(one.folder) for one in for_android])
        words = f"mobilekd bench {folders} --device adb measures, with a phone on a cable"
        in_app = [one for one in for_android if one.manifest.backend in ANY_PHONE]
        if in_app:
            folder = shlex.quote(str(in_app[0].folder))
            words += f"; mobilekd apk {folder} --install puts it on the screen"
        steps.append(("Measure on a phone", f"{words}."))
    return steps


def _for_android(artifact: Artifact) -> bool:
    """Whether the runner has what its file needs on any phone: no maker's delegate, not Apple's
    systems.
    """
    backend = artifact.manifest.backend
    return backend in names() and get(backend).processor
