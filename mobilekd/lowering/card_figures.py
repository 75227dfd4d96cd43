"""What a model card says of the test: figures with intervals, by class and by group, and the same
as Hugging Face reads them. Of the run's own ``metrics.json``; nothing is computed here.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilekd.data.published import archive_origins, known_facts
from mobilekd.formats.artifact import Manifest
from mobilekd.formats.evaluation import Evaluation, read_evaluation
from mobilekd.formats.gates import NOT_DECIDED
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import GROUPS
from mobilekd.formats.runs import Run, RunInfo
from mobilekd.metrics.registry import definition, in_words
from mobilekd.support.text import photographs_of

#: Rows of the card's first table, by their keys in ``metrics.json``.
SHOWN = (
    "balanced_accuracy",
    "accuracy",
    "melanoma_sensitivity_at_95_specificity",
    "malignant_sensitivity_at_95_specificity",
    "melanoma_sensitivity",
    "melanoma_specificity",
    "ece",
    "nll",
    "coverage",
    "selective_accuracy",
    "set_coverage",
    "set_size",
    "set_of_one",
)
FIGURES = {key: in_words(key) for key in SHOWN}

#: The library that opens a model file, in Hugging Face's words; ExecuTorch opens the others.
LIBRARIES = {
    ".mlpackage": "coreml",
    ".aimodel": "coreai",
    ".onnx": "onnx",
    ".tflite": "tf-lite",
}

#: Metrics that Hugging Face's index shows, by our key: its name for the kind, and a title.
INDEX = {
    key: (definition(key).index, in_words(key)[0].upper() + in_words(key)[1:])
    for key in (
        "balanced_accuracy",
        "accuracy",
        "macro_f1",
        "macro_auc",
        "melanoma_sensitivity_at_95_specificity",
        "ece",
    )
}


def evaluation_of(run: Run) -> Evaluation | None:
    """The judgement of the run's own test split, where it has one."""
    for path in (run.folder / "metrics.json", run.folder / "evaluation" / "metrics.json"):
        if path.is_file():
            return read_evaluation(path)
    return None


def interval(figure: Interval | None, digits: int = 3) -> str:
    """``0.812 (0.790 to 0.833)``, or why there is none."""
    if figure is None:
        return ""
    if figure.value is None:
        return f"none: {figure.reason or 'not computed'}"
    text = f"{figure.value:z.{digits}f}"
    if figure.low is None or figure.high is None:
        return text
    return f"{text} ({figure.low:z.{digits}f} to {figure.high:z.{digits}f})"


def judged_lines(evaluation: Evaluation | None, manifest: Manifest) -> list[str]:
    """The card's section on the test."""
    if evaluation is None:
        return [
            "## Test",
            "",
            (
                "This run was not judged before it was exported. Run `mobilekd evaluate` on it,"
                " and export it again; or judge this folder: `mobilekd evaluate FOLDER`."
            ),
            "",
        ]
    data = evaluation.data
    leaky = " **The split leaks: lesions of training are among them.**" if data.leaky else ""
    lines = [
        "## Test",
        "",
        (
            f"{photographs_of(data.photographs, data.lesions)}"
            f" ({data.kind}, {data.role} photographs, split by {data.split_by}). Brackets hold 95%"
            f" intervals over lesions. The student in fp32 was judged; the table *Parity* says how"
            f" this file differs.{leaky}"
        ),
        "",
        "| figure | value |",
        "|---|---|",
    ]
    lines += [
        f"| {words} | {interval(evaluation.metrics[key])} |"
        for key, words in FIGURES.items()
        if key in evaluation.metrics
    ]
    drop = manifest.accuracy.get("balanced_accuracy")
    if drop is not None:
        recorded = " (recorded)" if any(gate.recorded for gate in manifest.gates) else ""
        lines.append(f"| balanced accuracy of this file{recorded} | {interval(_figure(drop))} |")
    elif manifest.open_decisions:
        lines.append(f"| balanced accuracy of this file | {NOT_DECIDED} |")
    return [*lines, "", *_by_class(evaluation), "", *_groups(evaluation)]


