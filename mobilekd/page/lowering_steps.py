"""What each lowering step cost, and why each artifact was accepted."""

from collections.abc import Sequence

from mobilekd.figures.tables import Cell, count, percent, points, size, table
from mobilekd.formats.artifact import Artifact, Manifest
from mobilekd.formats.gates import NOT_DECIDED, Gate, Stage
from mobilekd.formats.interval import Interval
from mobilekd.formats.recipe import GatesTable
from mobilekd.page.blocks import Block, Section, Text, section_of
from mobilekd.page.inputs import Inputs


def section(inputs: Inputs) -> Section | None:
    """Parity by stage, gates, delegation and bytes."""
    artifacts = inputs.artifacts
    if not artifacts:
        return None
    words = (
        "Every file was compared with what it was made from before it was accepted. “Recorded”"
        " figures come from the reference's own record, because the data is not at hand;"
        " “unverified” says why a step could not be checked on the exporting machine."
        " “Not decided” means that the photographs were too few to decide a gate, “decisions not"
        " decided here” that no photograph judged the file’s answers."
        f"{_relaxed(artifacts)}"
    )
    return section_of(
        "lowered",
        "What each lowering step cost",
        [Text(words), _files(artifacts), _parity(artifacts), _gates(artifacts)],
    )


def _files(artifacts: Sequence[Artifact]) -> Block:
    rows = []
    for artifact in artifacts:
        manifest, delegation = artifact.manifest, artifact.manifest.delegation
        heavy = (
            Cell("–")
            if delegation is None
            else Cell(f"{delegation.heavy_delegated} of {delegation.heavy_total}")
        )
        outside = "–" if delegation is None else str(sum(delegation.portable.values()))
        rows.append(
            [
                Cell(manifest.name, f"{manifest.backend} {manifest.precision}"),
                count(manifest.student.parameters),
                size(manifest.bytes),
                f"{manifest.bytes / max(1, manifest.student.parameters):.2f}",
                heavy,
                outside,
                Cell("–", NOT_DECIDED, mark="warn")
                if manifest.open_decisions
                else percent(_at_export(manifest)),
            ]
        )
    header = (
        "artifact",
        "parameters",
        "file",
        "bytes per parameter",
        "convolutions and linear layers delegated",
        "operators outside",
        "balanced accuracy %, at export",
    )
    return table("Artifacts", header, rows)


def _at_export(manifest: Manifest) -> Interval | None:
    known = manifest.accuracy.get("balanced_accuracy")
    return None if known is None else Interval(**known)


def _parity(artifacts: Sequence[Artifact]) -> Block | None:
    rows = [
        [
            Cell(
                f"{artifact.manifest.name} {artifact.manifest.precision}", artifact.manifest.backend
            ),
            Cell(stage.stage.title, f"against {stage.against.title}"),
            _verified(stage),
            str(stage.samples) if stage.samples else "–",
            "–" if stage.max_error is None else f"{stage.max_error:.2g}",
            "–" if stage.sqnr_db is None else f"{stage.sqnr_db:.1f}",
            "–" if stage.agreement is None else f"{100 * stage.agreement:.2f}",
            points(stage.accuracy_drop) if stage.accuracy_drop else "–",
        ]
        for artifact in artifacts
        for stage in artifact.manifest.parity
    ]
    if not rows:
        return None
    header = (
        "artifact",
        "step",
        "verified",
        "photographs",
        "largest error",
        "SQNR, dB",
        "same answer %",
        "balanced accuracy lost, points",
    )
    return table(
        "Parity, step by step",
        header,
        rows,
        "Errors are of probabilities. A loss above zero is a loss; in brackets its 95% interval.",
    )


def _verified(stage: Stage) -> Cell:
    if not stage.verified:
        return Cell("unverified", stage.reason or "", mark="warn")
    return (
        Cell("recorded", stage.where, mark="warn")
        if stage.recorded
        else Cell("yes", stage.where, mark="good")
    )


def _gates(artifacts: Sequence[Artifact]) -> Block | None:
    rows = [
        [
            Cell(
                f"{artifact.manifest.name} {artifact.manifest.precision}", artifact.manifest.backend
            ),
            gate.name.title,
            gate.measured,
            gate.condition,
            _result(gate),
        ]
        for artifact in artifacts
        for gate in artifact.manifest.gates
    ]
    return table("Gates", ("artifact", "gate", "value", "limit", "result"), rows) if rows else None


def _relaxed(artifacts: Sequence[Artifact]) -> str:
    """Which limits a recipe has set below the usual ones, in a sentence."""
    usual, found = GatesTable(), set()
    for artifact in artifacts:
        given = artifact.manifest.provenance.recipe.get("gates", {})
        for key, limit in usual.model_dump().items():
            value = given.get(key, limit)
            if value < limit if key in LEAST else value > limit:
                found.add(f"{key} {value:g} instead of {limit:g}")
    return f" Relaxed by the recipe: {', '.join(sorted(found))}." if found else ""


#: Gates whose limit is the least value that passes; of the others it is the greatest.
LEAST = ("sqnr_db", "agreement")


def _result(gate: Gate) -> Cell:
    small = "recorded" if gate.recorded else ""
    if gate.undecided:
        return Cell("not decided", small or f"{gate.samples} photographs are too few", mark="warn")
    return Cell("passed", small, mark="good") if gate.passed else Cell("failed", mark="bad")
