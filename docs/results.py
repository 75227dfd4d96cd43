"""Writes the tables of results into ``README.md`` and the pages, from the files in
``benchmarks/results``::

    make docs-results

A table stands between two marks, ``<!-- NAME: written by make docs-results -->`` and
``<!-- end of NAME -->``. ``tests/docs/test_result_tables.py`` fails where one differs from the
files.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.formats.measurement import read_measurement
from mobilekd.formats.runs import DEFAULT_REFERENCE
from mobilekd.metrics.stats import LEVEL
from mobilekd.page.latency_samples import latency_samples

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = CHECKOUT / "benchmarks/results"
HOST = "amd-epyc-2-cores"
#: Whose files were measured in three runtimes.
MEASURED = "ham10000-mobilenetv2-035"

#: An origin of ISIC 2019 -> what people call it.
ORIGINS = {
    "BCN": "Barcelona (BCN20000)",
    "HAM": "HAM10000",
    "MSK4": "New York (MSK)",
    "unknown": "not known",
}

#: A data set's kind -> what people call it.
SETS = {"ham10000": "HAM10000", "isic": "ISIC 2019"}


def read(name: str) -> Any:
    """A result file."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def figure(one: dict[str, Any], digits: int = 3, scale: float = 1, sign: str = "") -> str:
    """``0.655 (0.604 to 0.707)``."""
    shown = [f"{one[key] * scale:{sign}.{digits}f}" for key in ("value", "low", "high")]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def group(comparison: dict[str, Any], name: str) -> dict[str, Any]:
    """One student of a comparison."""
    return dict(next(one for one in comparison["groups"] if one["name"] == name))


def lowered(student: str, export: str) -> dict[str, Any]:
    """One row of a student's table of precisions."""
    [path] = RESULTS.glob(f"*/lowering-{student}.json")
    rows = read(str(path.relative_to(RESULTS)))["rows"]
    return dict(next(one for one in rows if one["export"] == export))