def _figure(value: Any) -> Interval:
    return Interval.model_validate(value)


def _by_class(evaluation: Evaluation) -> list[str]:
    sets = evaluation.calibration.sets
    lines = [
        '| class | photographs | recall | answered, not "not sure" |'
        + (" its set holds it |" if sets else ""),
        "|---|---|---|---|" + ("---|" if sets else ""),
    ]
    # where sets are the answer, what they hold of melanoma is what matters most
    for label in sorted(
        evaluation.labels, key=lambda one: sets is not None and one.known_role != "melanoma"
    ):
        kept = evaluation.coverage_by_class.get(label.key)
        lines.append(
            f"| {label.text} (`{label.key}`) | {evaluation.data.by_class.get(label.key, 0):,} |"
            f" {interval(evaluation.metrics.get(f'recall.{label.key}'))} |"
            f" {'' if kept is None else f'{kept:.1%}'} |"
            + (
                f" {interval(evaluation.metrics.get(f'set_coverage.{label.key}'))} |"
                if sets
                else ""
            )
        )
    if sets:
        lines += [
            "",
            f"Each class's sets were to hold it in {sets.coverage:.0%} of its photographs.",
        ]
    return lines


def _groups(evaluation: Evaluation) -> list[str]:
    if not evaluation.subgroups:
        return ["Age, sex and site were not recorded, so there are no sub-groups.", ""]
    known = evaluation.data.lesions < evaluation.data.photographs
    lines = [
        f"| group | photographs |{' lesions |' * known} accuracy | balanced accuracy |",
        f"|---|---|{'---|' * known}---|---|",
    ]
    lines += [
        f"| {kind}: {one.group} | {one.n:,} |{f' {one.lesions:,} |' * known}"
        f" {interval(one.accuracy)} | {interval(one.balanced_accuracy)} |"
        for kind, one in evaluation.worst_first()
    ]
    said = "The worst-served group comes first, by balanced accuracy over the classes it has."
    if "skin tone" in evaluation.subgroups:
        said += (
            " Skin tone is estimated from the photograph's border (individual typology angle,"
            " Chardon and others 1991): light and white balance move it by a whole group."
        )
    return [*lines, "", said, ""]


def error_lines(evaluation: Evaluation | None, *, guarded: bool = False) -> list[str]:
    """Harm of each kind of error, and the mistakes that were counted."""
    lines = [
        "## Errors and their harm",
        "",
        (
            "- A malignant lesion called benign delays treatment. It is the worst error. A low"
            ' probability answers "not sure", but that does not catch all of them.'
        ),
        "- A benign lesion called malignant leads to worry and to surgery that was not needed.",
        (
            '- "Not sure" costs a second look. Its threshold keeps 90% of the validation'
            " photographs; it was not fitted to any harm."
        ),
        (
            "- A photograph of no skin, or a poor one, may get a sure answer."
            + (
                " This file's guard says of most of them that they are not what it was trained on,"
                " not of all."
                if guarded
                else " The limits on blur and exposure find only coarse cases."
            )
        ),
        "",
    ]
    if evaluation is None:
        return lines
    keys = [label.key for label in evaluation.labels]
    texts = {label.key: label.text for label in evaluation.labels}
    wrong = [
        (count, keys[truth], keys[answer])
        for truth, row in enumerate(evaluation.confusion)
        for answer, count in enumerate(row)
        if truth != answer and count
    ]
    lines += ["Most frequent mistakes on the test photographs:", ""]
    lines += [
        f"- {count:,} of {sum(evaluation.confusion[keys.index(truth)]):,} {texts[truth]} called"
        f" {texts[answer]}"
        for count, truth, answer in sorted(wrong, key=lambda one: (-one[0], one[1:]))[:5]
    ]
    roles = GROUPS["malignant"]
    malignant = {label.key for label in evaluation.labels if label.known_role in roles}
    of = sum(sum(evaluation.confusion[keys.index(key)]) for key in malignant)
    if of:
        count = sum(n for n, truth, said in wrong if truth in malignant and said not in malignant)
        lines.append(f"- in all, {count:,} of {of:,} malignant lesions' photographs called benign")
    return [*lines, ""]


