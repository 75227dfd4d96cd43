"""mobilekd: distil skin-lesion classifiers into phone models, prove every lowering step, measure
them on the phone.

Every command is a function: ``from mobilekd import distill, export``. Importing this package loads
neither torch nor any of its rooms; a function's module is loaded when the function is first named.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mobilekd.support.version import VERSION

if TYPE_CHECKING:
    from mobilekd.commands.apk import apk
    from mobilekd.commands.bench import bench
    from mobilekd.commands.calibrate import calibrate
    from mobilekd.commands.compare import compare
    from mobilekd.commands.demo import demo
    from mobilekd.commands.design import design
    from mobilekd.commands.devices import devices
    from mobilekd.commands.distill import distill
    from mobilekd.commands.doctor import doctor
    from mobilekd.commands.evaluate import evaluate
    from mobilekd.commands.export import export
    from mobilekd.commands.inspect import inspect
    from mobilekd.commands.predict import predict
    from mobilekd.commands.report import report
    from mobilekd.commands.sweep import sweep
    from mobilekd.commands.teach import teach
    from mobilekd.commands.verify import verify

__version__ = VERSION

# ONNX Runtime's builds report its use to Microsoft and keep an identifier on the disk, unless this
# is set before it is loaded, here and in the processes that measure it (its Privacy.md).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

#: The commands, each a function of the file of its name in ``commands``.
__all__ = [
    "apk",
    "bench",
    "calibrate",
    "compare",
    "demo",
    "design",
    "devices",
    "distill",
    "doctor",
    "evaluate",
    "export",
    "inspect",
    "predict",
    "report",
    "sweep",
    "teach",
    "verify",
]


def __getattr__(name: str) -> Any:
    """A command's function, imported from the file of its name in ``commands`` (PEP 562); it takes
    arguments as a notebook has them (``mobilekd.support.arguments``).
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mobilekd.support.arguments import forgiving

    function = forgiving(getattr(import_module(f"{__name__}.commands.{name}"), name))
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    """The commands beside the package's own names, for completion in a notebook."""
    return sorted({*globals(), *__all__})
