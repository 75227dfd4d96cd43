"""What a recipe can name: losses, students and adaptations, each with one line and its source."""

from collections.abc import Callable
from typing import Any

#: Words that list parts in place of a recipe.
WORDS = ("losses", "students", "adaptations")


def parts(word: str) -> list[dict[str, str]]:
    """The parts of one of ``WORDS``: name, what it is, and the file that it comes from."""
    return {"losses": _losses, "students": _students, "adaptations": _adaptations}[word]()


def _losses() -> list[dict[str, str]]:
    from mobilekd.losses import FEATURE_LOSSES, LOSSES, SUPERVISED_LOSSES

    rows = []
    for name, function in LOSSES.items():
        looks_at = (
            "labels"
            if name in SUPERVISED_LOSSES
            else "layers"
            if name in FEATURE_LOSSES
            else "logits"
        )
        rows.append(_row(name, f"{looks_at}: {_first_sentence(function)}", function))
    return [*rows, _given("file.py:function", "one of your own, beside the recipe")]


def _students() -> list[dict[str, str]]:
    from mobilekd.students.lesionnet import LesionNet
    from mobilekd.students.mobilenet import SPECS

    rows = []
    for name, spec in SPECS.items():
        hub = ", ".join(f"{width:g}" for width in spec.hub)
        what = f"{spec.title}, in timm's parts; weights on a hub at width {hub}"
        rows.append({"name": name, "what": what, "source": "mobilekd/students/mobilenet.py"})
    return [
        *rows,
        _row("lesionnet", "our own network for a phone's processor", LesionNet),
        _given("timm:NAME", "any classifier of timm"),
        _given("torchvision:NAME", "any classifier of torchvision"),
        _given("file.py:function", "one of your own, beside the recipe"),
    ]


def _adaptations() -> list[dict[str, str]]:
    from mobilekd.students.any_network import ADAPTATIONS as BY_TYPE
    from mobilekd.students.mobilenet import ADAPTATIONS

    rows = []
    for name, (edit, takes_number) in ADAPTATIONS.items():
        fits = "any network" if name in BY_TYPE else "the MobileNets"
        given = f"{name}:NUMBER" if takes_number else name
        rows.append(_row(given, f"{_first_sentence(edit)} ({fits})", edit))
    return rows


def _given(name: str, what: str) -> dict[str, str]:
    return {"name": name, "what": what, "source": ""}


def _row(name: str, what: str, made: Callable[..., Any]) -> dict[str, str]:
    return {
        "name": name,
        "what": what,
        "source": made.__module__.replace(".", "/") + ".py",
    }


def _first_sentence(function: Callable[..., Any]) -> str:
    """The first sentence of a docstring, on one line and without its full stop."""
    import inspect  # only here: a command line's start is measured

    text = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".")