def origin_lines(
    recipe: Mapping[str, Any], info: RunInfo, evaluation: Evaluation | None
) -> list[str]:
    """Where the photographs come from, as far as it is known."""
    kinds = [recipe["data"]["kind"], *(one["kind"] for one in recipe["data"].get("sources", ()))]
    origins = archive_origins(recipe, evaluation.origins if evaluation else ())
    facts = known_facts(kinds, info.confirmed, origins)
    return ["## Training data", "", *(f"- {what}: {fact}." for what, fact in facts), ""]


def doubt_lines(info: RunInfo) -> list[str]:
    """Why the figures above may be too good, as far as the run knows it."""
    if not info.doubts:
        return []
    return ["These figures may be too good:", "", *(f"- {doubt}" for doubt in info.doubts), ""]


def training_lines(info: RunInfo, *, reference: bool = False) -> list[str]:
    """What training took, and how to check the folder."""
    hours = (info.seconds + sum(one.seconds for one in info.teachers)) / 3600
    return [
        "## Version, training, verification",
        "",
        (
            f"- Trained by {' '.join(('mobilekd', info.versions.get('mobilekd', ''))).strip()}"
            f" ({info.created_utc}{f', commit {info.commit[:12]}' if info.commit else ''})"
        ),
        (
            f"- Training time: {hours:.2f} hours, student and recorded teachers, on the machine"
            " that trained it; energy was not measured"
        ),
        (
            "- Authors: the mobilekd maintainers; contact: as in the project's SECURITY.md"
            if reference
            else "- Authors and contact: not stated; whoever publishes this folder adds them here"
        ),
        (
            "- To verify: `mobilekd verify FOLDER` checks every hash, the file's own facts, and the"
            " golden set on this machine"
        ),
        "",
    ]


def front_matter(manifest: Manifest, evaluation: Evaluation | None) -> list[str]:
    """The card's head in YAML, as Hugging Face's hub reads it; values are JSON, which is YAML."""
    licence = manifest.provenance.data_licence
    # of photographs, teachers and starting weights: the hub has a word for one licence of all
    known = re.fullmatch(r"CC BY-NC 4\.0( \([^)]*\))?(; CC BY-NC 4\.0( \([^)]*\))?)*", licence)
    head: dict[str, Any] = {"license": "cc-by-nc-4.0" if known else "other"}
    if head["license"] == "other":
        head["license_name"] = licence or "not-stated"
    head |= {
        "library_name": LIBRARIES.get(Path(manifest.model_file).suffix, "executorch"),
        "pipeline_tag": "image-classification",
        "tags": ["dermoscopy", "knowledge-distillation", manifest.backend, manifest.precision],
    }
    if evaluation is not None:
        data = evaluation.data
        metrics = [
            {"type": kind, "name": title, "value": round(evaluation.metrics[key].value or 0.0, 6)}
            for key, (kind, title) in INDEX.items()
            if key in evaluation.metrics and evaluation.metrics[key].value is not None
        ]
        result = {
            "task": {"type": "image-classification", "name": "Skin lesions in dermoscopy"},
            "dataset": {
                "type": data.kind,
                "name": f"{data.kind}, split by {data.split_by}",
                "split": data.role,
            },
            "metrics": metrics,
        }
        head["model-index"] = [{"name": manifest.name, "results": [result]}]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    return ["---", *lines, "---", ""]
