"""Host latency against the same network in ONNX Runtime (and LiteRT where it is installed), interleaved, 1 and 2 threads, fp32 and int8.

    pip install --no-deps --target .peers onnx onnxscript onnx-ir onnxruntime ml_dtypes flatbuffers
    PYTHONPATH=.peers python benchmarks/lowering/peers.py benchmarks/results/peers.json [--smoke]

Every thread count has processes of its own; inside one process all engines answer the same photograph in turn, so a
slow second slows all of them. Before the clock starts, the engines' answers are compared with eager's. Ratios are of
medians, ExecuTorch divided by the peer, with a 95% interval. ``operators`` says where the time of each goes, from a
process of its own on one thread: ETDump's categories beside ONNX Runtime's profile by operator.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.files import write_json
from mobilekd.progress import say
from mobilekd.provenance import commit, utc_now, versions
from mobilekd.stats import median_ratio

#: name: student, width, pixels
NETWORKS = {
    "mobilenetv2-0.35 at 224": ("mobilenetv2", 0.35, 224),
    "mobilenetv2-0.35 at 160": ("mobilenetv2", 0.35, 160),
    "mobilenetv2-1.0 at 224": ("mobilenetv2", 1.0, 224),
    "mobilenetv3-small at 224": ("mobilenetv3_small", 1.0, 224),
}
SMOKE = {"mobilenetv2-0.1 at 64": ("mobilenetv2", 0.1, 64)}
CALIBRATION = 32

Engine = Callable[[np.ndarray], np.ndarray]


def network(model: str, width: float, pixels: int) -> Any:
    """The deployed network with random weights and filled batch norms, the same in every process."""
    import torch

    from mobilekd.artifact import Calibration
    from mobilekd.preprocess import Preprocess
    from mobilekd.recipe import StudentTable
    from mobilekd.students import Deployable, build

    torch.manual_seed(0)
    student = build(StudentTable(model=model, width=width), 7)
    with torch.no_grad():
        for _ in range(10):
            student.train()(2 * torch.rand(4, 3, pixels, pixels) - 1)
    return Deployable(student.eval(), Preprocess(width=pixels, height=pixels), Calibration()).eval()


def photographs(pixels: int) -> np.ndarray:
    """uint8 ``[CALIBRATION, 3, pixels, pixels]``: drawn, not noise, since quantisation ranges depend on them."""
    from mobilekd.golden import photograph

    return np.stack([np.asarray(photograph(seed, pixels, pixels)).transpose(2, 0, 1) for seed in range(CALIBRATION)])


def executorch_engine(model: Any, precision: str, pictures: np.ndarray, threads: int, folder: Path) -> tuple[Engine, Path]:
    """Our own way down; the thread pool is set before the program is loaded."""
    import torch
    from executorch.extension.pybindings import portable_lib

    from mobilekd import graphs, quantize
    from mobilekd.backends import get

    backend, example = get("xnnpack"), torch.zeros(1, *pictures.shape[1:])
    quantizer = backend.quantizer(precision, frozenset())
    if quantizer is not None:
        prepared = quantize.prepare(graphs.capture(model, example), quantizer, "minmax")
        quantize.calibrate(prepared, pictures)
        model = quantize.convert(prepared)
    path = backend.lower(model, example, None, precision, {}, folder).model_path
    portable_lib._unsafe_reset_threadpool(threads)
    loaded = portable_lib._load_for_executorch(str(path))
    return lambda x: np.array(loaded.forward([torch.from_numpy(x)])[0]), path


def onnxruntime_engine(model: Any, precision: str, pictures: np.ndarray, threads: int, folder: Path) -> tuple[Engine, Path]:
    """ONNX from the same module; int8 by its own static quantisation (QDQ, per channel)."""
    import onnxruntime
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = folder / "model.onnx"
    torch.onnx.export(model, (torch.zeros(1, *pictures.shape[1:]),), str(path), input_names=["x"], dynamo=True, external_data=False)
    if precision == "int8":

        class Reader(CalibrationDataReader):
            def __init__(self) -> None:
                self.left = iter(pictures)

            def get_next(self) -> dict[str, np.ndarray] | None:
                one = next(self.left, None)
                return None if one is None else {"x": one[None].astype(np.float32)}

        quant_pre_process(str(path), str(folder / "clean.onnx"))
        path = folder / "int8.onnx"
        quantize_static(
            str(folder / "clean.onnx"),
            str(path),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # without VNNI, x86 adds pairs of products in 16 bits; reduced range keeps them from overflowing
            reduce_range=True,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0], path


def litert_engine(model: Any, precision: str, pictures: np.ndarray, threads: int, folder: Path) -> tuple[Engine, Path]:
    """LiteRT through litert-torch; see the issue's facts for how it is installed beside this torch."""
    import litert_torch
    import torch
    from ai_edge_litert.interpreter import Interpreter

    if precision != "fp32":
        raise ImportError("int8 through litert-torch asks for a torch below ours")
    path = folder / "model.tflite"
    litert_torch.convert(model, (torch.zeros(1, *pictures.shape[1:]),)).export(str(path))
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    [asked], [given] = interpreter.get_input_details(), interpreter.get_output_details()

    def run(x: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(asked["index"], x)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(given["index"]))

    return run, path


