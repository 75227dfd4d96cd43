"""Check on a Mac that Apple answers an artifact's golden set rightly.

The result goes into the artifact's manifest.

    python ios_export/check_on_mac.py artifacts/NAME-coreml-fp16

Needs this package (``pip install .``) and, for a Core ML artifact, macOS 12 or newer (14.4 for the
compute plan, which says which layers run on the Neural Engine); for a Core AI artifact ``pip
install '.[coreai]'`` and macOS 27. Exit codes: 0 passed, 1 Apple answers otherwise, 2 cannot be
checked. ``--predictor interpreter`` runs the same check anywhere with this package's interpreters;
it proves nothing about Apple's kernels, so it leaves the manifest alone.
"""

import argparse
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilekd import backends
from mobilekd.backends import coreml
from mobilekd.backends.shared.coreml_file import quiet
from mobilekd.formats.artifact import Artifact, open_artifact, write_manifest
from mobilekd.formats.constants import decided_by
from mobilekd.formats.gates import Stage
from mobilekd.formats.parity_names import StageId, StageName
from mobilekd.lowering import parity
from mobilekd.metrics.decide import decided
from mobilekd.support.arguments import hush
from mobilekd.support.errors import CannotRunHere, UserError

#: How a note begins that goes when a Mac has verified the file.
UNVERIFIED = ("Apple's kernels are unverified", "Apple's processors are unverified")

