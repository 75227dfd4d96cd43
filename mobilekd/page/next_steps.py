"""What next: the commands that would tell a reader more than this page can, by what it lacks."""

from mobilekd.figures.comparison import PRIMARY, claim_verdict
from mobilekd.page.blocks import Points, Section, section_of
from mobilekd.page.glance import best_student
from mobilekd.page.inputs import Inputs

#: Test photographs below which a gate on 98% agreement cannot be decided at all.
FEW = 200


def section(inputs: Inputs) -> Section | None:
    """One point for each thing that is missing, in the order in which one would do it."""
    steps = [*_of_runs(inputs), *_of_comparisons(inputs), *_of_artifacts(inputs)]
    return section_of("next", "What next", [Points(tuple(steps))] if steps else [])


def _of_runs(inputs: Inputs) -> list[tuple[str, str]]:
    steps = []
    waiting = [one.name for one in inputs.runs if one.evaluation is None]
    if waiting:
        steps.append(("Judge it", f"mobilekd evaluate {waiting[0]} gives its figures."))
    students = [one for one in inputs.runs if not one.run.info.is_control]
    alone = [one for one in students if one.run.recipe.teachers and not one.run.info.control]
    if alone:
        steps.append(
            (
                "Train its control",
                f"{alone[0].name} has none, so nobody knows what its teacher is worth;"
                f" mobilekd distill {alone[0].run.folder} trains the control, too.",
            )
        )
    if any(one.run.info.split_by.startswith("photograph") for one in students):
        steps.append(
            (
                "Say which photographs show one lesion",
                "the same mole on both sides of the split makes figures too good; a table"
                " image,lesion_id (data.metadata) and split.by = lesion keep it on one.",
            )
        )
    return steps


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
                " more photographs narrow the interval most, more seeds (mobilekd sweep) some.",
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
        steps.append(
            ("Make the file", f"mobilekd export {students[0].run.folder} --precision int8.")
        )
    if artifacts and not any(one.device.kind == "adb" for one in inputs.measurements):
        folder = inputs.artifacts[0].folder
        steps.append(
            (
                "Measure on a phone",
                f"mobilekd bench {folder} --device adb does, with a phone on a cable; mobilekd apk"
                f" {folder} --install puts it on the screen.",
            )
        )
    return steps
