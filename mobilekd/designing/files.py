"""Networks of random weights as files, and their latencies on this machine, interleaved.

Latency hangs on shapes and not on weights, so nothing is trained for it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mobilekd.backends import get
from mobilekd.formats import golden
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.document import Document
from mobilekd.formats.preprocess import Preprocess
from mobilekd.graphs import torch_graph
from mobilekd.lowering import quantize
from mobilekd.runners import Setting, host
from mobilekd.students import Deployable, deployed
from mobilekd.support.progress import track

#: The backend whose files are timed, and its precisions here.
BACKEND, PRECISIONS = "xnnpack", ("fp32", "int8")
#: Drawn photographs that fill batch norms and set int8's ranges.
DRAWN = 8
#: Fresh processes for each file, and inferences that each of them times.
ROUNDS, SAMPLES = 6, 60
#: Above this spread of a file's processes, something else was at work on the machine.
SPREAD = 0.1


class Latency(Document):
    """What the processes on one file took: the median of each, in nanoseconds."""

    medians_ns: tuple[float, ...]

    @property
    def fastest_ms(self) -> float:
        """Of the fastest process: whatever else runs on the machine only adds to it."""
        return min(self.medians_ns) / 1e6

    @property
    def median_ms(self) -> float:
        """Of the middle process."""
        return float(np.median(self.medians_ns)) / 1e6

    @property
    def doubt(self) -> str:
        """Why the figure may be another on a quiet machine; empty where processes agree."""
        spread = self.median_ms / self.fastest_ms - 1
        if spread <= SPREAD:
            return ""
        return f"half of its processes took {100 * spread:.0f}% longer than the fastest or more"


def lower(network: nn.Module, preprocess: Preprocess, precision: str, folder: Path) -> Path:
    """The network of random weights as a ``.pte`` in ``folder``, as an export makes it:
    normalisation and softmax inside. Returns the file; its picture lies beside it.
    """
    backend, photographs = get(BACKEND), _photographs(preprocess)
    _fill(network, preprocess, photographs)
    example = torch.zeros(1, 3, preprocess.height, preprocess.width)
    model = Deployable(deployed(network.eval()), preprocess, Calibration()).eval()
    graph = torch_graph.capture(model, example)
    quantizer = backend.quantizer(precision, frozenset())
    if quantizer is not None:
        torch_graph.fold_calibration(graph)
        prepared = quantize.prepare(graph, quantizer, "minmax")
        quantize.calibrate(prepared, photographs)
        graph = quantize.convert(prepared)
    folder.mkdir()
    photographs[:1].tofile(folder / "picture.u8")
    return backend.lower(graph, example, precision, {}, folder).model_path


def measure(files: Mapping[str, Path], threads: int, what: str) -> dict[str, Latency]:
    """Latencies of files that :func:`lower` made, by name, on ``threads`` threads. Every round is a
    fresh process on each file, every second round backwards, so that a slow minute slows all alike.
    """
    setting = Setting(threads=threads, samples=SAMPLES)
    names = list(files)
    visits = [name for number in range(ROUNDS) for name in names[:: -1 if number % 2 else 1]]
    medians: dict[str, list[float]] = {name: [] for name in names}
    for name in track(visits, what):
        read = host.measured(files[name], files[name].parent / "picture.u8", setting)
        assert read.series is not None  # it has no sustained part
        medians[name].append(float(np.median(read.series.samples_ns)))
    return {name: Latency(medians_ns=tuple(found)) for name, found in medians.items()}


def _fill(network: nn.Module, preprocess: Preprocess, photographs: np.ndarray) -> None:
    """Batch norms with statistics, so that nothing is denormal."""
    x = (torch.from_numpy(photographs).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        for _ in range(4):
            network.train()(x)


def _photographs(preprocess: Preprocess) -> np.ndarray:
    """uint8 ``[DRAWN, 3, H, W]``."""
    drawn: Sequence[np.ndarray] = [
        np.asarray(golden.photograph(seed, preprocess.width, preprocess.height))
        for seed in range(DRAWN)
    ]
    return np.ascontiguousarray(np.stack(drawn).transpose(0, 3, 1, 2))
