"""``inspect``: what an artifact is, read from its folder: labels, operators, every byte, cost per
layer, parity, provenance.
"""

import importlib.util
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.backends import get, names
from mobilekd.backends.shared.described_file import DescribedFile
from mobilekd.figures import Chart
from mobilekd.formats.artifact import (
    Artifact,
    LayerCost,
    LayerSensitivity,
    newest_artifact,
    open_artifact,
)
from mobilekd.formats.document import read_document
from mobilekd.formats.layer_errors import FILE, read_layer_errors
from mobilekd.graphs import pte
from mobilekd.page import layer_errors
from mobilekd.support.errors import UserError
from mobilekd.support.files import check_writable, write_text
from mobilekd.support.progress import say

#: Executions under the profiler; the median of each operator is reported.
PROFILED_RUNS = 40

#: XNNPACK's operator names by what their time is spent on.
CATEGORIES = (
    ("convolution", ("Convolution", "Deconvolution")),
    ("matrix product", ("Fully Connected", "Batch Matrix")),
    (
        "data movement",
        ("Transpose", "Reshape", "Copy", "Convert", "Pad", "Slice", "Concatenate", "Constant Pad"),
    ),
    ("reduction", ("Mean", "Sum", "Softmax", "Global Average", "Average Pooling")),
)


def inspect(
    artifact: Path | None = None,
    *,
    profile: bool = False,
    layers: bool = False,
    picture: Path | None = None,
) -> dict[str, Any]:
    """Everything there is to know about an artifact folder, as JSON; None takes the newest, and
    says which.

    ``profile`` runs it here under ExecuTorch's profiler. ``layers`` asks for what each layer's
    rounding does, which is refused where nothing is rounded or it was not recorded. ``picture`` is
    an SVG file to draw the cost per layer into, or with ``layers`` what its rounding does.
    """
    if picture is not None:
        check_writable(picture, "--picture")
    if artifact is None:
        artifact = newest_artifact()
        say(f"inspect: the newest artifact, {artifact}")
    opened = open_artifact(artifact)
    manifest = opened.manifest
    blamed = read_layer_errors(opened.folder)
    if layers and blamed is None:
        raise UserError(
            f"{opened.folder}: has no {FILE}; {manifest.precision} rounds no layer, or it was"
            " exported before this was recorded: export it again"
        )
    document = _of_manifest(opened)
    file = _take_apart(opened, document)
    document["layers"] = layer_rows(opened, file)
    if blamed is not None:
        document["layer_errors"] = {
            **blamed.model_dump(mode="json"),
            "about": f"{blamed.about()} {layer_errors.sentence(blamed)}",
            "keep": layer_errors.keep(manifest, blamed),
        }
    sensitivity = opened.folder / "sensitivity.json"
    if sensitivity.exists():
        document["sensitivity"] = [
            row.model_dump()
            for row in read_document(
                sensitivity, list[LayerSensitivity], "table of sensitivities", "export again"
            )
        ]
    if profile:
        document["profile"] = profiled(opened)
        _time_layers(document)
    if picture is not None:
        drawn = layer_errors.chart(manifest, blamed).svg(alone=True) if layers and blamed else None
        write_text(picture, drawn or cost_picture(document))
    return document


def _of_manifest(artifact: Artifact) -> dict[str, Any]:
    """What the artifact's manifest says, without opening the model file."""
    manifest = artifact.manifest
    return {
        "artifact": str(artifact.folder),
        "name": manifest.name,
        "backend": manifest.backend,
        "precision": manifest.precision,
        "model": manifest.student.model_dump(mode="json"),
        "input": manifest.preprocess.to_dict(),
        "labels": [label.model_dump() for label in manifest.labels],
        "outputs": list(manifest.outputs),
        "calibration": manifest.calibration.model_dump(mode="json"),
        "bytes": {
            "file": manifest.bytes,
            "per_parameter": manifest.bytes / max(1, manifest.student.parameters),
        },
        "delegation": manifest.delegation.model_dump() if manifest.delegation else None,
        "memory": manifest.memory,
        "least_ios": manifest.least_ios,
        "accuracy": manifest.accuracy,
        "parity": [stage.model_dump(mode="json") for stage in manifest.parity],
        "gates": [gate.model_dump() for gate in manifest.gates],
        "notes": list(manifest.notes),
        "provenance": manifest.provenance.model_dump(mode="json"),
    }


