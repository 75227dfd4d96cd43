"""Writes the tables of results into ``README.md`` and the pages, from the files in
``benchmarks/results``::

    make docs-results

A table stands between two marks, ``<!-- NAME: written by make docs-results -->`` and
``<!-- end of NAME -->``. ``tests/docs/test_result_tables.py`` fails where one differs from the
files.
"""

import re
from collections.abc import Callable

from making.backend_pages import backend_table
from making.demo_tables import seeds, ten_seeds
from making.file_tables import guard_cost, hexagon, networks, runtimes
from making.markdown import CHECKOUT, table
from making.memory_tables import first_step, memory
from making.result_files import MEASURED, figure, group, lowered, milliseconds, read
from making.student_tables import (
    beside_control,
    both_splits,
    by_origin,
    clinic,
    clinic_guard,
    clinic_left_out,
    clinic_left_out_seeds,
    clinic_lesions,
    elsewhere,
    guards,
    left_out_class,
    shipped_students,
    views,
)

from mobilekd.formats.runs import DEFAULT_REFERENCE
from mobilekd.metrics.stats import LEVEL


def headline() -> str:
    """The six rows of the README."""
    compared = read("ham10000/compare.json")
    student, control = (group(compared, name) for name in ("ham10000", "ham10000-control"))
    fp32, int8 = (lowered(DEFAULT_REFERENCE, f"xnnpack/{one}") for one in ("fp32", "int8"))
    decisions = next(row for row in int8["parity"] if row["stage"] == "saved file, decisions")
    speed = read("export-speed.json")
    peer = read("torchdistill.json")
    accuracy = "balanced_accuracy"
    times = [milliseconds(f"{DEFAULT_REFERENCE}-xnnpack-{one}") for one in ("fp32", "int8")]
    difference = figure(student["difference"][accuracy], 1, 100, "+")
    away = read("other_clinics/elsewhere.json")["origins"]["all"]
    ahead = away["default_minus"][MEASURED]
    unseen = read("other_clinics/left-out-small-seeds.json")
    rows = [
        (
            f"Balanced accuracy on {away['photographs']:,} photographs of clinics beside"
            " HAM10000's: the default student, which saw other lesions of theirs; the best of"
            " HAM10000 alone",
            f"{figure(away['students'][DEFAULT_REFERENCE][accuracy])};"
            f" {away['students'][MEASURED][accuracy]['value']:.3f}, difference"
            f" {figure(ahead[accuracy], 1, 100, '+')} points:"
            f" {'shown' if ahead['p_holm'] < LEVEL else 'not shown'}",
            "`benchmarks/other_clinics/elsewhere.py`",
        ),
        (
            "The same on HAM10000's 2,005: a student of the recipe `ham10000`, and its control",
            f"{figure(student['metrics'][accuracy])}; control"
            f" {control['metrics'][accuracy]['value']:.3f}, difference {difference} points:"
            " not shown",
            "`mobilekd compare`",
        ),
        (
            "The same on Barcelona's 9,814, left out of training: a taught student, and its control"
            " (three seeds)",
            f"{figure(unseen['first'][accuracy])}; control"
            f" {unseen['second'][accuracy]['value']:.3f}, difference"
            f" {figure(unseen['difference'][accuracy], 1, 100, '+')} points: shown",
            "`benchmarks/ham10000/study.py`",
        ),
        (
            "int8 beside fp32; median latency, AMD EPYC, one thread",
            f"{int8['bytes']:,} bytes for {fp32['bytes']:,};"
            f" {decisions['agreement']:.1%} of decisions equal; {times[1]:.2f} ms for"
            f" {times[0]:.2f}",
            "`benchmarks/lowering/table.py`, `mobilekd bench`",
        ),
        (
            "Export with all its proofs, against plain lowering",
            f"{figure(speed['found']['int8']['ratio']['wall'], 2)} times as long in int8",
            "`benchmarks/lowering/speed.py`",
        ),
        (
            "Distillation steps on two cores, against torchdistill",
            f"{figure(peer['ratio_to_torchdistill']['fresh'], 1)} times as many",
            "`benchmarks/torchdistill/compare.py`",
        ),
    ]
    return table(("What", "Result (95% interval)", "Again with"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "headline": headline,
    "both splits": both_splits,
    "shipped students": shipped_students,
    "by origin": by_origin,
    "elsewhere": elsewhere,
    "clinic": clinic,
    "guard in a clinic": clinic_guard,
    "whole lesions": clinic_lesions,
    "clinic left out": clinic_left_out,
    "three seeds": clinic_left_out_seeds,
    "views": views,
    "beside control": beside_control,
    "runtimes": runtimes,
    "guards": guards,
    "left out class": left_out_class,
    "backends": backend_table,
    "hexagon": hexagon,
    "networks": networks,
    "memory": memory,
    "first step": first_step,
    "ten seeds": ten_seeds,
    "seeds": seeds,
    "guard cost": guard_cost,
}

PAGES = (
    "README.md",
    "docs/results.md",
    "docs/qnn.md",
    "docs/explanation/split.md",
    "docs/explanation/photographs.md",
    "docs/tutorials/demo.md",
)


def with_tables(text: str) -> str:
    """A page with its tables as the files say."""
    for name in re.findall(r"<!-- ([\w ]+): written by make docs-results -->", text):
        begin, end = f"<!-- {name}: written by make docs-results -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{TABLES[name]()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        path = CHECKOUT / page
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
