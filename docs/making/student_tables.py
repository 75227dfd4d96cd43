"""Tables of what students are worth, and where."""

import json
from collections.abc import Sequence

from making.markdown import CHECKOUT, table
from making.result_files import HOST, RESULTS, figure, group, lowered, milliseconds, read
from mobilekd.metrics.stats import holm

#: An origin of ISIC 2019 -> what people call it.
ORIGINS = {
    "BCN": "Barcelona (BCN20000)",
    "HAM": "HAM10000",
    "MSK4": "New York (MSK)",
    "unknown": "not known",
}

#: A data set's kind -> what people call it.
SETS = {"ham10000": "HAM10000", "isic": "ISIC 2019"}


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
    draws = read("clinic.json")["draws"]
    rows = []
    for name, words in (
        ("ece", "calibration error"),
        ("accuracy", "accuracy"),
        ("balanced_accuracy", "balanced accuracy"),
        ("recall.mel", "melanoma's sensitivity"),
        ("set_coverage", "share of photographs whose set holds their class"),
        ("set_coverage.mel", "the same of melanoma"),
        ("set_size", "classes in a set, of 7"),
    ):
        before = draws[0]["before"].get(name)
        after = [figure(draw["after"][name]) for draw in draws]
        rows.append((words, figure(before) if before else "it had no sets", *after))
    for name, words in (
        ("outside", "its photographs that the guard refuses"),
        ("not_skin_refused", "photographs of no skin that the guard refuses"),
    ):
        pairs = [
            (draw["before"][name]["value"], draw["after"][name]["value"])
            if name == "outside"
            else (draw[name]["before"], draw[name]["after"])
            for draw in draws
        ]
        rows.append((words, f"{pairs[0][0]:.1%}", *(f"{after:.1%}" for _, after in pairs)))
    columns = [f"After, draw {draw['seed']}" for draw in draws]
    return table(("Figure", "Before", *columns), rows)


def clinic_guard() -> str:
    """What is refused by a guard as shipped, with another threshold, and knowing the clinic."""
    found, rows = read("clinic-guard.json"), []
    for key, words in (
        ("shipped", "as shipped"),
        ("threshold_moved", "its threshold moved, as `calibrate` does"),
        ("knowing", "knowing 200 of the clinic's photographs"),
    ):
        cells = [
            _least_to_most([draw[key][name] for draw in found["draws"]], form)
            for name, form in (
                ("clinic_refused", ".1%"),
                ("own_refused", ".1%"),
                ("no_skin_refused", ".1%"),
                ("auroc", ".3f"),
            )
        ]
        rows.append((words, *cells))
    header = (
        "The guard",
        "Refuses of the clinic's others",
        f"Of {found['own']:,} test photographs of its own",
        f"Of {found['no_skin']} photographs of no skin",
        "AUROC, no skin against the clinic's",
    )
    return table(header, rows)


def _least_to_most(values: Sequence[float], form: str) -> str:
    """``1.2% to 3.2%``; one where both are written alike."""
    ends = [format(value, form) for value in (min(values), max(values))]
    return " to ".join(dict.fromkeys(ends))


def clinic_lesions() -> str:
    """The same with whole lesions, until 200 photographs are together."""
    rows = []
    for draw in read("clinic-lesions.json")["draws"]:
        told = draw.get("refused", "").partition("; give more")[0].removeprefix("calibrate: ")
        error = None if told else figure(draw["after"]["ece"])
        rows.append((str(draw["seed"]), told or f"fitted; calibration error {error}"))
    return table(("Draw", "What came of it"), rows)


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


def left_out_class() -> str:
    """How well a class is told that the student never saw."""
    found = read("left-out-class.json")["classes"]
    rows = [
        (
            key,
            f"{one['guard']['photographs']:,}",
            figure(one["guard"]["auroc"]),
            figure(one["guard"]["refused"], 1, 100),
            figure(one["probability"]["auroc"]),
            figure(one["guard_minus_probability"], 3, 1, "+"),
        )
        for key, one in found.items()
    ]
    header = ("Class", "Photographs", "Guard's AUROC", "Refused, %", "Probability's", "Difference")
    return table(header, rows)


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


def beside_control() -> str:
    """The shipped student for several clinics beside its control, paired."""
    return _paired("other_clinics/shipped.json")


def clinic_left_out() -> str:
    """A student that never saw Barcelona's labels beside its control, paired."""
    return _paired("other_clinics/left-out-small.json")


def clinic_left_out_seeds() -> str:
    """The same over three seeds, and what the photographs without labels are worth."""
    questions = (
        ("left-out-small-seeds.json", "taught; its control"),
        ("left-out-small-unlabelled.json", "taught; taught on labelled photographs alone"),
    )
    found = [read(f"other_clinics/{name}") for name, _ in questions]
    corrected = holm([one["p"] for one in found])
    rows = [
        (
            words,
            figure(one["first"]["balanced_accuracy"]),
            figure(one["second"]["balanced_accuracy"]),
            f"{figure(one['difference']['balanced_accuracy'], 1, 100, '+')} points",
            f"{p:.3f}",
        )
        for (_, words), one, p in zip(questions, found, corrected, strict=True)
    ]
    return table(("Beside each other", "First", "Second", "Difference", "p (Holm)"), rows)


def _paired(file: str) -> str:
    """A student and its control on the same photographs, and the difference."""
    found = read(file)
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
