"""Is the teacher that lies in a run's folder still the one that the recipe describes?"""

import json
from pathlib import Path

from mobilekd.formats.teacher import PROGRAMS, TeacherRecord, finished_file, taught_before
from mobilekd.formats.training_tables import TeacherTable
from mobilekd.students.weights import weights_hash
from mobilekd.support.errors import UserError

#: Stands for no weights in a record's ``source``.
RANDOM = "random"


def source_of(table: TeacherTable) -> str:
    """What a teacher's weights begin from, or are: ``hub``, ``random``, or the SHA-256 of the
    file.
    """
    file = finished_file(table)
    return weights_hash(str(file) if file else table.weights) or RANDOM


def difference(record: TeacherRecord, table: TeacherTable, index: int, epochs: int) -> str | None:
    """What the recipe says of teacher ``index`` otherwise than its ``record``, as a clause; None
    where nothing. ``epochs`` is ``teach.epochs``.

    Of a folder that ``trained`` names the record stands for what the recipe leaves out. A file that
    is gone says nothing: the folder holds its copy.
    """
    kept = taught_before(table)
    for key in ("classes", "options"):
        asked, was = getattr(table, key), getattr(record, key)
        if json.dumps(asked, sort_keys=True) != json.dumps(was, sort_keys=True) and not (
            kept and not asked
        ):
            return f"teachers.{index}.{key} is {_shown(asked)}, and was {_shown(was)}"
    for name in sorted(table.code.keys() | record.code.keys()):
        if table.code.get(name) != record.code.get(name):
            return f"{name} is another since"
    if kept:
        return None
    file = finished_file(table)
    was = record.source or (record.weights_sha256 if record.model in PROGRAMS else None)
    if was is None:  # a folder from before it was kept
        return None
    if record.is_finished and file is None and epochs:
        return f"it was taken as it is, and teach.epochs = {epochs} trains one"
    if not record.is_finished and (file is not None or not epochs):
        what = str(file) if file else "the one that teach.epochs = 0 takes"
        return f"it was trained here, and the recipe takes {what} as it is"
    named = str(file) if file else table.weights or ""
    if named not in ("", "hub") and not Path(named).is_file():
        return None
    if source_of(table) == was:
        return None
    if file:
        return f"{file} is another file than the one that it was taken from"
    return f"teachers.{index}.weights ({table.weights or 'none'}) are others than it began from"


def refuse_another(
    place: Path, record: TeacherRecord, table: TeacherTable, index: int, epochs: int
) -> None:
    """A ``UserError`` where the folder ``place`` holds another teacher than the recipe's."""
    changed = difference(record, table, index, epochs)
    if changed is None:
        return
    if taught_before(table):
        remedy = "write it as it was, or leave it out, because the folder says it"
        if changed.endswith("since"):
            remedy = "put the earlier file back, or teach it again"
    else:
        remedy = (
            "write the recipe as it was, or run mobilekd teach under another name (--set name=...)"
        )
    raise UserError(f"{place}: holds another teacher than the recipe's ({changed}); {remedy}")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "not given"
    return str(value) if value else "not given"
