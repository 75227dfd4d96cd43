"""Tables of the files that phones get: runtimes, Hexagon, what a guard adds, networks."""

import numpy as np

from making.markdown import table
from making.result_files import MEASURED, RESULTS, figure, read
from mobilekd.formats.measurement import read_measurement
from mobilekd.page.latency_samples import latency_samples
from mobilekd.page.runtimes import PACKAGES, answer, rivals


def runtimes() -> str:
    """One student for three runtimes, measured in turn on one machine, and which to take."""
    names = {"xnnpack": "ExecuTorch", "litert": "LiteRT", "onnx": "ONNX Runtime"}
    rows, answers = [], []
    for precision in ("fp32", "int8"):
        members = [
            read_measurement(RESULTS / f"runtimes/{MEASURED}-{backend}-{precision}.json")
            for backend in names
        ]
        for found in members:
            (setting,) = latency_samples(found)
            loaded = [one.file_load_ns + one.method_load_ns for one in found.cold]
            rows.append(
                (
                    f"{names[found.backend]}"
                    f" {found.versions[PACKAGES.get(found.backend, 'executorch')]}",
                    precision,
                    f"{np.median(setting.samples):.2f}",
                    f"{np.percentile(setting.samples, 95):.2f}",
                    f"{np.median(loaded) / 1e6:.1f}",
                )
            )
        (group,) = rivals(members)
        answers.append(f"**Which one in {precision}?** {answer(group)}")
    header = ("Runtime", "Precision", "Median, ms", "95th percentile, ms", "To load, ms")
    return "\n\n".join([table(header, rows).rstrip(), *answers]) + "\n"


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


def networks() -> str:
    """Mobile networks after the same short training, in fp32 and int8, small ones first."""
    rows = []
    for one in sorted(read("networks.json")["rows"], key=lambda row: row.get("macs") or 1e12):
        if "refused" in one:
            rows.append((f"`{one['model']}`", *[""] * 7, one["refused"]))
            continue
        fp32, int8 = one["fp32"], one["int8"]
        whole = "refused" not in int8
        rows.append(
            (
                f"`{one['model']}`",
                f"{one['parameters'] / 1e6:.2f}",
                f"{one['macs'] / 1e6:.1f}",
                f"{fp32['bytes'] / 1e6:.2f}",
                f"{int8['bytes'] / 1e6:.2f}" if whole else "",
                str(len(fp32["outside"])),
                f"{fp32['milliseconds']['least']:.2f}",
                f"{int8['milliseconds']['least']:.2f}" if whole else "",
                f"{one['agreement']:.0%}" if whole else int8["refused"],
            )
        )
    header = (
        "Network",
        "Parameters, M",
        "MACs, M",
        "MB, fp32",
        "MB, int8",
        "Outside the delegate",
        "Least ms, fp32",
        "Least ms, int8",
        "int8 says what fp32 says",
    )
    return table(header, rows)
