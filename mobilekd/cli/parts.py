"""What a recipe can name: losses, students and adaptations, each with one line and its source.

The sources are read, not imported: a list takes no seconds for torch, and is there without it.
"""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]

#: Words that list parts in place of a recipe.
WORDS = ("losses", "students", "adaptations")


def parts(word: str) -> list[dict[str, str]]:
    """The parts of one of ``WORDS``: name, what it is, and the file that it comes from."""
    return {"losses": _losses, "students": _students, "adaptations": _adaptations}[word]()


def _losses() -> list[dict[str, str]]:
    registry, rows = "losses/registry.py", []
    for table, looks_at in (
        ("SUPERVISED_LOSSES", "labels"),
        ("LOGIT_LOSSES", "logits"),
        ("FEATURE_LOSSES", "layers"),
    ):
        for name, value in _dictionary(registry, table).items():
            function = value.elts[0] if isinstance(value, ast.Tuple) else value
            rows.append(_described(name, f"{looks_at}: {{}}", registry, _word(function)))
    return [*rows, _given("file.py:function", "one of your own, beside the recipe")]


def _students() -> list[dict[str, str]]:
    file, rows = "students/mobilenet.py", []
    for name, value in _dictionary(file, "SPECS").items():
        spec = _assigned(file, _word(value))
        assert isinstance(spec, ast.Call)
        fields = {one.arg: one.value for one in spec.keywords}
        hub = fields["hub"]
        assert isinstance(hub, ast.Call)
        widths = ", ".join(f"{width:g}" for width in ast.literal_eval(hub.args[0]))
        title = ast.literal_eval(fields["title"])
        what = f"{title}, in timm's parts; weights on a hub at width {widths}"
        rows.append({"name": name, "what": what, "source": f"mobilekd/{file}"})
    return [
        *rows,
        _described(
            "lesionnet",
            "our own network for a phone's processor",
            "students/lesionnet.py",
            "LesionNet",
        ),
        _given("timm:NAME", "any classifier of timm"),
        _given("torchvision:NAME", "any classifier of torchvision"),
        _given("file.py:function", "one of your own, beside the recipe"),
    ]


def _adaptations() -> list[dict[str, str]]:
    file, rows = "students/mobilenet.py", []
    by_type = _dictionary("students/any_network.py", "ADAPTATIONS")
    for name, value in _dictionary(file, "ADAPTATIONS").items():
        assert isinstance(value, ast.Tuple)
        edit, takes_number = value.elts
        fits = "any network" if name in by_type else "the MobileNets"
        given = f"{name}:NUMBER" if ast.literal_eval(takes_number) else name
        rows.append(_described(given, f"{{}} ({fits})", file, _word(edit)))
    return rows


def _given(name: str, what: str) -> dict[str, str]:
    return {"name": name, "what": what, "source": ""}


def _described(name: str, what: str, file: str, definition: str) -> dict[str, str]:
    """A row whose ``{}`` is the first sentence of a docstring; ``definition`` is a function or
    class that ``file`` defines or imports.
    """
    for node in _tree(file).body:
        if (
            isinstance(node, ast.FunctionDef | ast.ClassDef)
            and node.name == definition
            and (text := ast.get_docstring(node))
        ):
            return {
                "name": name,
                "what": what.format(_first_sentence(text)),
                "source": f"mobilekd/{file}",
            }
        if isinstance(node, ast.ImportFrom) and definition in (one.name for one in node.names):
            module = str(node.module).partition(".")[2]
            return _described(name, what, f"{module.replace('.', '/')}.py", definition)
    raise LookupError(f"{definition}: not in {file}")


@cache
def _tree(file: str) -> ast.Module:
    """A file of the package, parsed."""
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def _assigned(file: str, name: str) -> ast.expr:
    """What a file assigns to a name of its own."""
    for node in _tree(file).body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if any(isinstance(one, ast.Name) and one.id == name for one in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            assert node.value is not None
            return node.value
    raise LookupError(f"{name}: not assigned in {file}")


def _dictionary(file: str, name: str) -> dict[str, ast.expr]:
    """A dictionary that is written out there, by its keys."""
    node = _assigned(file, name)
    assert isinstance(node, ast.Dict)
    return {
        ast.literal_eval(key): value
        for key, value in zip(node.keys, node.values, strict=True)
        if key
    }


def _word(node: ast.expr) -> str:
    assert isinstance(node, ast.Name)
    return node.id


def _first_sentence(text: str) -> str:
    """The first paragraph of a docstring up to its first full stop."""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")