def _take_apart(artifact: Artifact, document: dict[str, Any]) -> pte.PteFile | None:
    """Add the bytes and constants of the model file to ``document``, or a note where this machine
    cannot read it; a ``.pte`` is returned as it was read.
    """
    manifest = artifact.manifest
    backend = get(manifest.backend) if manifest.backend in names() else None
    if isinstance(backend, DescribedFile):
        document.update(_of_another_runtime(artifact, backend, document))
    if artifact.model.suffix != ".pte":
        return None
    if importlib.util.find_spec("executorch") is None:
        document["notes"].append(
            "executorch is not installed here, so the file itself was not taken apart: no table"
            " of its bytes and constants, layers as the exporter counted them"
        )
        return None
    file = pte.read(artifact.model)
    document["bytes"]["parts"] = file.byte_table()
    document["constants"] = {
        name: value for name, value in pte.constants(artifact.model).items() if name != "card"
    }
    return file


def _of_another_runtime(
    artifact: Artifact, backend: DescribedFile, document: dict[str, Any]
) -> dict[str, Any]:
    """The bytes and constants of a file of another runtime; a note where the extra is not installed
    here.
    """
    if not backend.readable():
        document["notes"].append(
            f"{backend.package} is not installed here, so the file itself was not taken apart: no"
            " table of its bytes and constants, layers as the exporter counted them; pip install"
            f" 'mobilekd[{backend.extra}]'"
        )
        return {}
    inside = backend.constants(artifact.model)
    return {
        "bytes": {**document["bytes"], "parts": backend.byte_table(artifact.model)},
        "constants": {name: value for name, value in inside.items() if name != "card"},
    }


def layer_rows(artifact: Artifact, file: pte.PteFile | None) -> list[dict[str, Any]]:
    """Convolutions and linear layers in order with multiply-adds and size.

    Counted in the file where its delegate's graph can be read (XNNPACK), bytes included; else as
    the exporter counted its source.
    """
    names_file = artifact.folder / "layers.json"
    source = (
        [
            row.model_dump()
            for row in read_document(names_file, list[LayerCost], "list of layers", "export again")
        ]
        if names_file.exists()
        else []
    )
    if file is None or not file.heavy:
        total = sum(row["macs"] for row in source) or 1
        return [
            {**row, "precision": artifact.manifest.precision, "share": row["macs"] / total}
            for row in source
        ]
    total = sum(node.macs for node in file.heavy) or 1
    return [
        {
            "layer": source[index]["layer"] if len(source) == len(file.heavy) else f"layer {index}",
            "kind": node.kind.removeprefix("XNN"),
            "precision": "int8" if node.quantized else "float",
            "output": list(node.output),
            "macs": node.macs,
            "share": node.macs / total,
            "bytes": (
                len(file.blobs.get(node.weight_key, b"")) + len(file.blobs.get(node.bias_key, b""))
            ),
        }
        for index, node in enumerate(file.heavy)
    ]


def profiled(artifact: Artifact) -> dict[str, Any]:
    """The artifact's operators timed on this host; see ``operator_times``."""
    if artifact.model.suffix != ".pte":
        raise UserError(
            f"{artifact.folder}: --profile needs a .pte; profile Core ML with Xcode's instruments,"
            " ONNX with its Runtime's profiler"
        )
    backend = artifact.manifest.backend
    if backend in names() and not get(backend).processor:
        raise UserError(
            f"{artifact.folder}: --profile times this machine's kernels, and it has none of"
            f" {backend}'s; measure the file on its phone with mobilekd bench"
        )
    return operator_times(artifact.model, artifact.golden().inputs[:1].astype(np.float32))


