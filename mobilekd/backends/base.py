"""What a backend is: one file in this package that ends with ``BACKEND = ...`` and keeps these
promises.

Loading a backend's module loads neither torch nor the backend's own libraries; ``lower`` and
``run`` import what they need.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from mobilekd.formats.chip import Chip
from mobilekd.formats.constants import Constants
from mobilekd.formats.gates import Delegation
from mobilekd.formats.parity_names import StageId

if TYPE_CHECKING:
    import torch
    from torch import fx

#: float32 or uint8 [N, 3, H, W], RGB 0..255 -> the model's outputs, each with N in front:
#: probabilities [N, C] (, cam [N, h, w])
Run = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Lowered:
    """What ``lower`` leaves: the model file and the means to prove it."""

    model_path: Path
    delegation: Delegation | None
    eager_reference: Run  # eager torch in the file's own precision: what the file must equal
    reference: StageId = StageId.EAGER  # the eager stage that `eager_reference` is
    lowered: Run | None = None  # the lowered graph before it is saved, where that can be run
    memory: dict[str, int] | None = None  # bytes: weights, program, planned
    notes: tuple[str, ...] = ()
    # what `eager_reference` runs as a graph, for naming layers
    graph: "Callable[[], fx.GraphModule] | None" = None
    # convolutions and linear layers of the lowered graph, in order
    layers: Callable[[np.ndarray], list[np.ndarray]] | None = None
    # the same of the saved file, where it can be looked into
    saved_layers: Callable[[np.ndarray], list[np.ndarray]] | None = None
    least_ios: int | None = None  # of a Core ML file
    # every convolution and linear layer is expected inside the delegate
    promises_delegation: bool = True
    # convolutions and linear layers that no delegate took, where the exporter knows their names
    outside: tuple[str, ...] = ()
    chip: Chip | None = None  # of a file that is compiled for one chip


@runtime_checkable
class Backend(Protocol):
    """One way to a model file."""

    name: str
    precisions: tuple[str, ...]
    model_file: str
    runtime: str  # what answers for the saved file on this machine; "" where nothing does
    on_device: str  # what runs it on the device that it is for: ExecuTorch (XNNPACK)
    interpreted: bool  # that is an interpreter of ours, so the maker's kernels have still to answer
    processor: bool  # an emulated Arm processor has that runtime too
    # every processor's kernels answer as those of this machine; where they round otherwise, a
    # device may be as far from the golden answers as the file from its eager source
    rounds_alike: bool
    computes_on: str  # CPU, GPU or NPU: what the file's layers run on in a phone
    # the row of the parity table that a Mac fills, where the kernels are Apple's; None elsewhere
    apple: StageId | None
    # chips, where a file is compiled for one, whose simulator is ``runtime``, so that a phone has
    # still to answer; the first is the default
    socs: tuple[str, ...]
    soc: str | None  # the one of ``socs`` that is compiled for

    def refuse_missing(self, precision: str) -> None:
        """Raises ``UserError`` with the remedy where a package that it needs beyond mobilekd's own
        is not installed, or the chip does not compute in that precision.
        """
        ...

    def quantizer(
        self, precision: str, float_layers: frozenset[str], *, qat: bool = False
    ) -> Any | None:
        """The PT2E quantizer that export runs before ``lower``; None where the backend compresses
        by itself or not at all.

        ``float_layers`` are names of the student's modules (``blocks.0.0.conv_dw``) to leave in
        floating point.
        """
        ...

    def weights_in(self, precision: str) -> str | None:
        """``float16`` or ``int8``, where the file holds rounded weights and computes in floating
        point; None elsewhere.
        """
        ...

    def lower(
        self,
        model: "fx.GraphModule",
        example: "torch.Tensor",
        precision: str,
        constants: Constants,
        folder: Path,
    ) -> Lowered:
        """Write ``folder / model_file``.

        ``model`` is the Deployable as ``torch_graph.capture`` gives it: quantised by PT2E where
        ``quantizer`` gave a quantizer, with rounded weights where ``weights_in`` named a format.
        ``example`` is float32 ``[1, 3, H, W]``.
        """
        ...

    def where(self) -> str:
        """What ``run`` runs on, for the parity table: this host, or an interpreter of the saved
        file.
        """
        ...

    def constants(self, model_path: Path) -> Constants:
        """What the saved file says of itself, by the names of ``mobilekd.formats.constants``."""
        ...

    def rewrite(self, model_path: Path, constants: Constants) -> None:
        """Let the saved file say these of itself, the others of its constants and its network
        untouched.
        """
        ...

    def network_hash(self, model_path: Path) -> str:
        """Hex SHA-256 over the saved file's network: all but what it says of itself."""
        ...

    def delegation(self, model_path: Path, heavy_total: int) -> Delegation:
        """Where the saved file's operators are, counted in the file alone; ``heavy_total`` layers
        went in.
        """
        ...

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """The saved file on this host: float32 or uint8 ``[N, 3, H, W]`` -> outputs. Raises
        ``CannotRunHere`` with the reason.
        """
        ...


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: layers this small gain nothing from a second, and wait a hundred times
    longer where cores are busy.

    The answers no longer depend on how many cores there are, either.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def eager_runner(model: "Callable[[torch.Tensor], Any]", batch: int = 16) -> Run:
    """A network as a function of arrays.

    Pixels lie together, which torch's depthwise convolutions run faster; batches are small, so that
    layers pass each other data in the processor's cache. Each batch has a core of its own, so
    answers do not depend on how many cores there are. Threads are told to use one core each, which
    later threads inherit; ``one_thread`` gives the others back.
    """
    import torch

    def one(pixels: np.ndarray) -> Sequence[torch.Tensor]:
        with torch.inference_mode():  # of this thread alone
            answer = model(
                torch.from_numpy(pixels).float().contiguous(memory_format=torch.channels_last)
            )
        return answer if isinstance(answer, (tuple, list)) else (answer,)

    def run(x: np.ndarray) -> list[np.ndarray]:
        batches = [x[start : start + batch] for start in range(0, len(x), batch)]
        cores = max(1, min(len(batches), os.cpu_count() or 1))
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            answers = list(pool.map(one, batches))
        return [
            np.concatenate([answer[i].numpy() for answer in answers])
            for i in range(len(answers[0]))
        ]

    return run
