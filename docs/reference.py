"""Writes ``docs/reference/`` and the JSON Schemas from the code::

    make docs-reference

``tests/docs/test_reference.py`` fails where a page or a schema differs from the code.
"""

import argparse
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import mobilekd
from mobilekd import backends
from mobilekd.backends.base import Backend
from mobilekd.cli import commands
from mobilekd.formats.artifact import Manifest
from mobilekd.formats.gates import NOT_DECIDED
from mobilekd.formats.measurement import Measurement
from mobilekd.formats.parity_names import GateId, StageId
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import DEFAULT_REFERENCE, RunInfo, open_run
from mobilekd.lowering.record import read_record, record_key
from mobilekd.support.files import read_json

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = CHECKOUT / "docs/reference"
SCHEMAS = CHECKOUT / "docs/schemas"
MADE = "<!-- made from the code by make docs-reference; changes here are lost -->\n"

#: Exit codes of every command, as ``mobilekd/cli/__init__.py`` gives them.
EXIT_CODES = (
    ("0", "It did what you asked."),
    (
        "1",
        "A fault of ours. The line names the file with the traceback. `sweep`: a cell failed."
        " `bench --device adb:all`: some phones were measured, others not.",
    ),
    (
        "2",
        "Something that you can mend: a wrong option or input, a refused export, a failed check."
        " One line names the thing and the remedy.",
    ),
    ("130", "Ctrl-C. What was finished is kept; call again with `--resume` where there is one."),
    ("143", "Ended by SIGTERM. No half-written result is left."),
)


def cell(text: object) -> str:
    """Text for a cell of a Markdown table, on one line."""
    return " ".join(str(text).split()).replace("``", "`").replace("|", "\\|")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell(one) for one in line)} |\n" for line in lines)


def page(title: str, *parts: str) -> str:
    """A page made here."""
    return "\n".join([f"# {title}\n", MADE, *(part.rstrip("\n") + "\n" for part in parts)])


def first_paragraph(thing: object) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


# --- commands -------------------------------------------------------------------------------


def commands_page() -> str:
    """Every command with its options and exit codes, from the parsers."""
    made = commands()
    parts = [
        "Every command has `--help`. Standard output carries the answer alone; progress goes to"
        " standard error. With `--json` the answer is one JSON document.",
        "## Exit codes\n\n" + table(("Code", "Meaning"), EXIT_CODES),
    ]
    for name, parser in made.parsers.items():
        parts.append(_command(name, parser))
    return page("Commands", *parts)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    summary, _, below = (parser.description or "").partition("examples:\n")
    description = " ".join(summary.split())
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    parts = [f"## `{name}`\n", f"{description}\n", f"```text\n{_wrapped(usage)}\n```\n"]
    for group in parser._action_groups:
        rows = [_action(action) for action in group._group_actions if not _hidden(action)]
        if not rows:
            continue
        if group.title not in ("options", "positional arguments"):
            parts.append(f"**{str(group.title).capitalize()}**\n")
        parts.append(table(("Option", "Default", "Allowed", "Meaning"), rows))
    examples = re.findall(r"^ +(mobilekd .*)$", below, flags=re.M)
    if examples:
        shown = "\n".join(f"$ {example}" for example in examples)
        parts.append(f"```console\n{shown}\n```\n")
    return "\n".join(parts)


def _wrapped(usage: str, width: int = 96) -> str:
    """A usage line, broken between its parts."""
    lines = [""]
    for part in re.findall(r"\[[^\]]*(?:\[[^\]]*\][^\]]*)*\]|\S+", usage):
        if lines[-1] and len(lines[-1]) + len(part) + 1 > width:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {part}".lstrip() if len(lines) == 1 else f"{lines[-1]} {part}"
    return "\n".join(lines)


def _hidden(action: argparse.Action) -> bool:
    return action.help == argparse.SUPPRESS or "--help" in action.option_strings


def _action(action: argparse.Action) -> tuple[str, str, str, str]:
    given = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    if action.option_strings:
        shown = ", ".join(f"`{option}{given}`" for option in action.option_strings)
    else:
        shown = f"`{action.metavar or action.dest}`"
    default = action.default
    if action.nargs == 0 or default in (None, [], "", ()) or default is argparse.SUPPRESS:
        text = "required" if not action.option_strings and action.nargs not in ("?", "*") else ""
    else:
        text = f"`{default}`"
    allowed = ", ".join(f"`{choice}`" for choice in action.choices or ())
    meaning = str(action.help or "").replace("%(default)s", str(default)).replace("%%", "%")
    if text not in ("", "required"):
        meaning = re.sub(r" \(default: [^()]*\)$", "", meaning)
    return shown, text, allowed, meaning


