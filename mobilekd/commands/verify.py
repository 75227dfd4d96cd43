"""``verify``: every check of an artifact again, on whatever machine holds it, with what cannot be
checked here said so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mobilekd.backends import get
from mobilekd.data.dataset import some
from mobilekd.formats.artifact import Artifact, newest_artifact, open_artifact
from mobilekd.formats.constants import constants
from mobilekd.formats.golden_set import Decision
from mobilekd.formats.guard import OUTPUT, read_guard
from mobilekd.formats.recipe_file import from_dict
from mobilekd.formats.runs import Run, open_run
from mobilekd.inference.evaluation_set import open_evaluation_set
from mobilekd.lowering import parity
from mobilekd.lowering.decisions import agreement_gate
from mobilekd.metrics import weighted
from mobilekd.metrics.decide import decided
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.files import sha256_file
from mobilekd.support.progress import say
from mobilekd.support.words import counted

#: Two JPEG decoders may differ by so many of 255 levels; the exporting machine's Pillow differs by
#: none.
DECODER_LEVELS = 3


@dataclass(frozen=True)
class ArtifactCheck:
    """One check; ``passed`` is None where this machine cannot decide it, and ``detail``
    says why.
    """

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True)
class VerifyResult:
    """All checks of one artifact."""

    artifact: str
    passed: bool
    checks: tuple[ArtifactCheck, ...]


def verify(
    artifact: Path | None = None,
    *,
    arm: bool = False,
    hashes: bool = False,
    runs: Path = Path("runs"),
) -> VerifyResult:
    """Check files, constants, delegation, golden set and, where its data is here, the decisions on
    the test split. None takes the newest artifact, and says which.

    ``hashes`` stops after the files and the gates that the manifest records, which needs neither
    torch nor a runtime.

    A file that does not match its hash is a ``UserError`` at once: nothing else about it would mean
    anything.
    """
    if artifact is None:
        artifact = newest_artifact()
        say(f"verify: the newest artifact, {artifact}")
    opened = open_artifact(artifact)
    checks = [
        ArtifactCheck("files", True, f"{len(opened.manifest.files)} files match their SHA-256"),
        _gates(opened),
    ]
    if hashes:
        return _result(opened, checks)
    checks.append(_preprocess(opened))
    for name, look in (
        ("constants", _constants),
        ("delegation", _delegation),
        ("golden set", _golden),
        ("golden decisions", _golden_decisions),
    ):
        checks.append(_tried(name, opened, look))
    run = source_run(opened, runs)
    checks.append(_tried("student", opened, partial(_student, run=run)))
    checks.append(_tried("decisions", opened, partial(_decisions, run=run)))
    if arm:
        from mobilekd.runners.qemu import TRUSTED

        checks += [
            _tried(f"golden set on {cpu}", opened, partial(_arm, cpu=cpu)) for cpu in TRUSTED
        ]
    return _result(opened, checks)


def _result(artifact: Artifact, checks: Sequence[ArtifactCheck]) -> VerifyResult:
    passed = all(check.passed is not False for check in checks)
    return VerifyResult(str(artifact.folder), passed, tuple(checks))


def _tried(
    name: str, artifact: Artifact, look: Callable[[Artifact], tuple[bool, str]]
) -> ArtifactCheck:
    try:
        passed, detail = look(artifact)
    except CannotRunHere as reason:
        return ArtifactCheck(name, None, str(reason))
    return ArtifactCheck(name, passed, detail)


def _gates(artifact: Artifact) -> ArtifactCheck:
    gates = artifact.manifest.gates
    failed = [gate.name.title for gate in gates if not gate.passed]
    recorded = sum(gate.recorded for gate in gates)
    said = f"{len(gates)} gates, {recorded} of them recorded; failed: {', '.join(failed) or 'none'}"
    if few := [f"{gate.name.title} {gate.measured}" for gate in gates if gate.undecided]:
        said += f"; too few photographs to decide: {', '.join(few)}"
    said += "".join(f"; {reason}" for reason in artifact.manifest.open_decisions)
    return ArtifactCheck("gates", not failed and bool(gates), said)


def _preprocess(artifact: Artifact) -> ArtifactCheck:
    """The golden photographs through this machine's decoder and resize."""
    golden, preprocess = artifact.golden(), artifact.manifest.preprocess
    made = np.stack(
        [
            preprocess.load(artifact.folder / "golden" / name).transpose(2, 0, 1)
            for name in golden.index.images
        ]
    )
    levels = int(np.abs(made.astype(int) - golden.inputs).max())
    return ArtifactCheck(
        "preprocessing",
        levels <= DECODER_LEVELS,
        f"largest difference {levels} of 255 levels, at most {DECODER_LEVELS}",
    )


