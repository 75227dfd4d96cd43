"""The model card: what the student is, what it was judged on, and what it is not for. Short for the
app, whole for the folder.
"""

from mobilekd.formats.artifact import Manifest
from mobilekd.formats.data_tables import data_title
from mobilekd.formats.interval import Interval
from mobilekd.formats.runs import Run
from mobilekd.lowering.card_figures import (
    doubt_lines,
    error_lines,
    evaluation_of,
    front_matter,
    interval,
    judged_lines,
    origin_lines,
    training_lines,
)
from mobilekd.metrics.clinic import also_fitted
from mobilekd.metrics.registry import in_words
from mobilekd.support.text import photographs_of

NOT_A_DEVICE = "Research demonstration, not a medical device; it must not guide care."


def short(run: Run, precision: str) -> str:
    """For the app's screen: plain lines."""
    recipe, info = run.recipe, run.info
    lines = [
        NOT_A_DEVICE,
        f"{run.title}: {info.parameters:,} parameters, {precision}.",
        (
            f"Trained on {recipe.data.title}, split by"
            f" {info.split_by}{' (leaky)' if info.split_by == 'photograph' else ''}."
        ),
        (
            "Not validated on: photographs that are not dermoscopy, other devices, skin tones and"
            " sites rare in its data."
        ),
    ]
    if info.data_licence:
        lines.append(f"Data licence: {info.data_licence}.")
    return "\n".join(lines)


def markdown(manifest: Manifest, run: Run) -> str:
    """``MODEL_CARD.md`` of an artifact, from its manifest, its run and the run's judgement."""
    evaluation = evaluation_of(run)
    student, provenance = manifest.student, manifest.provenance
    width = provenance.recipe["student"]["width"]
    network = student.model if ":" in student.model else f"{student.model} x{width:g}"
    lines = [
        *front_matter(manifest, evaluation),
        f"# {manifest.name} ({manifest.backend}, {manifest.precision})",
        "",
        f"**{NOT_A_DEVICE}**",
        "",
        (
            f"- Network: {network}, {student.parameters:,} parameters,"
            f" {student.macs:,} multiply-adds"
        ),
        f"- File: {manifest.bytes:,} bytes",
        (
            f"- Input: {manifest.preprocess.width} x {manifest.preprocess.height} RGB,"
            " 0..255; output: calibrated probabilities"
        ),
        f"- Classes: {', '.join(f'{label.text} (`{label.key}`)' for label in manifest.labels)}",
        (
            f"- Data: {data_title(provenance.recipe['data'])}, split by"
            f" {provenance.split_by}"
            f"{', which leaks lesions' if provenance.split_by == 'photograph' else ''},"
            f" split hash `{provenance.split_hash[:12]}`"
        ),
        f"- Data licence: {provenance.data_licence or 'not stated'}",
        (
            f"- Run `{provenance.run}`, recipe hash `{provenance.recipe_hash[:12]}`, made"
            f" {provenance.created_utc}"
        ),
        "",
        "## Intended use",
        "",
        (
            "Research and teaching on distillation and on-device inference with dermoscopy"
            " photographs of single pigmented lesions. Not for patients, and not for anybody who"
            " is worried about a lesion. The weights inherit the terms of the data's licence"
            f" ({provenance.data_licence or 'not stated'})."
        ),
        "",
        *judged_lines(evaluation, manifest),
        *doubt_lines(run.info),
        *error_lines(evaluation, guarded=manifest.guard is not None),
        *origin_lines(provenance.recipe, run.info, evaluation),
        "## Not validated on",
        "",
        (
            "Photographs that are not dermoscopy, other devices and clinics, skin tones and body"
            " sites that are rare in the training data,"
        ),
        (
            "lesions outside the classes above. A probability below"
            f" {manifest.calibration.threshold:.2f} is to be read as: not sure."
        ),
        "",
        *_parity(manifest),
        *_origins(manifest),
    ]
    lines += ["", *training_lines(run.info, reference=run.reference)][:-1]
    lines += (
        ["", "## Notes", "", *(f"- {note}" for note in manifest.notes)] if manifest.notes else []
    )
    return "\n".join(lines) + "\n"