# --- recipe ---------------------------------------------------------------------------------


def keys(
    model: type[BaseModel] = Recipe, prefix: str = "", outer: tuple[type[BaseModel], ...] = ()
) -> list[tuple[str, FieldInfo]]:
    """Every key of a recipe with its field, dotted; ``N`` counts the entries of a list.

    A table inside a table of its own kind has the same keys again, which are not repeated.
    """
    found: list[tuple[str, FieldInfo]] = []
    for name, field in model.model_fields.items():
        found.append((f"{prefix}{name}", field))
        inner, several = _document(field.annotation)
        if inner is not None and inner not in (model, *outer):
            found += keys(inner, f"{prefix}{name}.{'N.' if several else ''}", (model, *outer))
    return found


def _document(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The document inside an annotation, and whether it is a list of them."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation, False
    for part in get_args(annotation):
        inner, _ = _document(part)
        if inner is not None:
            return inner, get_origin(annotation) is tuple
    return None, False


def type_words(annotation: Any) -> str:
    """A type as a writer of TOML says it."""
    simple = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if annotation in simple:
        return simple[annotation]
    origin, parts = get_origin(annotation), get_args(annotation)
    inner, several = _document(annotation)
    if inner is not None:
        return "list of tables" if several else "table"
    if origin is Literal:
        return "text" if isinstance(parts[0], str) else "number"
    if origin is tuple:
        if Ellipsis in parts:
            return f"list of {type_words(parts[0])}s"
        return f"{len(parts)} {type_words(parts[0])}s"
    if origin is dict:
        return "table"
    kept = [part for part in parts if part is not type(None)]
    if hasattr(annotation, "__metadata__"):
        return type_words(parts[0])
    if len(kept) == 1:
        return type_words(kept[0])
    return " or ".join(dict.fromkeys(type_words(part) for part in kept)) or "any"


def _metadata(annotation: Any) -> list[Any]:
    """Bounds that stand in the annotation itself, of a list's entries too."""
    found = list(getattr(annotation, "__metadata__", ()))
    for part in get_args(annotation):
        found += _metadata(part)
    return [
        piece for one in found for piece in (one.metadata if isinstance(one, FieldInfo) else [one])
    ]


def allowed(field: FieldInfo) -> str:
    """What a key may hold, in words."""
    for literal in (field.annotation, *get_args(field.annotation)):
        if get_origin(literal) is Literal:
            return ", ".join(f"`{value}`" for value in get_args(literal))
    words: dict[type, str] = {
        annotated_types.Ge: "at least",
        annotated_types.Gt: "above",
        annotated_types.Le: "at most",
        annotated_types.Lt: "below",
    }
    said = []
    for bound in [*field.metadata, *_metadata(field.annotation)]:
        for kind, word in words.items():
            if isinstance(bound, kind):
                said.append(f"{word} {_number(getattr(bound, kind.__name__.lower()))}")
    return ", ".join(dict.fromkeys(said))


def _number(value: float) -> str:
    """A bound as people write it."""
    if isinstance(value, int) and abs(value) >= 2**20 and abs(value).bit_count() == 1:
        return f"{'-' if value < 0 else ''}2^{abs(value).bit_length() - 1}"
    return f"{value:g}"


def default_words(field: FieldInfo) -> str:
    """A default as it stands in TOML."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "as below"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, BaseModel):
        shown = value.model_dump(exclude_defaults=True)
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in shown.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False)


def recipe_page() -> str:
    """Every key of a recipe: type, default, what is allowed, what it means."""
    tables: dict[str, list[tuple[str, ...]]] = {}
    for key, field in keys():
        place = key.rpartition(".")[0]
        if not field.description:
            raise SystemExit(f"recipe key {key}: has no description in mobilekd/formats")
        row = (
            f"`{key}`",
            type_words(field.annotation),
            default_words(field),
            allowed(field),
            field.description,
        )
        tables.setdefault(place, []).append(row)
    parts = [
        "A recipe is one TOML file and the whole experiment. `mobilekd recipes` lists the shipped"
        " ones. `--set KEY=VALUE` changes a key for one call; in a list, `N` is the entry's number"
        ' from 0. `base = "NAME"` at the top of a file takes everything that the file does not'
        " say from another recipe.",
        "An editor completes and checks a recipe by [its schema](schemas.md).",
    ]
    for place, rows in tables.items():
        title = f"`[{place}]`" if place else "The top of the file"
        parts.append(f"## {title.replace('.N', '')}\n\n")
        parts[-1] += table(("Key", "Type", "Default", "Allowed", "Meaning"), rows)
    return page("Recipe keys", *parts)


# --- metrics --------------------------------------------------------------------------------


def metrics_page() -> str:
    """Every metric of ``metrics.json``."""
    from mobilekd.metrics.registry import DEFINITIONS

    rows = [(f"`{one.key}`", one.meaning, one.unit, one.better, one.source) for one in DEFINITIONS]
    return page(
        "Metrics",
        "`evaluate` writes these into `metrics.json`, each with its 95% interval. `GROUP` is"
        " `melanoma` or `malignant` (melanoma, basal cell carcinoma and actinic keratosis).",
        table(("Metric", "Definition", "Unit", "Better", "Elsewhere"), rows),
        "## Intervals\n\n" + _intervals(),
    )


def _intervals() -> str:
    import mobilekd.metrics as metrics

    paragraphs = (inspect.getdoc(metrics) or "").split("\n\n")
    return (
        " ".join(paragraphs[1].split())
        + " There are 1000 draws. A figure that cannot be computed is null and carries its reason."
        " Seeds are pooled with a spread of their own; see"
        " [how a number comes about](../explanation/numbers.md)."
    )


# --- gates ----------------------------------------------------------------------------------

#: What each gate asks, in words of its own; the remedies come from ``lowering/remedy.py``.
GATES: dict[GateId, tuple[str, str]] = {
    GateId.PREPROCESSING: (
        "The graph that takes raw pixels answers as the student does after normalisation outside.",
        "largest difference of a probability",
    ),
    GateId.ACTIVATION_MAP: (
        "The map that `--cam` adds is the one that the student's own head gives.",
        "largest difference of a cell",
    ),
    GateId.GUARD: (
        "The guard's score in the graph is the one that its document gives in float64.",
        "largest difference of a score",
    ),
    GateId.GUARD_AGREEMENT: (
        "The file refuses the same test photographs as the student in floating point.",
        "share of equal refusals",
    ),
    GateId.LOWERED_GRAPH: (
        "The graph after lowering, before it is saved, answers as its eager source.",
        "largest difference of a probability",
    ),
    GateId.MAX_ERROR: (
        "The saved file answers as its eager source.",
        "largest difference of a probability",
    ),
    GateId.SQNR: (
        "The saved file's answers are its eager source's, with little noise.",
        "signal to noise in dB",
    ),
    GateId.DELEGATED_LAYERS: (
        "Every convolution and linear layer runs in the backend's delegate.",
        "number of layers",
    ),
    GateId.INT8_LAYERS: (
        "Every layer that should compute in int8 does.",
        "number of layers",
    ),
    GateId.TRAINING_REMAINS: (
        "No operator of training, such as dropout, is left in the graph.",
        "number of operators",
    ),
    GateId.CONSTANTS: (
        "Labels, threshold, input size and the other facts in the file are those of the run.",
        "number of facts that differ",
    ),
    GateId.AGREEMENT: (
        "The file decides as the fp32 student on the test photographs.",
        "share of equal decisions",
    ),
    GateId.BALANCED_ACCURACY: (
        "The file loses no more balanced accuracy than allowed. The interval's end is judged.",
        "lower end of the paired 95% interval",
    ),
    GateId.NETWORK: (
        "`calibrate` left the network in the file bit for bit what it was.",
        "1 where it did, else 0",
    ),
    GateId.CLINIC_LOSS: (
        "The log loss on a clinic's photographs is not proven to be higher after `calibrate` than"
        " before. It is judged by cross-fitting, on lesions that fitted nothing. It says nothing of"
        " accuracy: that stands in the figures before and after.",
        "lower end of the paired 95% interval, nats",
    ),
    GateId.GOLDEN_SET: (
        "An emulated Arm processor repeats the golden answers (`--verify arm`).",
        "largest difference of a probability",
    ),
}


@dataclass(frozen=True)
class AnyRun:
    """A refused export of whatever run."""

    precision: str
    backend: Backend
    target: str = "RUN"


def remedies(gate: GateId) -> dict[str, str]:
    """What a refused export says after this gate's name, by precision, for XNNPACK."""
    from mobilekd.formats.gates import Gate
    from mobilekd.lowering.remedy import remedy

    backend = backends.get("xnnpack")
    name = f"{gate.id} cortex-a72" if gate is GateId.GOLDEN_SET else gate.id
    failed = Gate(name=name, value=1, limit=0, relation="<=", passed=False)
    found = {}
    for precision in ("fp32", "int8"):
        export = AnyRun(precision, backend)
        found[precision] = remedy(failed, export)
    return found


def gates_page() -> str:
    """Every gate: what it asks, its limit, what mends it."""
    missing = set(GateId) - set(GATES)
    if missing:
        raise SystemExit(f"docs/reference.py: no words for the gates {missing}")
    parts = [
        "`export` compares every step with the one above it. A gate that fails refuses the file,"
        " is named in the message, and leaves nothing behind. Exit code: 2. Why the gates are"
        " there is told in [why an export is refused](../explanation/refused.md).",
    ]
    for gate in GateId:
        asks, value = GATES[gate]
        found = remedies(gate)
        same = len(set(found.values())) == 1
        rows = [("What it asks", asks), ("What is compared", value)]
        rows += (
            [("What mends it", found["fp32"])]
            if same
            else [(f"What mends it in {precision}", said) for precision, said in found.items()]
        )
        parts.append(f"## {gate.title.capitalize()}\n\n`{gate.id}`\n\n" + table(("", ""), rows))
    stages = [(f"`{stage.id}`", stage.title) for stage in StageId]
    parts.append(
        "## Stages of the parity table\n\nThe parity table of an artifact has a row for each"
        " stage. Files hold the id.\n\n" + table(("Id", "As it is read"), stages)
    )
    return page("Gates and refusals", *parts)


# --- losses, students, functions -------------------------------------------------------------


def losses_page() -> str:
    """Every loss with its options."""
    from mobilekd.losses.registry import FEATURE_LOSSES, LOGIT_LOSSES, SUPERVISED_LOSSES

    groups: tuple[tuple[str, str, dict[str, Callable[..., Any]]], ...] = (
        ("From the label", "They need no teacher.", dict(SUPERVISED_LOSSES)),
        ("From the teacher's logits", "They need one teacher or several.", dict(LOGIT_LOSSES)),
        (
            "From the teacher's features",
            "They look inside a teacher, so its stored logits are not enough.",
            {name: function for name, (function, _) in FEATURE_LOSSES.items()},
        ),
    )
    parts = [
        "A recipe's `[[losses]]` names them; `options` are the keyword arguments below. The"
        " student minimises the weighted sum. [Your own loss](../how-to/loss.md) is one function.",
    ]
    for title, text, losses in groups:
        parts.append(f"## {title}\n\n{text}\n")
        for name, function in losses.items():
            options = [
                (f"`{one.name}`", f"`{one.default!r}`")
                for one in inspect.signature(function).parameters.values()
                if one.kind is inspect.Parameter.KEYWORD_ONLY
            ]
            said = (inspect.getdoc(function) or "").replace("``", "`")
            parts.append(f"### `{name}`\n\n{said}\n")
            if options:
                parts.append(table(("Option", "Default"), options))
    return page("Losses", *parts)


def students_page() -> str:
    """Every student and adaptation by name."""
    from mobilekd.students import NAMES
    from mobilekd.students.mobilenet import ADAPTATIONS, SPECS

    rows = [
        (
            f"`{name}`",
            ", ".join(f"{width:g}" for width in SPECS[name].hub) if name in SPECS else "none",
        )
        for name in NAMES
    ]
    edits = [
        (f"`{name}{':NUMBER' if number else ''}`", first_paragraph(edit))
        for name, (edit, number) in ADAPTATIONS.items()
    ]
    return page(
        "Students and adaptations",
        "`student.model` names the network, `student.width` scales its channels, and"
        " `student.adapt` lists changes in order. [Your own student](../how-to/student.md) is one"
        " file.",
        "## Students\n\n" + table(("Name", "Widths with weights on timm's hub"), rows),
        "## Adaptations\n\n" + table(("Name", "What it does"), edits),
    )


def python_page() -> str:
    """The functions that ``mobilekd`` offers."""
    parts = [
        "Each command is a function of the same name. A mistake that you can mend raises"
        " `mobilekd.support.errors.UserError` with one line.",
        "```python\nfrom mobilekd import distill, evaluate, export\n```",
    ]
    for name in mobilekd.__all__:
        function = getattr(mobilekd, name)
        signature = inspect.signature(function)
        lines = [f"    {_parameter(one)}," for one in signature.parameters.values()]
        for place, one in enumerate(signature.parameters.values()):
            if one.kind is inspect.Parameter.KEYWORD_ONLY:
                lines.insert(place, "    *,")
                break
        result = _annotation(signature.return_annotation)
        head = (
            "\n".join([f"{name}(", *lines, f") -> {result}"]) if lines else f"{name}() -> {result}"
        )
        said, _, rest = (inspect.getdoc(function) or "").partition("\n\n")
        parts.append(f"## `{name}`\n\n{said.replace('``', '`')}\n\n```text\n{head}\n```\n")
        if rest:
            parts.append(f"```text\n{rest.replace('``', '')}\n```\n")
    return page("Python functions", *parts)


def _annotation(annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return "Any"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", text)


def _parameter(one: inspect.Parameter) -> str:
    text = f"{one.name}: {_annotation(one.annotation)}"
    if one.default is not inspect.Parameter.empty:
        default = one.default
        shown = f'Path("{default}")' if isinstance(default, Path) else repr(default)
        text += f" = {default.value if isinstance(default, Enum) else shown}"
    return text


# --- schemas --------------------------------------------------------------------------------

DOCUMENTS: dict[str, tuple[type[BaseModel], str]] = {
    "recipe": (Recipe, "a recipe, as TOML or as `recipe.json` of a run"),
    "run": (RunInfo, "`run.json` of a run"),
    "manifest": (Manifest, "`manifest.json` of an artifact"),
    "measurement": (Measurement, "`results/DEVICE/ARTIFACT.json`"),
}


def schema(name: str) -> str:
    """The JSON Schema of a document."""
    model = DOCUMENTS[name][0]
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(),
    }
    if name == "recipe":  # what a reader of the file takes out before it is validated
        document["properties"]["base"] = {
            "type": "string",
            "description": "a shipped recipe or a file beside this one, which says all the rest",
        }
        one = document["properties"]["data"]
        document["properties"]["data"] = {
            "description": one.pop("description"),
            "anyOf": [one, {"type": "array", "items": dict(one)}],
        }
        # a recipe with a base may leave out what the base says
        document["required"] = ["name"]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def schemas_page() -> str:
    """What schemas there are, and how an editor takes one."""
    rows = [
        (f"[`{name}.schema.json`](../schemas/{name}.schema.json)", text)
        for name, (_, text) in DOCUMENTS.items()
    ]
    return page(
        "Schemas",
        "JSON Schemas (draft 2020-12) of the documents on disk, for editors and for readers in"
        " other languages.",
        table(("Schema", "Of"), rows),
        "An editor with TOML support (Even Better TOML, Taplo) completes a recipe's keys when its"
        ' first line names the schema:\n\n```toml\n#:schema ./recipe.schema.json\nname = "mine"'
        '\nbase = "ham10000"\n```',
    )


# --- backends -------------------------------------------------------------------------------

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


def index_page() -> str:
    """The start of the reference."""
    rows = [
        ("[Commands](commands.md)", "options, defaults, exit codes"),
        ("[Recipe keys](recipe.md)", "type, default, what is allowed, meaning"),
        ("[Metrics](metrics.md)", "definition, unit, source"),
        ("[Gates and refusals](gates.md)", "what each asks, and what mends it"),
        ("[Backends](backends/index.md)", "needs, precisions, proof, troubleshooting"),
        ("[Losses](losses.md)", "options and papers"),
        ("[Students and adaptations](students.md)", "names and what each change does"),
        ("[Python functions](python.md)", "the same commands from Python"),
        ("[Schemas](schemas.md)", "JSON Schemas for editors and other languages"),
    ]
    return page(
        "Reference",
        "These pages are made from the code. A test fails when they differ from it.",
        table(("Page", "What it says"), rows),
    )


def pages() -> dict[Path, str]:
    """Every file that this makes, with its text."""
    made = {
        PAGES / "index.md": index_page(),
        PAGES / "commands.md": commands_page(),
        PAGES / "recipe.md": recipe_page(),
        PAGES / "metrics.md": metrics_page(),
        PAGES / "gates.md": gates_page(),
        PAGES / "losses.md": losses_page(),
        PAGES / "students.md": students_page(),
        PAGES / "python.md": python_page(),
        PAGES / "schemas.md": schemas_page(),
        PAGES / "backends/index.md": backends_index(),
    }
    made |= {PAGES / f"backends/{name}.md": backend_page(name) for name in backends.names()}
    made |= {SCHEMAS / f"{name}.schema.json": schema(name) for name in DOCUMENTS}
    return made


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
