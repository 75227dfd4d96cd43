"""One engine in a process of its own: convert a network to its file, answer and time on demand, or
profile by operator.

    python engines.py convert|serve|profile ENGINE NETWORK PRECISION THREADS FOLDER

``serve`` prints a line of JSON when it is ready, then one for each line ``N`` on standard input:
nanoseconds of N inferences after one that is not counted, since another engine has just had the
caches.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from networks import network

Engine = Callable[[np.ndarray], np.ndarray]
FILES = {"executorch": "model.pte", "onnxruntime": "model.onnx", "litert": "model.tflite"}
#: fp32 answers further from eager's than this are another network's.
MOST_ERROR = 1e-3
PROFILED_RUNS = 40

#: ONNX Runtime's operators by what their time is spent on; what is not here is elementwise.
KINDS = {
    "convolution": ("Conv", "FusedConv", "QLinearConv", "NhwcFusedConv"),
    "matrix product": (
        "Gemm",
        "FusedGemm",
        "MatMul",
        "QGemm",
        "QLinearMatMul",
        "DynamicQuantizeMatMul",
    ),
    "data movement": (
        "Transpose",
        "Reshape",
        "Flatten",
        "Concat",
        "Pad",
        "QuantizeLinear",
        "DequantizeLinear",
        "ReorderInput",
        "ReorderOutput",
    ),
    "reduction": (
        "GlobalAveragePool",
        "QLinearGlobalAveragePool",
        "ReduceMean",
        "ReduceSum",
        "Softmax",
        "QLinearSoftmax",
    ),
}


# --- conversion
# ------------------------------------------------------------
def convert_executorch(model: Any, precision: str, pictures: np.ndarray, path: Path) -> None:
    """Our own way down, without the corrections of ``export``: they change numbers, not time."""
    import torch

    from mobilekd.backends import get
    from mobilekd.graphs import torch_graph
    from mobilekd.lowering import quantize

    backend, example = get("xnnpack"), torch.zeros(1, *pictures.shape[1:])
    graph, quantizer = (
        torch_graph.capture(model, example),
        backend.quantizer(precision, frozenset()),
    )
    if quantizer is not None:
        torch_graph.fold_calibration(graph)
        prepared = quantize.prepare(graph, quantizer, "minmax")
        with torch.no_grad():
            for one in pictures:
                prepared(torch.from_numpy(one[None]))
        graph = quantize.convert(prepared)
    backend.lower(graph, example, precision, {}, path.parent)


def convert_onnxruntime(model: Any, precision: str, pictures: np.ndarray, path: Path) -> None:
    """ONNX from the same module; int8 by its own static quantisation (QDQ, per channel)."""
    import torch
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    exact = path.with_name("fp32.onnx") if precision == "int8" else path
    torch.onnx.export(
        model,
        (torch.zeros(1, *pictures.shape[1:]),),
        str(exact),
        input_names=["x"],
        dynamo=True,
        external_data=False,
    )
    if precision != "int8":
        return

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(pictures)

        def get_next(self) -> dict[str, np.ndarray] | None:
            one = next(self.left, None)
            return None if one is None else {"x": one[None]}

    clean = path.with_name("clean.onnx")
    quant_pre_process(str(exact), str(clean))
    quantize_static(
        str(clean),
        str(path),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # without VNNI, x86 adds pairs of products in 16 bits; reduced range keeps them from
        # overflowing
        reduce_range=True,
    )


def convert_litert(model: Any, precision: str, pictures: np.ndarray, path: Path) -> None:
    """litert-torch from the same module; int8 by Google's own static quantisation of the file
    (weights and activations).
    """
    import litert_torch
    import torch

    exact = path.with_name("fp32.tflite") if precision == "int8" else path
    litert_torch.convert(model, (torch.zeros(1, *pictures.shape[1:]),)).export(str(exact))
    if precision != "int8":
        return
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    [(signature, ends)] = Interpreter(str(exact)).get_signature_list().items()
    [name] = ends["inputs"]
    work = quantizer.Quantizer(str(exact), recipe.static_wi8_ai8())
    seen = work.calibrate({signature: [{name: one[None]} for one in pictures]})
    work.quantize(seen).export_model(str(path))


# --- answers
# ------------------------------------------------------------
def open_executorch(path: Path, threads: int) -> Engine:
    """The thread pool is set before the program is loaded."""
    import torch
    from executorch.extension.pybindings import portable_lib

    portable_lib._unsafe_reset_threadpool(threads)
    loaded = portable_lib._load_for_executorch(str(path))
    return lambda x: np.array(loaded.forward([torch.from_numpy(x)])[0])


def open_onnxruntime(path: Path, threads: int) -> Engine:
    """Threads wait without spinning, or they would slow the engine whose turn comes next."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: np.asarray(session.run(None, {"x": x})[0])


