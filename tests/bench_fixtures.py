"""A tiny artifact, whole and true, made in seconds: a network with XNNPACK's fp32 or int8 kernels and its golden set."""

import json
from pathlib import Path

import numpy as np

from mobilekd.artifact import Calibration, GoldenIndex, Label, Manifest, Provenance, Student, hashes, write_golden
from mobilekd.provenance import versions

SIZE, CLASSES, PICTURES = 32, 7, 6


def tiny_artifact(folder: Path, precision: str = "fp32", name: str = "tiny") -> Path:
    """Export into ``folder``; float32 [1, 3, 32, 32] of 0..255 -> 7 probabilities."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    from executorch.exir import to_edge_transform_and_lower
    from executorch.extension.pybindings.portable_lib import _load_for_executorch
    from torch import nn
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            self.body = nn.Sequential(*layers, nn.Linear(32, CLASSES))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.softmax(8 * self.body((x - 127.5) / 64), 1)

    torch.manual_seed(0)
    inputs = np.random.default_rng(0).integers(0, 256, (PICTURES, 3, SIZE, SIZE), dtype=np.uint8)
    inputs = (inputs * np.linspace(0.2, 1, PICTURES)[:, None, None, None]).astype(np.uint8)  # unlike each other
    example = (torch.from_numpy(inputs[:1].astype(np.float32)),)
    program = torch.export.export(Tiny().eval(), example)
    if precision == "int8":
        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        prepared = prepare_pt2e(program.module(), quantizer)
        for picture in inputs:
            prepared(torch.from_numpy(picture[None].astype(np.float32)))
        program = torch.export.export(convert_pt2e(prepared), example)
    folder.mkdir(parents=True)
    (folder / "model.pte").write_bytes(to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().buffer)
    loaded = _load_for_executorch(str(folder / "model.pte"))
    answers = np.concatenate([loaded.forward([torch.from_numpy(picture[None].astype(np.float32))])[0].numpy() for picture in inputs])
    index = GoldenIndex(count=PICTURES, height=SIZE, width=SIZE, classes=CLASSES, images=(), max_error=1e-4)
    write_golden(folder, index, inputs, answers, None)
    write_manifest(folder, name, precision)
    return folder


def write_manifest(folder: Path, name: str, precision: str) -> None:
    """A manifest true to the folder's files."""
    files = hashes(folder)
    manifest = Manifest(
        name=name,
        backend="xnnpack",
        precision=precision,
        model_file="model.pte",
        files=files,
        bytes=(folder / "model.pte").stat().st_size,
        student=Student(model="tiny", parameters=5319, macs=0),
        preprocess={},
        labels=tuple(Label(key=f"c{i}", text=f"class {i}") for i in range(CLASSES)),
        calibration=Calibration(),
        provenance=Provenance(
            run="tiny", recipe={}, recipe_hash="", data_hash="", split_hash="", split_by="lesion", created_utc="", versions=versions()
        ),
    )
    (folder / "manifest.json").write_text(json.dumps(manifest.model_dump(mode="json")), encoding="utf-8")


def spoil_answers(folder: Path, name: str = "tiny", precision: str = "fp32") -> None:
    """Change the golden answers, so that every device answers wrongly."""
    file = folder / "golden" / "probabilities.f32"
    answers = np.fromfile(file, "<f4").reshape(PICTURES, CLASSES)
    answers[2] = np.roll(answers[2], 1)
    answers.tofile(file)
    (folder / "manifest.json").unlink()
    write_manifest(folder, name, precision)
