"""The functions that Python users call, from their signatures and docstrings."""

import inspect
import re
from enum import Enum
from pathlib import Path
from typing import Any

import mobilekd
from making.markdown import page

#: A notebook from photographs to answers.
EXAMPLE = """\
from mobilekd import distill, evaluate, export, predict

run = distill("photographs", overrides=["data.root=photographs", "train.epochs=20"])
print(evaluate(run)["metrics"]["balanced_accuracy"])
artifact = export(run, precision="int8")
print(predict(artifact, "photographs/nevus/one.jpg"))

other = {"kind": "folder", "root": "other_photographs"}
evaluate(artifact, data=other, mapping={"naevus": "nevus"})"""


def python_page() -> str:
    """The functions that ``mobilekd`` offers."""
    parts = [
        "Each command is a function of the same name. A mistake that you can mend raises"
        " `mobilekd.support.errors.UserError` with one line.",
        "A command's options are arguments of the same name, `--set KEY=VALUE` is `overrides`, and"
        " the options that name photographs are one dictionary, `data`. A text stands for a path,"
        " and what a function returned stands for the run or the artifact:",
        f"<!-- not run: the photographs are yours -->\n```python\n{EXAMPLE}\n```",
        "[An own loss](../how-to/loss.md), [student](../how-to/student.md) or"
        " [teacher](../how-to/teacher.md) is a function in a file that the recipe names. In a"
        " notebook, `%%writefile my_losses.py` on top of a cell makes that file.",
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
