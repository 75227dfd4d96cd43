"""The functions that Python users call, from their signatures and docstrings."""

import inspect
import re
from enum import Enum
from pathlib import Path
from typing import Any

import mobilekd
from making.markdown import page


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