def _constants(artifact: Artifact) -> tuple[bool, str]:
    """What travels inside the file says the same as the manifest."""
    manifest = artifact.manifest
    inside = get(manifest.backend).constants(artifact.model)
    wanted = constants(
        name=manifest.name,
        backend=manifest.backend,
        precision=manifest.precision,
        labels=manifest.labels,
        preprocess=manifest.preprocess,
        calibration=manifest.calibration,
        outputs=manifest.outputs,
        card=str(inside.get("card", "")),
        student=manifest.provenance.source_sha256,
        versions=manifest.provenance.versions,
        guard=manifest.guard,
        soc=manifest.chip.soc if manifest.chip else None,
    )
    wrong = [name for name, value in wanted.items() if inside.get(name) != value]
    return (
        not wrong,
        (
            f"{len(wanted)} constants read from the file; different from the manifest:"
            f" {', '.join(wrong) or 'none'}"
        ),
    )


def _delegation(artifact: Artifact) -> tuple[bool, str]:
    """Convolutions and linear layers counted in the file again."""
    recorded = artifact.manifest.delegation
    if recorded is None:
        raise CannotRunHere("the manifest records no count to compare with")
    counted = get(artifact.manifest.backend).delegation(artifact.model, recorded.heavy_total)
    inside = (
        f"{counted.heavy_delegated} of {counted.heavy_total} convolutions and linear layers in"
        f" {counted.partitions} delegate(s)"
    )
    same = counted == recorded
    return (
        same,
        (
            f"{inside}, {sum(counted.portable.values())} operators outside;"
            f" {'as' if same else 'not as'} the manifest says"
        ),
    )


def _golden(artifact: Artifact) -> tuple[bool, str]:
    golden = artifact.golden()
    answers = get(artifact.manifest.backend).run(artifact.model, golden.inputs.astype(np.float32))
    return _compared(artifact, answers)


def _golden_decisions(artifact: Artifact) -> tuple[bool, str]:
    """Whether the kept decisions on the golden photographs follow from the kept answers."""
    golden, manifest = artifact.golden(), artifact.manifest
    if golden.decisions is None:
        raise CannotRunHere("the artifact was made before it kept what is said of each photograph")
    wanted = decided(
        golden.probabilities, golden.outside, manifest.labels, manifest.calibration, manifest.guard
    )
    wrong = [
        f"{name} is said to be {_said(said)}, its answer gives {_said(want)}"
        for name, said, want in zip(golden.index.images, golden.decisions, wanted, strict=True)
        if said != want
    ]
    return (
        not wrong,
        (
            f"{len(wanted)} decisions; not what the golden answers give:"
            f" {some(wrong, 'photograph') if wrong else 'none'}"
            + ("; export again" if wrong else "")
        ),
    )


def _said(one: Decision) -> str:
    return one.answer if one.set is None else f"{one.answer} with the set {list(one.set)}"


def _arm(artifact: Artifact, cpu: str) -> tuple[bool, str]:
    from mobilekd.runners.qemu import outputs

    backend = get(artifact.manifest.backend)
    if not backend.processor:
        raise CannotRunHere(f"the emulated Arm processors have no runtime for {backend.name}")
    return _compared(artifact, outputs(artifact.model, artifact.golden().inputs, cpu))


def _compared(artifact: Artifact, answers: list[np.ndarray]) -> tuple[bool, str]:
    golden = artifact.golden()
    error = _largest_error(answers, golden.outputs)
    return (
        error <= golden.index.max_error,
        (
            f"{golden.index.count} photographs, max error {error:.2g}, at most"
            f" {golden.index.max_error:g}"
        ),
    )