Predictor = Callable[[Path, np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Way:
    """How artifacts of one backend are checked: by Apple, and by an interpreter of this package.

    ``plan`` counts convolutions and linear layers by the processor that Apple plans for them.
    """

    apple: Predictor
    interpreter: Predictor
    plan: Callable[[Path], dict[str, int]] | None = None


def core_ml_plan(package: Path) -> dict[str, int]:
    """Convolutions and linear layers of a package by the processor that Core ML prefers for each.
    Raises ``UserError`` where this macOS gives no plan.
    """
    with quiet():
        from coremltools.models import MLModel
        from coremltools.models.compute_plan import MLComputePlan

        from mobilekd.graphs.mil.program import HEAVY

    try:
        compiled = MLModel(str(package)).get_compiled_model_path()
        plan = MLComputePlan.load_from_path(compiled)
    except Exception as error:  # an older macOS, or coremltools without Apple's frameworks
        raise UserError(f"Core ML gives no compute plan here ({error})") from None
    operations = plan.model_structure.program.functions["main"].block.operations
    usages = (
        plan.get_compute_device_usage_for_mlprogram_operation(one)
        for one in operations
        if one.operator_name.rpartition(".")[2] in HEAVY  # without its set: ios16.conv
    )
    return counted(None if usage is None else usage.preferred_compute_device for usage in usages)


def counted(devices: Iterable[object]) -> dict[str, int]:
    """Devices of coremltools (``MLNeuralEngineComputeDevice``, None where unknown) by their
    names.
    """
    return dict(
        Counter(
            type(device).__name__.removeprefix("ML").removesuffix("ComputeDevice")
            if device is not None
            else "unknown"
            for device in devices
        )
    )


def _core_ai_interpreter(path: Path, x: np.ndarray) -> list[np.ndarray]:
    from mobilekd.graphs import coreai_program

    return coreai_program.interpret(path, x)


WAYS = {
    "coreml": Way(coreml.predict, coreml.interpret, core_ml_plan),
    "coreai": Way(backends.get("coreai").run, _core_ai_interpreter),
}


def check(artifact: Artifact, predictor: Predictor, where: str) -> Stage:
    """Facts, photographs and answers against the golden set -> the parity table's row; ``verified``
    is: all met.
    """
    golden, row = artifact.golden(), row_of(artifact)
    wrong = [f"the package's {name} is not the manifest's" for name in other_facts(artifact)]
    wrong += [f"{name} does not become its golden input" for name in other_inputs(artifact)]
    given = predictor(artifact.model, golden.inputs.astype(np.float32))
    answers = given[0]
    if answers.shape != golden.probabilities.shape or not np.isfinite(answers).all():
        wrong.append(
            f"answers of shape {answers.shape}, expected finite ones of"
            f" {golden.probabilities.shape}"
        )
        return Stage(
            stage=row,
            against=StageName(StageId.GOLDEN_SET),
            verified=False,
            where=where,
            reason="; ".join(wrong),
        )
    manifest = artifact.manifest
    scores = given[-1] if golden.outside is not None else None
    if golden.outside is not None and manifest.guard is not None:
        other = manifest.guard.refuses(given[-1]) != manifest.guard.refuses(golden.outside)
        if other.any():
            wrong.append(f"the guard says otherwise of {int(other.sum())} golden photographs")
    if golden.decisions is not None:
        said = decided(answers, scores, manifest.labels, manifest.calibration, manifest.guard)
        other = [one != known for one, known in zip(said, golden.decisions, strict=True)]
        if any(other):
            wrong.append(f"it decides otherwise of {sum(other)} golden photographs")
    error = float(np.abs(answers - golden.probabilities).max())
    if error > golden.index.max_error:
        wrong.append(
            f"probabilities lie {error:.2g} apart, allowed is {golden.index.max_error:.2g}"
        )
    agreement = float((answers.argmax(1) == golden.probabilities.argmax(1)).mean())
    if agreement < 1:
        wrong.append(f"the likeliest class agrees on {agreement:.0%} only")
    return Stage(
        stage=row,
        against=StageName(StageId.GOLDEN_SET),
        verified=not wrong,
        where=where,
        reason="; ".join(wrong) or None,
        samples=golden.index.count,
        max_error=error,
        sqnr_db=parity.sqnr_db(answers, golden.probabilities),
        agreement=agreement,
    )


def row_of(artifact: Artifact) -> StageName:
    """The row of the parity table that this check fills."""
    stage = backends.get(artifact.manifest.backend).apple
    if stage is None or artifact.manifest.backend not in WAYS:
        raise UserError(
            f"{artifact.folder}: made for {artifact.manifest.backend}; this checks --backend"
            f" {' and '.join(sorted(WAYS))}"
        )
    return StageName(stage)


def other_facts(artifact: Artifact) -> list[str]:
    """Names of what the package says of itself otherwise than the manifest does."""
    manifest = artifact.manifest
    preprocess = manifest.preprocess
    expected = {
        "labels": [label.key for label in manifest.labels],
        "label_texts": [label.text for label in manifest.labels],
        "input_height": preprocess.height,
        "input_width": preprocess.width,
        "color": preprocess.color,
        "crop": preprocess.crop,
        "resize": preprocess.resize,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "temperature": manifest.calibration.temperature,
        "threshold": manifest.calibration.threshold,
        "precision": manifest.precision,
        "outputs": list(manifest.outputs),
        **({"guard_threshold": manifest.guard.threshold} if manifest.guard else {}),
        **decided_by(manifest.calibration, manifest.labels),
    }
    said = backends.get(manifest.backend).constants(artifact.model)
    return sorted(name for name, value in expected.items() if said.get(name) != value)


def other_inputs(artifact: Artifact) -> list[str]:
    """Golden photographs that this machine's own decoding and resize turn into something else. JPEG
    decoders may differ a little.
    """
    golden, preprocess = artifact.golden(), artifact.manifest.preprocess
    wrong = []
    for name, expected in zip(golden.index.images, golden.inputs, strict=False):
        pixels = preprocess.load(artifact.folder / "golden" / name).transpose(2, 0, 1)
        apart = np.abs(pixels.astype(int) - expected.astype(int)).max()
        exact = name.endswith(".png") and "-" not in name  # no JPEG, no conversion to sRGB
        if apart > (0 if exact else 4):
            wrong.append(name)
    return wrong


def with_plan(stage: Stage, plan: Callable[[Path], dict[str, int]], model: Path) -> Stage:
    """The row with its layers by processor; a Mac that gives no plan is told, and the row stays."""
    try:
        processors = plan(model)
    except UserError as reason:
        print(f"{reason}; the row says nothing of processors", file=sys.stderr)
        return stage
    told = ", ".join(f"{count} on {name}" for name, count in processors.items())
    print(f"compute plan: of the convolutions and linear layers, {told}")
    return stage.model_copy(update={"processors": processors})


def write_back(artifact: Artifact, stage: Stage) -> None:
    """Put the row into the manifest in place of the open one, with every file hashed again."""
    manifest = artifact.manifest
    rows = (*(row for row in manifest.parity if row.stage != stage.stage), stage)
    notes = tuple(
        note for note in manifest.notes if not (stage.verified and note.startswith(UNVERIFIED))
    )
    write_manifest(artifact.folder, manifest.model_copy(update={"parity": rows, "notes": notes}))


def this_mac() -> str:
    """Model and system version, for the manifest."""
    if platform.system() != "Darwin":
        raise CannotRunHere(
            "this is no Mac, and Apple's processors answer on macOS only; take the artifact to one,"
            " or use --predictor interpreter"
        )
    model = subprocess.run(
        ["sysctl", "-n", "hw.model"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return f"{model}, macOS {platform.mac_ver()[0]}"


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("artifact", type=Path, help="folder of a Core ML or Core AI artifact")
    parser.add_argument(
        "--predictor",
        choices=("apple", "interpreter"),
        default="apple",
        help="who answers: Apple on a Mac (default), or this package's interpreter anywhere, which"
        " proves nothing about Apple and leaves the manifest alone",
    )
    options = parser.parse_args(arguments)
    hush()
    try:
        artifact = open_artifact(options.artifact)
        row_of(artifact)
        way, apple = WAYS[artifact.manifest.backend], options.predictor == "apple"
        where = this_mac() if apple else "interpreter (Apple's kernels unverified)"
        stage = check(artifact, way.apple if apple else way.interpreter, where)
        if apple and way.plan is not None:
            stage = with_plan(stage, way.plan, artifact.model)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if apple:
        write_back(artifact, stage)
    verdict = "passed" if stage.verified else "FAILED"
    print(
        f"{verdict} on {where}: {stage.samples} samples, max error {stage.max_error},"
        f" {stage.reason or 'all met'}"
    )
    return 0 if stage.verified else 1


if __name__ == "__main__":
    sys.exit(main())
