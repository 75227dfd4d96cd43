"""Make ``README.md`` from ``latency.json``, ``accuracy.json`` and ``budgets.py``'s result: ``python
benchmarks/student_design/page.py``.
"""

from pathlib import Path
from typing import Any

import numpy as np
from variants import EQUAL, REFERENCE, VARIANTS

from mobilekd.support.files import read_json, write_text

HERE = Path(__file__).resolve().parent
#: Differences of means of two seeds that are larger than so many times the usual one between two
#: seeds are named.
LUCK = 1.5

HEAD = f"""# LesionNet's design choices

Made by `page.py` from `latency.json` and `accuracy.json`; do not edit. Each row is LesionNet with \
one choice changed
(`variants.py`), or a network that it stands beside. Time is the median of a `.pte` as shipped \
(normalisation and softmax inside),
one XNNPACK thread, 128 x 128, divided by {REFERENCE}'s in the same rounds, with its 95% interval.
Balanced accuracy is validation's after the same short training from random weights without a \
teacher, one figure per seed.
"""


def ratios() -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of ``latency.json`` by variant and precision."""
    path = HERE / "latency.json"
    return (
        {(row["variant"], row["precision"]): row for row in read_json(path, "result")["rows"]}
        if path.exists()
        else {}
    )


def accuracies() -> dict[str, list[float]]:
    """Balanced accuracy of every seed by variant."""
    path = HERE / "accuracy.json"
    scores: dict[str, list[float]] = {}
    for row in read_json(path, "result")["rows"] if path.exists() else []:
        scores.setdefault(row["variant"], []).append(row["balanced_accuracy"])
    return scores


def noise(scores: dict[str, list[float]]) -> str:
    """How far apart two seeds of one network lie, and which rows lie further from LesionNet than
    luck explains well.
    """
    twice = {name: values for name, values in scores.items() if len(values) > 1}
    if "lesionnet" not in twice:
        return ""
    typical = float(np.sqrt(np.mean([(values[0] - values[1]) ** 2 for values in twice.values()])))
    gain = {
        name: float(np.mean(values) - np.mean(twice["lesionnet"])) for name, values in twice.items()
    }
    below, above = (
        [name for name in gain if sign * gain[name] > LUCK * typical] for sign in (-1, 1)
    )
    return f"""
Two seeds of one network lie {100 * typical:.1f} points apart (root mean square over {len(twice)} \
networks), so a difference
of a few points says nothing. Of the networks with two seeds, those whose mean lies more than \
{LUCK:g} times that from
LesionNet's: below it {listed(below)}; above it {listed(above)}.
What decided between the others was time and int8. The smaller networks (one block less each, \
width 0.75) are not shown to be
less accurate either, in a third of {REFERENCE}'s time; whether that holds for the whole training \
was not run.
"""


def listed(names: list[str]) -> str:
    """Names in a sentence."""
    return " and ".join(f"*{name}*" for name in names) or "none"


def cell(row: dict[str, Any] | None) -> str:
    """A ratio with its interval."""
    if row is None:
        return "not run"
    ratio = row["ratio"]
    return f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def line(
    name: str, times: dict[tuple[str, str], dict[str, Any]], scores: dict[str, list[float]]
) -> str:
    """One row of the table."""
    size = times.get((name, "fp32")) or times.get((name, "int8"))
    numbers = f"{size['parameters']:,} | {size['macs'] / 1e6:.1f}" if size else "not run | not run"
    accuracy = (
        " ".join(f"{value:.3f}" for value in scores[name]) + f" (mean {np.mean(scores[name]):.3f})"
        if name in scores
        else "not run"
    )
    return (
        f"| {name} | {numbers} | {cell(times.get((name, 'fp32')))} |"
        f" {cell(times.get((name, 'int8')))} | {accuracy} |"
    )


def verdict(times: dict[tuple[str, str], dict[str, Any]]) -> str:
    """What the goals of this network come to: better than its equal in size, half the reference's
    time for at most a point.
    """
    results = HERE.parent / "results" / "ham10000"
    equal, beside = (
        read_json(results / name, "result")["difference"]
        for name in ("equal-parameters.json", "fitnets-beside.json")
    )
    own = {precision: times.get(("lesionnet", precision)) for precision in ("fp32", "int8")}
    half = all(row and row["ratio"]["high"] <= 0.5 for row in own.values())
    reached = "met" if half and beside["balanced_accuracy"]["low"] > -0.01 else "not met"
    return f"""
## Does it meet its goals?

- **Beside a MobileNetV2 of its size** ({EQUAL}), trained alike under both teachers with three \
seeds: {points(equal)} of balanced accuracy
  on the test split ([equal-parameters.json](../results/ham10000/equal-parameters.json), interval \
uncorrected), in
  {share(times, "fp32")} of its time in fp32 and {share(times, "int8")} in int8.
- **Half of {REFERENCE}'s time at no more than a point less**: {cell(own["fp32"])} of its time in \
fp32,
  {cell(own["int8"])} in int8 (random weights, processor time; whole files are in the \
[claims](../ham10000/claims.md)), and
  {points(beside)} of balanced accuracy, each as it is shipped \
