"""Several files of one student in one APK: which may travel together, and where each lies.

The app takes the file for its phone's chip, else the first that runs on any phone, so all of them
must be the same student, asked the same way::

    assets/artifact/     the first file that runs on any phone; the only one of most apps
    assets/artifact-2/   the others, in the order in which they were named
    assets/files.json    a list of folder, backend, precision and soc, in the order in which they
                         were named; only where there are several files
"""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations

from mobilekd.formats import guard
from mobilekd.formats.artifact import Artifact, Manifest
from mobilekd.support.errors import UserError

#: What the runtime of every app runs, on any phone.
ANY_PHONE = ("xnnpack", "portable")

#: Among the assets, where there are several files.
INDEX = "files.json"

#: Characters of a value that a message shows.
_SHOWN = 60


def together(artifacts: Sequence[Artifact]) -> None:
    """``UserError`` unless the app can hold all of ``artifacts`` and they are one student's."""
    for artifact in artifacts:
        if found := refusal(artifact.manifest):
            raise UserError(f"{artifact.folder}: {found}")
    for first, second in combinations(artifacts, 2):
        if _kind(first) == _kind(second):
            raise UserError(
                f"{first.folder} and {second.folder}: both are {_words(first)}; name one of them"
            )
    for other in artifacts[1:]:
        _same_student(artifacts[0], other)
    if all(artifact.manifest.chip for artifact in artifacts):
        named = ", ".join(f"{artifact.folder} ({_words(artifact)})" for artifact in artifacts)
        raise UserError(
            f"{named}: no other phone could use the app; name a file of the same student for any"
            " phone, too (mobilekd export --backend xnnpack)"
        )


def places(artifacts: Sequence[Artifact]) -> dict[str, Artifact]:
    """Each artifact by its folder among the assets, in the order given."""
    main = next(artifact for artifact in artifacts if artifact.manifest.chip is None)
    others = [artifact for artifact in artifacts if artifact is not main]
    return {
        "artifact" if artifact is main else f"artifact-{2 + others.index(artifact)}": artifact
        for artifact in artifacts
    }


def without_guard(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Those that cannot say that a photograph is of another kind, where others can."""
    lacking = [one for one in artifacts if guard.OUTPUT not in one.manifest.outputs]
    return lacking if len(lacking) < len(artifacts) else []


def listing(placed: Mapping[str, Artifact]) -> bytes:
    """What ``files.json`` holds of ``places``."""
    listed = [
        {
            "folder": folder,
            "backend": artifact.manifest.backend,
            "precision": artifact.manifest.precision,
            "soc": artifact.manifest.chip.soc if artifact.manifest.chip else None,
        }
        for folder, artifact in placed.items()
    ]
    return (json.dumps(listed, indent=1) + "\n").encode()


def refusal(manifest: Manifest) -> str:
    """Why the app cannot run an artifact's file, and what to do; empty where it can."""
    if not manifest.model_file.endswith(".pte"):
        return (
            f"holds {manifest.model_file}, which the app cannot run; export with --backend xnnpack"
        )
    if manifest.backend not in ANY_PHONE and manifest.chip is None:
        return (
            f"was lowered for {manifest.backend}, which the app's runtime lacks; export with"
            " --backend xnnpack"
        )
    return ""


def _kind(artifact: Artifact) -> tuple[str, str, str]:
    manifest = artifact.manifest
    return manifest.backend, manifest.precision, manifest.chip.soc if manifest.chip else ""


def _words(artifact: Artifact) -> str:
    backend, precision, soc = _kind(artifact)
    return f"{backend} {precision} for {soc}" if soc else f"{backend} {precision}"


def _same_student(one: Artifact, other: Artifact) -> None:
    for what, mine in _facts(one).items():
        theirs = _facts(other)[what]
        if mine == theirs:
            continue
        if isinstance(mine, dict) and isinstance(theirs, dict):
            key = next(key for key in (*mine, *theirs) if mine.get(key) != theirs.get(key))
            what, mine, theirs = f"{what} ({key})", mine.get(key), theirs.get(key)
        raise UserError(
            f"{one.folder} and {other.folder}: {what} is {_short(mine)} in one and"
            f" {_short(theirs)} in the other; one app holds files of one student, so export both"
            " from the same run with the same options"
        )


def _facts(artifact: Artifact) -> dict[str, object]:
    """What all files of one app share, by how a message calls it."""
    manifest = artifact.manifest
    preprocess, source = manifest.preprocess, manifest.provenance
    return {
        "the run": source.run,
        "the network": manifest.student.model,
        "the hash of the weights": source.source_sha256,
        "the list of classes": [label.key for label in manifest.labels],
        "the text of a class": {label.key: label.text for label in manifest.labels},
        "the input size": f"{preprocess.width} x {preprocess.height} pixels",
        "preprocessing": preprocess.to_dict(),
        # a guard is a file's own: where it cannot be in one, the others keep theirs
        "the list of outputs": [name for name in manifest.outputs if name != guard.OUTPUT],
        "the clinic's data": manifest.clinic.data_hash if manifest.clinic else None,
        # a clinic fit asks each file's own answers
        "calibration": None if manifest.clinic else manifest.calibration.model_dump(mode="json"),
    }


def _short(value: object) -> str:
    if value is None or value == "":
        return "not told"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