def _parity(manifest: Manifest) -> list[str]:
    """The parity table: each stage of lowering against the one above it."""
    lines = [
        "## Parity",
        "",
        "| stage | against | n | max error | SQNR (dB) | agreement | balanced accuracy lost |",
        "|---|---|---|---|---|---|---|",
    ]
    for stage in manifest.parity:
        recorded = " (recorded)" if stage.recorded else ""
        named = f"| {stage.stage.title}{recorded} | {stage.against.title} |"
        if not stage.verified:
            lines.append(f"{named} not verified: {stage.reason} | | | | |")
            continue
        figures = (
            (f"{stage.max_error:.2g}", f"{stage.sqnr_db:.0f}", f"{stage.agreement:.4f}")
            if stage.max_error is not None
            else ("", "", "")
        )
        lines.append(
            f"{named} {stage.samples} | {' | '.join(figures)} | {_interval(stage.accuracy_drop)} |"
        )
    return lines


def fitted(card: str, before: Manifest, after: Manifest) -> str:
    """The card of an artifact that was fitted to a clinic, from the card of the one that it came
    from.
    """
    clinic = after.clinic
    assert clinic is not None
    old, new = (
        f"A probability below {one.calibration.threshold:.2f} is to be read"
        for one in (before, after)
    )
    heads = [f"# {one.name} ({one.backend}, {one.precision})" for one in (before, after)]
    texts = {label.key: label.text for label in after.labels}
    classes = ", ".join(f"{count} {texts[key]}" for key, count in clinic.by_class.items() if count)
    lines = [
        "## Fitted to a clinic",
        "",
        (
            "After it was exported, labelled photographs of a clinic fitted its temperature,"
            " priors, thresholds, sets and limits of picture quality:"
            f" {photographs_of(clinic.photographs, clinic.lesions)} ({clinic.data}: {classes})."
            " Its network is bit for bit what it was. The figures below are of those photographs,"
            " after by cross-fitting: each was answered by what the others fitted. All other"
            " figures of this card are of the file before it was fitted."
        ),
        "",
        "| figure | before | after |",
        "|---|---|---|",
        *(
            f"| {in_words(name, texts)} | {_interval(clinic.before.get(name))} |"
            f" {_interval(figure)} |"
            for name, figure in clinic.after.items()
        ),
        "",
        (
            f"{clinic.enough} lesions of a class are enough to know the coverage of its sets to 5"
            " points."
        ),
        "",
        also_fitted(after),
        "",
    ]
    intended = "## Intended use"
    sizes = [f"- File: {one.bytes:,} bytes" for one in (before, after)]
    for was, now in ((heads[0], heads[1]), (old, new), (sizes[0], sizes[1])):
        card = card.replace(was, now)
    return card.replace(intended, "\n".join([*lines, intended]), 1)


def _origins(manifest: Manifest) -> list[str]:
    """Figures of each origin of the test split, where they are known."""
    begin = "balanced_accuracy."
    names = [name.removeprefix(begin) for name in manifest.accuracy if name.startswith(begin)]
    if not names:
        return []
    split = manifest.provenance.recipe.get("split", {})
    left_out = split.get("test_origin")
    lines = [
        "",
        "## By origin",
        "",
        (
            "Where photographs come from decides how well it answers. These are this file's answers"
            " to the test photographs of each origin"
            + (f"; of {left_out} none were trained on." if left_out else ", like those trained on.")
        ),
        "",
        "| origin | balanced accuracy | accuracy | calibration error |",
        "|---|---|---|---|",
    ]
    for name in names:
        figures = (
            Interval.model_validate(manifest.accuracy[f"{key}.{name}"])
            for key in ("balanced_accuracy", "accuracy", "ece")
            if f"{key}.{name}" in manifest.accuracy
        )
        shown = " | ".join(interval(figure) for figure in figures)
        lines.append(f"| {'not known' if name == 'unknown' else name} | {shown} |")
    return lines


def _interval(figure: Interval | None) -> str:
    if figure is None or figure.value is None:
        return ""
    return (
        f"{figure.value:z.4f} ({figure.low:z.4f} to {figure.high:z.4f})"
        if figure.low is not None
        else f"{figure.value:z.4f}"
    )