([fitnets-beside.json](../results/ham10000/fitnets-beside.json)): {reached}.
  {REFERENCE} starts from ImageNet's weights, LesionNet from random ones.
"""


def budgets() -> str:
    """What ``mobilekd design`` proposed for three latencies, beside MobileNetV2 scaled by width."""
    path = HERE.parent / "results" / "design-budgets.json"
    found = read_json(path, "result")
    errors = np.abs(found["table"]["errors_of_whole_files"])
    rows, training = found["rows"], found.get("training")
    lines = [
        f"| {row['budget_ms']:g} ms | {row['by']} | {title(row)} | {row['measured_ms']:.3f} ms"
        f" ({100 * row['off']:+.1f}%) | {row['macs'] / 1e6:.1f} | {score(row)} |"
        for row in rows
    ]
    table = "\n".join(lines)
    worst = max(abs(row["off"]) for row in rows if row["by"] == "design")
    doubts = sorted({doubt for row in rows for doubt in row.get("doubts", ())})
    return f"""
## A student for a latency

`budgets.py` asks `mobilekd design` for LesionNets of three latencies in {found["precision"]} on \
one thread of an {found["setup"]["processor"]}, ranked by multiply-adds
({rows[0]["considered"]:,} candidates of width, depth and input size). Beside each stands \
MobileNetV2 at 128 x 128 of the greatest width that
the same search finds to meet it; its channels come in steps of 8, so it cannot come near every \
budget. All were lowered again and measured
side by side, in other processes than those that chose them. The figure is the fastest of six \
processes' medians.

| budget | scaled by | student | measured (off the budget) | MACs (millions) | balanced accuracy |
|---|---|---|---|---|---|
{table}

The designed ones lie within {100 * worst:.1f}% of their budgets. Against {len(errors)} whole \
files, predictions from the
[table of operators](../results/design-operators.json) ({found["table"]["chains"]} chains) have a \
relative error of {100 * np.median(errors):.1f}% in the median, {100 * errors.max():.1f}% at worst.
The machine was shared: {"; ".join(doubts) or "no doubt was noted"}.
{trained(rows, training)}"""


def title(row: dict[str, Any]) -> str:
    """A student in a few words."""
    student = row["student"]
    adapt = "".join(f" {one}" for one in student["adapt"])
    return f"{student['model']} x{student['width']:g}{adapt} at {row['side']}"


def score(row: dict[str, Any]) -> str:
    """Balanced accuracy with its interval."""
    figure = row.get("balanced_accuracy")
    if figure is None:
        return "not run"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def trained(rows: list[dict[str, Any]], training: dict[str, Any] | None) -> str:
    """What the accuracies are, and whether the designed students are ahead."""
    pairs = [
        (row, other)
        for row in rows
        for other in rows
        if row["by"] == "design" != other["by"] and row["budget_ms"] == other["budget_ms"]
    ]
    whole = [pair for pair in pairs if all("balanced_accuracy" in row for row in pair)]
    if not training or not whole:
        return "The accuracy was not run.\n"
    ahead = [
        row
        for row, other in whole
        if row["balanced_accuracy"]["low"] > other["balanced_accuracy"]["high"]
    ]
    left = "" if len(whole) == len(pairs) else f" ({len(pairs) - len(whole)} not run)"
    return f"""
Balanced accuracy is validation's ({training["validation"]:,} photographs, interval over lesions) \
after {training["epochs"]} epochs on {training["train"]:,} photographs of HAM10000, \
{steps(training)} steps,
from random weights, without a teacher, one seed (`budgets.toml`). At {len(ahead)} of \
{len(whole)} budgets{left} the designed student's interval lies above
the other's. So short a training judges how fast a network learns as much as how well: from random \
weights MobileNetV2
needs more steps than these, and neither is near what a whole training gives. That the designed \
student is still ahead then was not run.
"""


def steps(training: dict[str, Any]) -> int:
    """Steps of the whole short training."""
    return training["epochs"] * (training["train"] // training["recipe"]["train"]["batch_size"])


def share(times: dict[tuple[str, str], dict[str, Any]], precision: str) -> str:
    """LesionNet's time over that of the MobileNetV2 of its size."""
    own, peer = (times.get((name, precision)) for name in ("lesionnet", EQUAL))
    return (
        f"{own['ratio']['value'] / peer['ratio']['value']:.2f}"
        if own and peer
        else "an unmeasured share"
    )


def points(difference: dict[str, Any]) -> str:
    """A difference of shares in points, with its interval."""
    score = difference["balanced_accuracy"]
    return (
        f"{100 * score['value']:+.1f} points [{100 * score['low']:+.1f},"
        f" {100 * score['high']:+.1f}]"
    )


def main() -> None:
    times, scores = ratios(), accuracies()
    table = [
        "| network | parameters | MACs (millions) | time, fp32 | time, int8 | balanced accuracy |",
        "|---|---|---|---|---|---|",
        *(line(name, times, scores) for name in VARIANTS),
    ]
    write_text(
        HERE / "README.md",
        HEAD + "\n" + "\n".join(table) + "\n" + noise(scores) + verdict(times) + budgets(),
    )


if __name__ == "__main__":
    main()
