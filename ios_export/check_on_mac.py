"""Check on a Mac that Core ML's answers meet an artifact's golden set, and write the result into
its manifest.

    python ios_export/check_on_mac.py artifacts/NAME-coreml-fp16

Needs macOS 12 or newer and ``pip install mobilekd``. Exit codes: 0 passed, 1 Core ML answers
otherwise, 2 cannot be checked. ``--predictor interpreter`` runs the same check anywhere with the
package's interpreter; it proves nothing about Apple's kernels, so it leaves the manifest alone.
"""

import argparse
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mobilekd.backends.coreml import BACKEND, interpret, predict
from mobilekd.formats.artifact import Artifact, open_artifact, write_manifest
from mobilekd.formats.constants import decided_by
from mobilekd.formats.gates import Stage
from mobilekd.formats.parity_names import StageId, StageName
from mobilekd.lowering import parity
from mobilekd.metrics.decide import decided
from mobilekd.support.errors import CannotRunHere, UserError

#: The parity table's row that this check fills.
ROW = StageName(StageId.CORE_ML)

Predictor = Callable[[Path, np.ndarray], list[np.ndarray]]


def check(artifact: Artifact, predictor: Predictor, where: str) -> Stage:
    """Facts, photographs and answers against the golden set -> the parity table's row; ``verified``
    is: all met.
    """
    golden = artifact.golden()
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
            stage=ROW,
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
        stage=ROW,
        against=StageName(StageId.GOLDEN_SET),
        verified=not wrong,
        where=where,
        reason="; ".join(wrong) or None,
        samples=golden.index.count,
        max_error=error,
        sqnr_db=parity.sqnr_db(answers, golden.probabilities),
        agreement=agreement,
    )


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
    said = BACKEND.constants(artifact.model)
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


def write_back(artifact: Artifact, stage: Stage) -> None:
    """Put the row into the manifest in place of the open one, with every file hashed again."""
    manifest = artifact.manifest
    rows = (*(row for row in manifest.parity if row.stage != ROW), stage)
    notes = tuple(
        note
        for note in manifest.notes
        if not (stage.verified and note.startswith("Apple's kernels are unverified"))
    )
    write_manifest(artifact.folder, manifest.model_copy(update={"parity": rows, "notes": notes}))


def this_mac() -> str:
    """Model and system version, for the manifest."""
    if platform.system() != "Darwin":
        raise CannotRunHere(
            "this is no Mac, and Core ML answers on macOS only; take the artifact to one, or use"
            " --predictor interpreter"
        )
    model = subprocess.run(
        ["sysctl", "-n", "hw.model"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return f"{model}, macOS {platform.mac_ver()[0]}"


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("artifact", type=Path, help="folder of a Core ML artifact")
    parser.add_argument("--predictor", choices=("coreml", "interpreter"), default="coreml")
    options = parser.parse_args(arguments)
    try:
        artifact = open_artifact(options.artifact)
        if artifact.manifest.backend != BACKEND.name:
            raise UserError(
                f"{options.artifact}: made for {artifact.manifest.backend}; this checks --backend"
                " coreml"
            )
        apple = options.predictor == "coreml"
        where = this_mac() if apple else "interpreter (Apple's kernels unverified)"
        stage = check(artifact, predict if apple else interpret, where)
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