def open_litert(path: Path, threads: int) -> Engine:
    """An int8 file takes and gives int8; the conversions around it are counted, as ours are inside
    the file.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    [asked], [given] = interpreter.get_input_details(), interpreter.get_output_details()

    def run(x: np.ndarray) -> np.ndarray:
        if asked["dtype"] == np.int8:
            scale, zero = asked["quantization"]
            x = np.clip(np.rint(x * np.float32(1 / scale)) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(asked["index"], x)
        interpreter.invoke()
        answer = np.asarray(interpreter.get_tensor(given["index"]))
        if answer.dtype == np.int8:
            scale, zero = given["quantization"]
            answer = (answer.astype(np.float32) - zero) * np.float32(scale)
        return answer

    return run


CONVERT = {
    "executorch": convert_executorch,
    "onnxruntime": convert_onnxruntime,
    "litert": convert_litert,
}
OPEN: dict[str, Callable[[Path, int], Engine]] = {
    "executorch": open_executorch,
    "onnxruntime": open_onnxruntime,
    "litert": open_litert,
}


def convert(engine: str, name: str, precision: str, folder: Path) -> dict[str, Any]:
    """Write the engine's file; its size, and how far its answers are from eager's."""
    import torch

    model, pictures = network(name)
    path = folder / FILES[engine]
    CONVERT[engine](model, precision, pictures, path)
    np.save(folder / "picture.npy", pictures[:1])
    with torch.inference_mode():
        wanted = model(torch.from_numpy(pictures[:1])).numpy()
    error = float(
        np.abs(OPEN[engine](path, 1)(pictures[:1]) - wanted).max() / max(1.0, np.abs(wanted).max())
    )
    if precision == "fp32" and not error <= MOST_ERROR:
        raise RuntimeError(f"its answers lie {error:.2g} from eager's, so it is another network")
    return {"bytes": path.stat().st_size, "error": error}


def serve(engine: str, folder: Path, threads: int) -> None:
    """See the module."""
    run, x = OPEN[engine](folder / FILES[engine], threads), np.load(folder / "picture.npy")
    for _ in range(10):
        run(x)
    print(json.dumps({"ready": engine}), flush=True)
    for line in sys.stdin:
        run(x)
        spent = []
        for _ in range(int(line)):
            start = time.perf_counter_ns()
            run(x)
            spent.append(time.perf_counter_ns() - start)
        print(json.dumps(spent), flush=True)


# --- operators
# ------------------------------------------------------------
def profile(engine: str, folder: Path) -> dict[str, Any]:
    """Microseconds of one inference on one thread, by kind and by operator, from the engine's own
    profiler.
    """
    path, x = folder / FILES[engine], np.load(folder / "picture.npy")
    if engine == "executorch":
        from executorch.extension.pybindings import portable_lib

        from mobilekd.commands.inspect import operator_times

        portable_lib._unsafe_reset_threadpool(1)
        found = operator_times(path, x)
        by_operator: dict[str, float] = {}
        for one in found["operators"]:
            kind = one["operator"].partition(" #")[0]
            by_operator[kind] = by_operator.get(kind, 0.0) + one["microseconds"]
        return {"by_category": found["by_category"], "by_operator": _sorted(by_operator)}
    if engine == "onnxruntime":
        return _profile_onnxruntime(path, x, folder)
    raise RuntimeError(
        "its Python wheel has no profiler; the chains of one operator (--chains) stand in for it"
    )


def _profile_onnxruntime(path: Path, x: np.ndarray, folder: Path) -> dict[str, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling, options.profile_file_prefix = (
        1,
        True,
        str(folder / "profile"),
    )
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for _ in range(PROFILED_RUNS):
        session.run(None, {"x": x})
    by_operator: dict[str, float] = {}
    by_category: dict[str, float] = {}
    for event in json.loads(Path(session.end_profiling()).read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name, spent = event["args"]["op_name"], event["dur"] / PROFILED_RUNS
            kind = next((kind for kind, names in KINDS.items() if name in names), "elementwise")
            by_operator[name] = by_operator.get(name, 0.0) + spent
            by_category[kind] = by_category.get(kind, 0.0) + spent
    return {"by_category": by_category, "by_operator": _sorted(by_operator)}


def _sorted(times: dict[str, float]) -> dict[str, float]:
    return dict(sorted(times.items(), key=lambda item: -item[1]))


def main() -> None:
    task, engine, name, precision, threads, folder = sys.argv[1:]
    if task == "serve":
        serve(engine, Path(folder), int(threads))
        return
    found = (
        convert(engine, name, precision, Path(folder))
        if task == "convert"
        else profile(engine, Path(folder))
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