def operator_times(model: Path, picture: np.ndarray) -> dict[str, Any]:
    """Median microseconds of every operator over ``PROFILED_RUNS`` executions, in order, and by
    category.

    ``picture`` float32 ``[1, 3, H, W]``. ExecuTorch's event tracer counts in whole microseconds
    inside the delegate.
    """
    import torch
    from executorch.devtools import Inspector

    pte.refuse_missing_delegates(model)
    program = pte.runtime().load_program(model, enable_etdump=True)
    forward = program.load_method("forward")
    for _ in range(PROFILED_RUNS):
        forward.execute([torch.from_numpy(picture)])
    with tempfile.TemporaryDirectory() as work, warnings.catch_warnings():
        # it warns that no tensors were dumped, which nobody asked for
        warnings.simplefilter("ignore", UserWarning)
        program.write_etdump_result_to_file(f"{work}/dump", f"{work}/buffer")
        blocks = Inspector(etdump_path=f"{work}/dump").event_blocks
    events = [
        event
        for block in blocks
        if block.name == "Execute"
        for event in block.events
        if event.perf_data
    ]
    operators = [
        {
            "operator": event.name,
            "category": category(event.name),
            "microseconds": 1000 * float(np.median(event.perf_data.raw)),
        }
        for event in events
        if not event.name.startswith(("Method::", "DELEGATE_CALL", "OPERATOR_CALL"))
    ]
    whole = next(
        (
            1000 * float(np.median(event.perf_data.raw))
            for event in events
            if event.name == "Method::execute"
        ),
        0.0,
    )
    by_category: dict[str, float] = {}
    for operator in operators:
        by_category[operator["category"]] = (
            by_category.get(operator["category"], 0.0) + operator["microseconds"]
        )
    return {
        "runs": PROFILED_RUNS,
        "execute_microseconds": whole,
        "by_category": by_category,
        "operators": operators,
    }


def category(operator: str) -> str:
    """What an operator's time is spent on, by XNNPACK's name for it."""
    return next((name for name, starts in CATEGORIES if operator.startswith(starts)), "elementwise")


def _time_layers(document: dict[str, Any]) -> None:
    """XNNPACK runs convolutions and linear layers in the graph's order, so the n-th such event is
    the n-th layer.
    """
    heavy = [
        one
        for one in document["profile"]["operators"]
        if one["category"] in ("convolution", "matrix product")
    ]
    rows = document.get("layers", [])
    if len(heavy) == len(rows):
        for row, event in zip(rows, heavy, strict=True):
            row["microseconds"] = event["microseconds"]


def cost_picture(document: dict[str, Any]) -> str:
    """SVG: one row per layer with its share of multiply-adds, of bytes, and of time where it was
    profiled.
    """
    rows = document.get("layers") or []
    if not rows:
        raise UserError(
            f"{document['artifact']}: no layers to draw; export again, so that layers.json is in it"
        )
    measures = [
        ("multiply-adds", "macs"),
        ("bytes", "bytes") if "bytes" in rows[0] else ("parameters", "parameters"),
    ]
    if "microseconds" in rows[0]:
        measures.append(("time here", "microseconds"))
    chart = Chart(
        f"Cost per layer of {document['name']}, {document['precision']}",
        f"{len(rows)} layers; the costliest by multiply-adds is"
        f" {max(rows, key=lambda row: row['macs'])['layer']}.",
        left=150,
    )
    pitch = 5 + 4 * len(measures)
    chart.height = 60 + pitch * len(rows)
    chart.legend([name for name, _ in measures])
    shares = {key: _shares([row[key] for row in rows]) for _, key in measures}
    x = chart.scale_x(0, max(max(values) for values in shares.values()))
    chart.axis_x(x, "per cent of the whole network")
    for index, row in enumerate(rows):
        top = chart.top + pitch * index + 4
        chart.text(chart.left - 6, top + pitch / 2 + 2, row["layer"], css="end")
        for series, (_, key) in enumerate(measures):
            chart.rectangle(
                chart.left, top + 4 * series, x(shares[key][index]) - chart.left, 3.4, series=series
            )
    return chart.svg(alone=True)


def _shares(values: Sequence[float]) -> list[float]:
    total = sum(values) or 1.0
    return [100 * value / total for value in values]