def _largest_error(given: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """Over every output; ``parity.UNBOUNDED`` where their numbers or sizes differ."""
    if [output.size for output in given] != [output.size for output in wanted]:
        return parity.UNBOUNDED
    return max(
        parity.max_error(one.reshape(other.shape), other)
        for one, other in zip(given, wanted, strict=True)
    )


def source_run(artifact: Artifact, runs: Path) -> Run | None:
    """The run or the shipped reference that the artifact came from, if it is here with the very
    weights.
    """
    made = artifact.manifest.provenance
    for name in (made.run, f"reference:{made.run}"):
        try:
            run = open_run(name, runs)
        except UserError:
            continue
        if run.weights.is_file() and sha256_file(run.weights) == made.source_sha256:
            return run
    return None


def _eager(artifact: Artifact, run: Run, x: np.ndarray) -> list[np.ndarray]:
    """The student's own answers, float32 ``[N, 3, H, W]`` -> outputs."""
    from mobilekd.backends.base import eager_runner, one_thread
    from mobilekd.students import Deployable, load

    manifest = artifact.manifest
    guard = read_guard(artifact.folder) or run.guard  # its own where it knows a clinic
    model = Deployable(
        load(run),
        manifest.preprocess,
        manifest.calibration,
        cam="cam" in manifest.outputs,
        guard=guard if OUTPUT in manifest.outputs else None,
    ).eval()
    with one_thread():
        return eager_runner(model)(x)


def _student(artifact: Artifact, run: Run | None) -> tuple[bool, str]:
    """The file's answers to the golden set against the student's; its gates are the recipe's in the
    manifest.
    """
    manifest, golden = artifact.manifest, artifact.golden()
    if run is None:
        raise CannotRunHere(
            f"the run {manifest.provenance.run} with these weights is not here; --runs names the"
            " folder of runs"
        )
    x = golden.inputs.astype(np.float32)
    wanted = _eager(artifact, run, x)
    given = get(manifest.backend).run(artifact.model, x)
    error = _largest_error(given, wanted)
    said = (
        f"{counted(len(x), 'photograph')}, max error {error:.2g} from the student in floating point"
    )
    if manifest.precision not in ("fp32", "fp16"):
        raise CannotRunHere(
            f"{said}; rounded weights move answers on purpose, so the decisions below judge them"
        )
    gates = from_dict(manifest.provenance.recipe, str(artifact.folder / "manifest.json")).gates
    limit = gates.max_error if manifest.precision == "fp32" else gates.max_error_quantized
    return error <= limit, f"{said}, at most {limit:g}"


def _decisions(artifact: Artifact, run: Run | None) -> tuple[bool, str]:
    """Balanced accuracy on the test split again, and agreement with the student where its run is
    here too.
    """
    manifest = artifact.manifest
    recipe = from_dict(manifest.provenance.recipe, str(artifact.folder / "manifest.json"))
    try:
        evaluation_set = open_evaluation_set(
            recipe,
            manifest.labels,
            run.split if run else None,
            manifest.provenance.split_hash,
            roles=("test",),
            pixels=run.info.pixels if run else None,
        )
    except UserError as reason:
        raise CannotRunHere(f"the test photographs are not here ({reason})") from None
    test = evaluation_set.test()
    x = test.inputs.astype(np.float32)
    given = get(manifest.backend).run(artifact.model, x)[0]
    if given.shape != (len(x), len(manifest.labels)):
        return False, f"answers of shape {given.shape} to {len(x)} photographs"
    accuracy = float(
        weighted.balanced_accuracy(test.truth, given.astype(float), np.ones((1, len(x))))[0]
    )
    recorded = manifest.accuracy.get("balanced_accuracy", {}).get("value")
    passed = recorded is None or abs(accuracy - recorded) <= recipe.gates.accuracy_drop
    count = counted(len(x), "test photograph")
    detail = f"{count}, balanced accuracy {accuracy:.4f}, recorded {recorded}"
    if recorded is None and run is None:
        raise CannotRunHere(
            f"{detail}; the run {manifest.provenance.run}, whose decisions it must have, is not"
            " here; --runs names the folder of runs"
        )
    if run is not None:
        wanted, exact = _eager(artifact, run, x)[0], manifest.precision == "fp32"
        gate = agreement_gate(given, wanted, recipe.gates.agreement, exact=exact)
        passed &= gate.passed
        detail += f", agreement with the student {gate.measured}"
        if gate.undecided:
            detail += f", too few to decide whether it reaches {gate.limit:g}"
    return passed, detail