ENGINES = {"executorch": executorch_engine, "onnxruntime": onnxruntime_engine, "litert": litert_engine}


def one_process(name: str, precision: str, threads: int, rounds: int) -> dict[str, Any]:
    """Nanoseconds of every round by engine; every engine answers once per round."""
    import torch

    torch.set_num_threads(threads)
    model_name, width, pixels = {**NETWORKS, **SMOKE}[name]
    model, pictures = network(model_name, width, pixels), photographs(pixels)
    x = pictures[:1].astype(np.float32)
    with torch.inference_mode():
        wanted = model(torch.from_numpy(x)).numpy()
    engines: dict[str, Engine] = {}
    found: dict[str, Any] = {"bytes": {}, "max_error": {}, "left_out": {}}
    with tempfile.TemporaryDirectory() as work:
        for engine, make in ENGINES.items():
            folder = Path(work) / engine
            folder.mkdir()
            try:
                engines[engine], path = make(model, precision, pictures, threads, folder)
            except ImportError as error:
                found["left_out"][engine] = str(error)
                continue
            found["bytes"][engine] = path.stat().st_size
            found["max_error"][engine] = float(np.abs(engines[engine](x) - wanted).max())
        times: dict[str, list[int]] = {engine: [] for engine in engines}
        for number in range(rounds + 10):
            for engine, run in engines.items():
                start = time.perf_counter_ns()
                run(x)
                if number >= 10:
                    times[engine].append(time.perf_counter_ns() - start)
    return {**found, "nanoseconds": times}


def operators(name: str, precision: str) -> dict[str, dict[str, float]]:
    """Microseconds of one inference by kind of operator, for ExecuTorch and ONNX Runtime, one thread."""
    import onnxruntime

    from mobilekd.inspect import PROFILED_RUNS, operator_times

    model_name, width, pixels = {**NETWORKS, **SMOKE}[name]
    model, pictures = network(model_name, width, pixels), photographs(pixels)
    x = pictures[:1].astype(np.float32)
    with tempfile.TemporaryDirectory() as work:
        ours, theirs = Path(work) / "ours", Path(work) / "theirs"
        ours.mkdir()
        theirs.mkdir()
        _, path = executorch_engine(model, precision, pictures, 1, ours)
        found = {"executorch": operator_times(path, x)["by_category"]}
        _, path = onnxruntime_engine(model, precision, pictures, 1, theirs)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.enable_profiling, options.profile_file_prefix = 1, True, f"{work}/profile"
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for _ in range(PROFILED_RUNS):
            session.run(None, {"x": x})
        events = json.loads(Path(session.end_profiling()).read_text())
    times: dict[str, float] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            kind = event["args"]["op_name"]
            times[kind] = times.get(kind, 0.0) + event["dur"] / PROFILED_RUNS
    return {**found, "onnxruntime": dict(sorted(times.items(), key=lambda item: -item[1]))}


def child(*arguments: str) -> dict[str, Any]:
    """A fresh process of this script; its last line is JSON."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    if sys.argv[1:2] == ["--operators"]:
        print(json.dumps(operators(*sys.argv[2:])))
        return
    if sys.argv[1:2] == ["--one"]:
        name, precision, threads, rounds = sys.argv[2:]
        print(json.dumps(one_process(name, precision, int(threads), int(rounds))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.precisions, arguments.threads, arguments.processes, arguments.rounds = ["fp32"], [1], 1, 10
    rows = []
    for name in SMOKE if arguments.smoke else arguments.only:
        for precision in arguments.precisions:
            spent = child("--operators", name, precision)
            for threads in arguments.threads:
                runs = [child("--one", name, precision, str(threads), str(arguments.rounds)) for _ in range(arguments.processes)]
                times = {engine: [np.array(run["nanoseconds"][engine]) for run in runs] for engine in runs[0]["nanoseconds"]}
                row = {
                    "network": name,
                    "precision": precision,
                    "threads": threads,
                    "milliseconds": {engine: float(np.median(np.concatenate(samples))) / 1e6 for engine, samples in times.items()},
                    "ratio": {
                        peer: median_ratio(times["executorch"], samples).model_dump()
                        for peer, samples in times.items()
                        if peer != "executorch"
                    },
                    "operators": spent,
                    **{key: runs[0][key] for key in ("bytes", "max_error", "left_out")},
                    "nanoseconds": {engine: [samples.tolist() for samples in series] for engine, series in times.items()},
                }
                rows.append(row)
                said = ", ".join(f"{peer} {ratio['value']:.2f}" for peer, ratio in row["ratio"].items())
                say(f"{name}, {precision}, {threads} thread(s): ExecuTorch / {said}")
    write_json(
        arguments.output,
        {
            "what": "ExecuTorch's latency divided by its peers', same network, interleaved in one process",
            "command": f"python {' '.join(sys.argv)}",
            "utc": utc_now(),
            "commit": commit(),
            "versions": versions(),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
