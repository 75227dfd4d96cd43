"""Core AI: an ``.aimodel`` for the framework that follows Core ML on Apple's systems. Its
converter (coreai-torch) is a beta.

Core AI's own runtime, which coreai-core brings for Linux and macOS, answers for the saved file; off
Apple's systems it computes on the CPU, so Apple's processors stay unproven.
"""

import copy
import importlib.util
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekd.backends.base import Lowered, eager_runner
from mobilekd.backends.shared import executorch_file
from mobilekd.backends.shared.coreml_file import REFERENCE, AppleFile, account
from mobilekd.backends.shared.read_file import ReadFile
from mobilekd.formats.constants import Constants
from mobilekd.formats.gates import Delegation
from mobilekd.formats.parity_names import StageId
from mobilekd.graphs import coreai_file
from mobilekd.support.errors import UserError
from mobilekd.support.files import check_room
from mobilekd.support.process import printable

if TYPE_CHECKING:
    import torch
    from torch import fx

#: What the extra ``coreai`` brings.
PACKAGES = ("coreai_torch", "coreai")
INPUT = "image"
#: Of iOS and of macOS, which are numbered alike.
LEAST_IOS = 27
NOTE = (
    "Apple's processors are unverified until ios_export/check_on_mac.py has run on a Mac with"
    " macOS 27"
)


class CoreAI(AppleFile, ReadFile):
    """An ``.aimodel``: fp32, or weights and arithmetic in fp16."""

    name = "coreai"
    reader = coreai_file
    precisions = ("fp16", "fp32")
    model_file = "model.aimodel"
    runtime = "Core AI's runtime"
    on_device = "Core AI"
    interpreted = False
    apple: StageId | None = StageId.CORE_AI

    def refuse_missing(self, precision: str) -> None:
        """The converter is an extra's."""
        if any(importlib.util.find_spec(package) is None for package in PACKAGES):
            raise UserError(
                "the package coreai-torch is not installed; pip install 'mobilekd[coreai]'"
            )

    def lower(
        self,
        model: "fx.GraphModule",
        example: "torch.Tensor",
        precision: str,
        constants: Constants,
        folder: Path,
    ) -> Lowered:
        """Convert, describe, save; the saved program is what is read and run from here on."""
        from mobilekd.graphs import coreai_program

        path = folder / self.model_file
        with coreai_file.quiet():
            heavy = _convert(model, example, precision, constants, path)
        coreai_file.rewrite(path, constants)
        program = (path / coreai_file.PROGRAM).stat().st_size
        whole = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return Lowered(
            model_path=path,
            delegation=self.delegation(path, heavy),
            eager_reference=eager_runner(model),
            reference=REFERENCE[precision],
            memory={"weights and program": program, "metadata": whole - program},
            notes=(_made_by(), f"least iOS {LEAST_IOS}", NOTE),
            graph=lambda: model,
            saved_layers=lambda x: coreai_program.Program.read(path).layers(x),
            least_ios=LEAST_IOS,
        )

    def where(self) -> str:
        """What :meth:`run` runs on, for the parity table."""
        system = platform.system()
        unverified = "" if system == "Darwin" else " (Apple's processors unverified)"
        return f"Core AI's runtime on {system}, {platform.machine()}{unverified}"

    def delegation(self, model_path: Path, heavy_total: int) -> Delegation:
        """Counted in the saved program."""
        from mobilekd.graphs import coreai_program

        return account(coreai_program.Program.read(model_path), heavy_total)


def _made_by() -> str:
    versions = [f"{each} {metadata.version(each)}" for each in ("coreai-torch", "coreai-core")]
    return f"made and proved with {', '.join(versions)}"


def _convert(
    model: "fx.GraphModule",
    example: "torch.Tensor",
    precision: str,
    constants: Constants,
    path: Path,
) -> int:
    """Write ``path`` and return how many heavy operators went in.

    Apple's writer ends the whole process where the disk is full, so the room is looked at before.
    """
    import coreai_torch
    import torch

    network = _in_half(model) if precision == "fp16" else model
    exported = torch.export.export(network, (example,))
    heavy = sum(
        count
        for name, count in executorch_file.operators(exported.graph).items()
        if name in executorch_file.HEAVY
    )
    exported = exported.run_decompositions(coreai_torch.get_decomp_table())
    names = constants["outputs"]
    assert isinstance(names, list)
    check_room(path.parent, coreai_file.room(4 * sum(one.numel() for one in _tensors(model))))
    try:
        converter = coreai_torch.TorchConverter().add_exported_program(
            exported, input_names=[INPUT], output_names=[str(name) for name in names]
        )
        converter.to_coreai().save_asset(path)
    except (NotImplementedError, ValueError) as error:  # coreai-torch's words for "not known to me"
        raise UserError(
            f"--backend coreai: coreai-torch cannot convert this student ({printable(str(error))});"
            " choose another student, or --backend coreml"
        ) from None
    return heavy


def _tensors(model: "torch.nn.Module") -> "list[torch.Tensor]":
    return [*model.parameters(), *model.buffers()]


def _in_half(model: "fx.GraphModule") -> "torch.nn.Module":
    """The network in float16 between a float32 input and float32 outputs."""
    import torch

    half = copy.deepcopy(model).half()

    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = half

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            answers = self.network(x.half())
            parts = answers if isinstance(answers, (tuple, list)) else (answers,)
            return tuple(part.float() for part in parts)

    return Half()


BACKEND = CoreAI()
