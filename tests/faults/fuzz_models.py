"""What a fuzzer feeds the readers of model files: whole files with bytes changed, where the
format's own tables are.
"""

import shutil
from pathlib import Path

import numpy as np
from fuzz_inputs import Target, flipped, instrumented


def mil(seeds: Path, work: Path) -> Target:
    with instrumented():
        from mobilekd.graphs.mil import Model
    import torch

    package = Path(shutil.copytree(seeds / "coreml" / "model.mlpackage", work / "model.mlpackage"))
    spec = next(package.rglob("*.mlmodel"))
    files = {path: path.read_bytes() for path in (spec, package / "Manifest.json")}

    def target(data: bytes) -> object:
        for path, raw in files.items():
            path.write_bytes(raw)
        path = spec if data[:1] > b"\x20" else package / "Manifest.json"
        path.write_bytes(flipped(files[path], data[1:]))
        model = Model(package)
        return model.answers(torch.zeros(1, 3, *model.size))

    return target


def pte(seeds: Path, work: Path) -> Target:
    with instrumented():
        from mobilekd.graphs import pte as reader
    model, path = seeds / "artifact" / "model.pte", work / "odd.pte"
    raw = model.read_bytes()
    reader.read(model)  # loads ExecuTorch, which is not to count as the first input's time

    def target(data: bytes) -> object:
        # weights follow the program: its tables are where odd bytes are read as something
        path.write_bytes(flipped(raw[:16384], data[1:]) + raw[16384:])
        file = reader.read(path)
        return file.byte_table(), file.delegated(), file.left_in_float()

    return target


def litert(seeds: Path, work: Path) -> Target:
    """A file is looked into: its metadata, layers and bytes."""
    with instrumented():
        from mobilekd.graphs import litert_file as reader
    raw = (Path(__file__).parent.parent / "fixtures" / "small-int8.tflite").read_bytes()
    path = work / "odd.tflite"

    def target(data: bytes) -> object:
        path.write_bytes(flipped(raw, data))
        list(reader.heavy_operators(reader.read(path)))
        return reader.byte_table(path), reader.constants(path), reader.network_hash(path)

    return target


def onnx(seeds: Path, work: Path) -> Target:
    """A file is looked into: its metadata, layers and bytes."""
    with instrumented():
        from mobilekd.graphs import onnx_file as reader
    model, path = seeds / "onnx" / "model.onnx", work / "odd.onnx"
    whole = reader.read(model)
    for tensor in whole.graph.initializer:  # weights would take most of the odd bytes
        del tensor.dims[:]
        tensor.raw_data = tensor.raw_data[:8]
    raw = whole.SerializeToString()

    def target(data: bytes) -> object:
        path.write_bytes(flipped(raw, data))
        reader.delegation(path, 1)
        return reader.byte_table(path), reader.constants(path), reader.network_hash(path)

    return target


def vulkan(seeds: Path, work: Path) -> Target:
    """A file is read, and answers by the interpreter of its delegate."""
    with instrumented():
        from mobilekd.graphs import program_interpreter, vulkan_interpreter
        from mobilekd.graphs import pte as reader
    model, path = seeds / "vulkan" / "model.pte", work / "odd.pte"
    raw = model.read_bytes()
    file = reader.read(model)
    graph = raw.index(file.delegates[0].data)
    (place,) = file.forward.inputs
    picture = np.zeros([1, *file.forward.values[place].val.sizes[1:]], np.float32)
    interpreters = {"VulkanBackend": vulkan_interpreter.Interpreter}

    def target(data: bytes) -> object:
        # the delegate's graph, or the program around it
        start, end = (graph, len(file.delegates[0].data)) if data[:1] > b"@" else (0, 16384)
        odd = flipped(raw[start : start + end], data[1:])
        path.write_bytes(raw[:start] + odd + raw[start + len(odd) :])
        odd_file = reader.read(path)
        odd_file.left_in_float()
        return program_interpreter.interpret(path, picture, interpreters)

    return target
