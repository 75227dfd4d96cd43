"""Backends, found by name: ``mobilekd/backends/<name>.py`` holds ``BACKEND``. A new backend is one
new file.

Files that start with ``_`` are shared by several backends. Never imports inference, lowering or
training: a backend lowers one graph and runs one file.
"""

import copy
from importlib import import_module
from pathlib import Path

from mobilekd.backends.base import Backend, Lowered
from mobilekd.support.errors import UserError
from mobilekd.support.words import names_by_file, unknown

__all__ = ["Backend", "Lowered", "for_soc", "get", "names"]


#: What people call a backend by its phone, file or maker, and what it is called here.
MEANT = {
    **dict.fromkeys(
        ("ios", "iphone", "ipad", "apple", "core-ml", "mlmodel", "mlpackage"), "coreml"
    ),
    **dict.fromkeys(("core-ai", "aimodel"), "coreai"),
    **dict.fromkeys(("android", "executorch", "pte", "cpu", "xnn"), "xnnpack"),
    **dict.fromkeys(("qualcomm", "snapdragon", "hexagon", "htp", "npu", "qairt"), "qnn"),
    **dict.fromkeys(("tflite", "tf-lite", "tensorflow", "tensorflow-lite"), "litert"),
    "torchscript": "xnnpack for Android, coreml for an iPhone",
    **dict.fromkeys(("onnxruntime", "onnx-runtime", "ort"), "onnx"),
}


def names() -> list[str]:
    """Every backend's name, from the files of this package alone; files that start with ``_`` are
    helpers.
    """
    return names_by_file(Path(__file__).parent)


def get(name: str) -> Backend:
    """The backend of that name."""
    if name not in names() and (meant := MEANT.get(name.casefold())):
        raise UserError(
            f"backend {name}: unknown; did you mean {meant}? known: {', '.join(names())}"
        )
    if name not in names():
        raise UserError(unknown(f"backend {name}", name, names()))
    backend: Backend = import_module(f"mobilekd.backends.{name.replace('-', '_')}").BACKEND
    return backend


def for_soc(backend: Backend, soc: str | None) -> Backend:
    """``backend`` for another chip than its default, by the name of ``ro.soc.model``; None changes
    nothing.
    """
    if soc is None:
        return backend
    if not backend.socs:
        raise UserError(f"--soc {soc}: {backend.name} has no chip to choose; leave --soc out")
    wanted = soc.upper()
    if wanted not in backend.socs:
        raise UserError(unknown(f"--soc {soc}", wanted, backend.socs))
    chosen = copy.copy(backend)
    chosen.soc = wanted
    return chosen
