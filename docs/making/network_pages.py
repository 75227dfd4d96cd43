"""Losses, students and adaptations, from their registries."""

import inspect
from collections.abc import Callable
from typing import Any

from making.markdown import first_paragraph, page, table


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