def milliseconds(artifact: str) -> float:
    """The median latency on one thread and all cores, in ms, as the report shows it."""
    measured = read_measurement(RESULTS / HOST / f"{artifact}.json")
    settings = latency_samples(measured)
    one = next(each for each in settings if each.threads == 1 and each.cores == "all")
    return float(one.percentile(50).value or 0)


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
    rows = [
        (
            f"Balanced accuracy on {away['photographs']:,} photographs of other clinics: the"
            " default student, and the best one that knows HAM10000 alone",
            f"{figure(away['students'][DEFAULT_REFERENCE][accuracy])};"
            f" {away['students'][MEASURED][accuracy]['value']:.3f}, difference"
            f" {figure(ahead[accuracy], 1, 100, '+')} points:"
            f" {'shown' if ahead['p_holm'] < LEVEL else 'not shown'}",
            "`benchmarks/other_clinics/elsewhere.py`",
        ),
        (
            "The same on HAM10000's 2,005 test photographs: a student distilled on it, and its"
            " control",
            f"{figure(student['metrics'][accuracy])}; control"
            f" {control['metrics'][accuracy]['value']:.3f}, difference {difference} points:"
            " not shown",
            "`mobilekd compare`",
        ),
        (
            "int8 beside fp32",
            f"{int8['bytes']:,} bytes for {fp32['bytes']:,};"
            f" {decisions['agreement']:.1%} of decisions equal",
            "`benchmarks/lowering/table.py`",
        ),
        (
            "Latency on an AMD EPYC, one thread, median",
            f"fp32 {times[0]:.2f} ms, int8 {times[1]:.2f} ms",
            "`mobilekd bench`",
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


def both_splits() -> str:
    """The same student under the split by lesion and under the leaky one."""
    lesion = read("ham10000/compare.json")
    rows = []
    for title, name in (("distilled", "ham10000"), ("control", "ham10000-control")):
        honest = group(lesion, name)["metrics"]
        leaky = read(f"ham10000/photograph{'-control' if 'control' in name else ''}.json")["test"]
        for metric in ("accuracy", "balanced_accuracy"):
            rows.append(
                (
                    f"{title}, {metric.replace('_', ' ')}",
                    figure(honest[metric]),
                    figure(leaky["metrics"][metric]),
                )
            )
    header = ("MobileNetV2-0.35, 128 x 128", "by lesion, three seeds", "by photograph, one seed")
    return table(header, rows)


def shipped_students() -> str:
    """Every shipped student, a row each, from the reference's own files and the measurements."""
    rows = []
    for folder in sorted((CHECKOUT / "mobilekd/reference").glob("*/metrics.json")):
        name = folder.parent.name
        judged = json.loads(folder.read_text(encoding="utf-8"))
        found, target = judged["metrics"], judged["target"]
        exports = {}
        for precision in ("fp32", "int8"):
            path = RESULTS / HOST / f"{name}-xnnpack-{precision}.json"
            exports[precision] = (
                f"{milliseconds(path.stem):.2f}" if path.exists() else "not measured"
            )
        size = f"{lowered(name, 'xnnpack/int8')['bytes']:,}"
        data = judged["data"]
        rows.append(
            (
                f"`{name}`",
                f"{data['photographs']:,} of {SETS[data['kind']]}",
                f"{target['parameters']:,}",
                size,
                figure(found["accuracy"]),
                figure(found["balanced_accuracy"]),
                figure(found["melanoma_sensitivity_at_95_specificity"]),
                exports["fp32"],
                exports["int8"],
                f"`mobilekd evaluate reference:{name}`",
            )
        )
    header = (
        "Student",
        "Judged on",
        "Parameters",
        "Bytes, int8",
        "Accuracy",
        "Balanced accuracy",
        "Melanoma's sensitivity at 95% specificity",
        "ms, fp32",
        "ms, int8",
        "Again with",
    )
    return table(header, rows)


def by_origin() -> str:
    """The student of several clinics, on the test photographs of each."""
    path = CHECKOUT / "mobilekd/reference/dermoscopy-mobilenetv2-035/metrics.json"
    rows = []
    for name, origin in json.loads(path.read_text(encoding="utf-8"))["origins"].items():
        found = origin["metrics"]
        chosen = ("accuracy", "balanced_accuracy", "ece", "melanoma_sensitivity_at_95_specificity")
        judged = f"{origin['photographs']:,}"
        rows.append((ORIGINS[name], judged, *(figure(found[metric]) for metric in chosen)))
    header = (
        "Origin",
        "Photographs",
        "Accuracy",
        "Balanced accuracy",
        "Calibration error",
        "Melanoma's sensitivity at 95% specificity",
    )
    return table(header, rows)


def elsewhere() -> str:
    """Every shipped student away from HAM10000, and the default's lead over it."""
    found, rows = read("other_clinics/elsewhere.json"), []
    for origin, judged in found["origins"].items():
        for name, figures in judged["students"].items():
            ahead = judged["default_minus"].get(name)
            rows.append(
                (
                    f"{ORIGINS.get(origin, 'all three')}, {judged['photographs']:,}",
                    f"`{name}`",
                    figure(figures["accuracy"]),
                    figure(figures["balanced_accuracy"]),
                    figure(figures["ece"]),
                    f"{figure(ahead['balanced_accuracy'], 1, 100, '+')} points" if ahead else "",
                )
            )
    header = (
        "Origin, photographs",
        "Student",
        "Accuracy",
        "Balanced accuracy",
        "Calibration error",
        "The default's lead",
    )
    return table(header, rows)


def clinic() -> str:
    """An artifact before and after it was fitted to 200 photographs of another clinic."""
    rows = []
    for draw in read("clinic.json")["draws"]:
        for name, words in (
            ("ece", "calibration error"),
            ("accuracy", "accuracy"),
            ("balanced_accuracy", "balanced accuracy"),
            ("set_coverage", "share of photographs whose set holds their class"),
            ("set_coverage.mel", "the same of melanoma"),
            ("set_size", "classes in a set, of 7"),
        ):
            before = draw["before"].get(name)
            rows.append(
                (
                    str(draw["seed"]),
                    f"{words}, {draw['judged_on']:,} photographs",
                    figure(before) if before else "it had no sets",
                    figure(draw["after"][name]),
                )
            )
    return table(("Draw", "Figure", "Before", "After"), rows)


def guards() -> str:
    """What the guards of shipped students refuse, and how well their scores tell it."""
    rows = []
    for path in sorted(RESULTS.glob("guard-*.json")):
        rated = read(path.name)
        for kind, one in rated.items():
            if isinstance(one, dict) and "auroc" in one:
                known = kind == "own"
                rows.append(
                    (
                        f"`{rated['target']}`",
                        "its own test photographs" if known else kind,
                        f"{one['photographs']:,}",
                        "" if known else figure(one["auroc"]),
                        figure(one["refused"], 1, 100),
                    )
                )
    return table(("File", "Photographs", "How many", "AUROC against own", "Refused, %"), rows)


def views() -> str:
    """Students that never saw Barcelona, by the views they were trained on."""
    rows = []
    for path in sorted((RESULTS / "other_clinics").glob("views-*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        rows.append(
            (
                path.stem.removeprefix("views-").replace("-", " "),
                figure(found["second"]["balanced_accuracy"]),
                figure(found["first"]["balanced_accuracy"]),
                figure(found["difference"]["balanced_accuracy"], 1, 100, "+") + " points",
                figure(found["difference"]["nll"], 3, 1, "+"),
            )
        )
    header = ("View", "Balanced accuracy, plain", "With it", "Difference", "Difference in NLL")
    return table(header, rows)


def runtimes() -> str:
    """One student for three runtimes, measured in turn on one machine."""
    names = {"xnnpack": "ExecuTorch", "litert": "LiteRT", "onnx": "ONNX Runtime"}
    packages = {"xnnpack": "executorch", "litert": "ai-edge-litert", "onnx": "onnxruntime"}
    rows = []
    for precision in ("fp32", "int8"):
        for backend, name in names.items():
            found = read(f"runtimes/{MEASURED}-{backend}-{precision}.json")
            samples = np.concatenate([one["samples_ns"] for one in found["series"]]) / 1e6
            loaded = [one["file_load_ns"] + one["method_load_ns"] for one in found["cold"]]
            rows.append(
                (
                    f"{name} {found['versions'][packages[backend]]}",
                    precision,
                    f"{np.median(samples):.2f}",
                    f"{np.percentile(samples, 95):.2f}",
                    f"{np.median(loaded) / 1e6:.1f}",
                )
            )
    header = ("Runtime", "Precision", "Median, ms", "95th percentile, ms", "To load, ms")
    return table(header, rows)


def beside_control() -> str:
    """The shipped student for several clinics beside its control, paired."""
    found = read("other_clinics/shipped.json")
    rows = [
        (
            words,
            figure(found["first"][key]),
            figure(found["second"][key]),
            f"{figure(found['difference'][key], 1, 100, '+')} points"
            if key != "nll"
            else figure(found["difference"][key], 3, 1, "+"),
        )
        for key, words in (
            ("balanced_accuracy", "balanced accuracy"),
            ("accuracy", "accuracy"),
            ("nll", "NLL"),
        )
    ]
    return table(("Figure", "Distilled", "Control", "Difference"), rows)


def hexagon() -> str:
    """Files for Hexagon on the simulator, beside XNNPACK's, on the same photographs."""
    rows = []
    for one in read("qnn.json")["rows"]:
        lost, source = one["lost"], one.get("beside_its_source")
        base = one["export"] == "xnnpack/fp32"
        rows.append(
            (
                f"`{one['export'].replace('/', ' ')}`",
                f"{one['bytes']:,}",
                figure(one["accuracy"]),
                figure(one["balanced_accuracy"]),
                *(
                    "" if base else figure(lost[name], 1, 100, "+")
                    for name in ("accuracy", "balanced_accuracy")
                ),
                "" if base else figure(one["decides_as_fp32"], 1, 100),
                f"{source['max_error']:.4f}" if source else "",
            )
        )
    header = (
        "File",
        "Bytes",
        "Accuracy",
        "Balanced accuracy",
        "Accuracy lost, points",
        "Balanced accuracy lost, points",
        "Decides as fp32, %",
        "Largest difference from the rounded network in torch",
    )
    return table(header, rows)


def ten_seeds() -> str:
    """The demo in one sentence: in how many seeds the student is ahead of its control."""
    found = read("demo-seeds.json")
    gains = [100 * one["gain"] for one in found["seeds"]]
    return (
        f"The demo's student is ahead of its control in {found['ahead']} seeds, by"
        f" {min(gains):.1f} to {max(gains):.1f} points of balanced accuracy."
    )


def seeds() -> str:
    """Student, control and teacher of the demo, seed by seed."""
    rows = [
        (
            str(one["seed"]),
            *(f"{one[name]:.3f}" for name in ("student", "control", "teacher")),
            f"{100 * one['gain']:+.1f}",
        )
        for one in read("demo-seeds.json")["seeds"]
    ]
    return table(("Seed", "Student", "Control", "Teacher", "Gain, points"), rows)


def guard_cost() -> str:
    """What a guard adds to a file."""
    rows = [
        (
            f"`{one['student']}`",
            one["precision"],
            f"{one['bytes_of_the_guard']:,}",
            figure(one["ratio"], 2),
        )
        for one in read("cost-of-guard.json")["rows"]
    ]
    return table(("Student", "Precision", "Bytes added", "Times as long"), rows)


def backends_table() -> str:
    """Backend by precision, from the registry, linked from the README."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("reference", CHECKOUT / "docs/reference.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.backend_table())


TABLES: dict[str, Callable[[], str]] = {
    "headline": headline,
    "both splits": both_splits,
    "shipped students": shipped_students,
    "by origin": by_origin,
    "elsewhere": elsewhere,
    "clinic": clinic,
    "views": views,
    "beside control": beside_control,
    "runtimes": runtimes,
    "guards": guards,
    "backends": backends_table,
    "hexagon": hexagon,
    "ten seeds": ten_seeds,
    "seeds": seeds,
    "guard cost": guard_cost,
}
PAGES = (
    "README.md",
    "docs/results.md",
    "docs/qnn.md",
    "docs/explanation/split.md",
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
