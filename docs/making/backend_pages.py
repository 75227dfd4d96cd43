"""A page for each backend, from one template, and the table of all."""

import inspect
import sys
import tomllib
from typing import Any

from making.markdown import CHECKOUT, page, table
from mobilekd import backends
from mobilekd.formats.gates import NOT_DECIDED
from mobilekd.formats.runs import DEFAULT_REFERENCE, open_run
from mobilekd.lowering.record import read_record, record_key
from mobilekd.support.files import read_json

#: What the registry cannot say of a backend: what it needs, and its usual troubles.
BACKENDS = tomllib.loads((CHECKOUT / "docs/backends.toml").read_text(encoding="utf-8"))


def proved_by(backend: Any) -> str:
    """Where a backend's file answers for itself."""
    if backend.apple:
        return (
            f"The saved file is run here by {backend.runtime}. Apple's processors are checked on a"
            " Mac by `ios_export/check_on_mac.py`."
        )
    if backend.socs:
        return (
            "The saved file runs on this machine in ExecuTorch's own runtime, on the maker's"
            " simulator of the chip. So the gates, the golden set, `evaluate` and `verify` judge"
            " the simulator's answers. A phone with the chip has still to answer the golden set."
        )
    if backend.interpreted:
        return (
            "The saved file is read back and run here, operator by operator, by an interpreter of"
            " this package, in the gates, `verify` and `evaluate`. It cannot prove what the"
            " phone's own kernels answer, so a phone must answer the golden set before its answers"
            " are taken as proved there."
        )
    if backend.processor:
        return (
            f"The saved file runs on this machine, in {backend.runtime}. `--verify arm` runs its"
            " golden set on emulated Arm processors too."
        )
    return (
        "The lowered graph is compared here. The file itself runs on a phone only; `bench` asks it"
        " the golden set before it measures anything."
    )


def backend_table() -> str:
    """Backend by precision: what is proved here, what needs a Mac or a phone."""
    rows = []
    for name in backends.names():
        backend = backends.get(name)
        here = "saved file" if backend.runtime else "graph only"
        if backend.socs:
            here = "saved file, on the maker's simulator"
        elif backend.interpreted:
            here = "saved file, by an interpreter"
        more = "a Mac: Apple's kernels" if backend.apple else ""
        phone = "latency" if backend.apple or backend.processor else "answers and latency"
        rows.append(
            (
                f"[`{name}`](docs/reference/backends/{name}.md)",
                ", ".join(f"`{one}`" for one in backend.precisions),
                here,
                more,
                phone,
            )
        )
    return table(("Backend", "Precisions", "Proved here", "Needs a Mac", "Needs a phone"), rows)


def backend_page(name: str) -> str:
    """One backend by the one template."""
    backend = backends.get(name)
    if name not in BACKENDS:
        raise SystemExit(f"docs/backends.toml: no words for the backend {name}")
    words = BACKENDS[name]
    troubles = [(one["seen"], one["do"]) for one in words["troubles"]]
    module = sys.modules[type(backend).__module__]
    precisions = [
        (f"`{one}`", _rounding(backend, one), _without_data(backend, one))
        for one in backend.precisions
    ]
    return page(
        f"Backend {name}",
        (inspect.getdoc(module) or "").split("\n\n")[0].replace("``", "`"),
        f"```console\n$ mobilekd export --backend {name} --precision {backend.precisions[0]}\n```",
        f"## What it needs\n\n{words['needs']}\n",
        "## Precisions\n\n"
        + table(("Precision", "How the weights become so", "The default student"), precisions)
        + f"\nThe last column is of `reference:{DEFAULT_REFERENCE}`, exported where its data is"
        " not.\n",
        f"## Operators\n\n{operators_of(backend)}",
        f"## How it is proved\n\n{proved_by(backend)}"
        " All gates are in [gates and refusals](../gates.md).\n",
        "## Troubleshooting\n\n" + table(("What you see", "What to do"), troubles),
    )


def operators_of(backend: Any) -> str:
    """Where a backend's operators must be."""
    counts = "`mobilekd inspect ARTIFACT` counts every operator of a file"
    if backend.runtime == "ONNX Runtime":
        return (
            f"{counts}; ONNX Runtime runs all of them. In int8 every convolution and linear layer"
            " must have quantised input, weights and output, or the export is refused."
        )
    if backend.name == "portable":
        return (
            f"{counts}, inside the delegate and outside. There is no delegate, so all of them are"
            " outside."
        )
    if backend.socs:
        return (
            "The delegate's graph is compiled and cannot be read back, so `mobilekd inspect"
            " ARTIFACT` counts what is left outside it. Every convolution and linear layer must be"
            " inside, or the export is refused."
        )
    return (
        f"{counts}, inside the delegate and outside. Every convolution and linear layer must be"
        " inside, or the export is refused."
    )


def _without_data(backend: Any, precision: str) -> str:
    """What an export of the default student has to go by where its data is not."""
    run = open_run(f"reference:{DEFAULT_REFERENCE}")
    record = read_record(run.folder).get(record_key(backend, precision))
    learnt = precision not in ("fp32", "fp16") and backend.weights_in(precision) is None
    if record is not None and record.refused:
        return "refused where the data was"
    frozen = read_json(run.folder / "quantization.json", "quantisation parameters")
    if learnt and precision not in frozen:
        return "refused: nothing was learnt from photographs for it"
    if record is None:
        return NOT_DECIDED
    (row,) = record.stages
    return f"recorded: {row.agreement:.1%} of {row.samples:,} decisions equal"


def _rounding(backend: Any, precision: str) -> str:
    stored = backend.weights_in(precision)
    if stored:
        return (
            f"rounded by this package before the file is written ({stored}); floating point"
            " arithmetic"
        )
    if precision in ("fp32", "fp16"):
        return "no rounding by this package"
    return {
        "int8": "post-training quantisation: ranges from training photographs, corrected",
        "int8-qat": "the same, then a short training with rounding",
        "mixed": "int8, with the layers that rounding hurts most left in floating point",
        "w8a8": "int8 weights, 8-bit activations: ranges from training photographs, corrected",
        "w8a16": "int8 weights, 16-bit activations: ranges from photographs, corrected",
    }.get(precision, "")


def backends_index() -> str:
    """The table of all backends."""
    return page(
        "Backends",
        "A backend lowers a student for one engine.",
        backend_table().replace("docs/reference/backends/", ""),
        "[What a new backend costs](../../backends.md) shows the whole diff that added one.",
    )
