"""Plant a mistake in each loss and see that ``test_losses.py`` notices: sign errors, T squared
dropped, roles swapped.

Mutants are made from the losses' own source, so a new loss is mutated at once. A mutant is dead
when any test of its loss fails with it in place; survivors must be listed below with the reason why
they are no mistake.
"""

import ast
import inspect
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

import pytest
import test_losses
import torch

from mobilekd.losses import LOSSES, features, logits

#: mutant -> why no test can tell it from the original
EQUIVALENT = {
    "logit_standardisation: sign of + in _z_score, 1": (
        "1e-7 beside a standard deviation only guards against division by zero"
    ),
    "rkd: result negated in _distances": (
        "both networks' distances change sign, and the Huber loss of their difference is even"
    ),
    "rkd: result negated in _cosines": (
        "both networks' cosines change sign, and the Huber loss of their difference is even"
    ),
}

Mutation = Callable[[ast.FunctionDef], Iterator[tuple[str, ast.FunctionDef]]]


def each_node(
    function: ast.FunctionDef, wanted: Callable[[ast.AST], bool], change: Callable[[Any], None]
) -> Iterator[ast.FunctionDef]:
    """One copy of the function per node that is ``wanted``, with that node changed."""
    for index, node in enumerate(ast.walk(function)):
        if wanted(node):
            mutant = deepcopy(function)
            change(list(ast.walk(mutant))[index])
            yield mutant


def result_negated(function: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    def negate(node: ast.Return) -> None:
        assert node.value is not None
        node.value = ast.UnaryOp(ast.USub(), node.value)

    last = function.body[-1]
    for mutant in each_node(function, lambda node: node is last, negate):
        yield f"result negated in {function.name}", mutant


def sign_flipped(function: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    def flip(node: ast.BinOp) -> None:
        node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()

    for kind, symbol in ((ast.Add, "+"), (ast.Sub, "-")):
        mutants = each_node(
            function,
            lambda node, kind=kind: isinstance(node, ast.BinOp) and isinstance(node.op, kind),
            flip,
        )
        for number, mutant in enumerate(mutants, 1):
            yield f"sign of {symbol} in {function.name}, {number}", mutant


def t_squared_dropped(function: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    def drop(node: ast.BinOp) -> None:
        node.left, node.op, node.right = ast.Constant(1.0), ast.Mult(), ast.Constant(1.0)

    for mutant in each_node(
        function,
        lambda node: isinstance(node, ast.BinOp) and ast.unparse(node) == "temperature ** 2",
        drop,
    ):
        yield f"T squared dropped in {function.name}", mutant


def roles_swapped(function: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    if [argument.arg for argument in function.args.args][:2] == ["student", "teacher"]:
        mutant = deepcopy(function)
        # behind the docstring
        mutant.body.insert(1, ast.parse("student, teacher = teacher, student").body[0])
        yield f"student and teacher swapped in {function.name}", mutant


def divergence_reversed(function: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    def reverse(node: ast.Call) -> None:
        node.args[:2] = node.args[1::-1]

    for number, mutant in enumerate(
        each_node(
            function,
            lambda node: isinstance(node, ast.Call) and ast.unparse(node.func) == "F.kl_div",
            reverse,
        ),
        1,
    ):
        yield f"KL reversed in {function.name}, {number}", mutant


MUTATIONS: tuple[Mutation, ...] = (
    result_negated,
    sign_flipped,
    t_squared_dropped,
    roles_swapped,
    divergence_reversed,
)


def helpers_of(name: str, functions: dict[str, ast.FunctionDef]) -> list[str]:
    """The loss and the private functions of its module that it calls (other losses that it calls
    have mutants of their own).
    """
    called = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
    return [name, *sorted(called & {other for other in functions if other.startswith("_")})]


def mutants(name: str) -> Iterator[tuple[str, FunctionType]]:
    """Every mutant of one loss with a description."""
    module: ModuleType = features if hasattr(features, name) else logits
    tree = ast.parse(inspect.getsource(module))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for part in helpers_of(name, functions):
        for mutation in MUTATIONS:
            for what, mutant in mutation(functions[part]):
                changed = ast.Module(
                    [mutant if node is functions[part] else node for node in tree.body], []
                )
                space: dict[str, Any] = {"__name__": module.__name__}
                exec(compile(ast.fix_missing_locations(changed), "<mutant>", "exec"), space)
                yield f"{name}: {what}", space[name]


def checks_of(name: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """The tests of ``test_losses.py`` that look at one loss: those parametrised with its name, and
    those that call it.
    """
    for title, test in vars(test_losses).items():
        if not title.startswith("test_"):
            continue
        names = [
            value
            for mark in getattr(test, "pytestmark", [])
            if mark.name == "parametrize"
            for value in mark.args[1]
        ]
        inner = getattr(test, "hypothesis", None)
        source = inspect.getsource(inner.inner_test if inner else test)
        if name in names:
            yield title, partial(test, name=name)
        elif not names and f"{name}(" in source:
            yield title, test


def killer(
    name: str, mutant: Callable[..., torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> str | None:
    """The first test that fails with the mutant in the loss's place."""
    with monkeypatch.context() as patch:
        patch.setitem(LOSSES, name, mutant)
        patch.setattr(test_losses, name, mutant)
        # the quick ones first
        for title, check in sorted(
            checks_of(name), key=lambda each: hasattr(each[1], "hypothesis")
        ):
            try:
                check()
            except Exception:  # whatever a mutant breaks, it has been noticed
                return title
    return None


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_mistake_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert killer(name, LOSSES[name], monkeypatch) is None, (
        "the tests must pass with the loss as it is"
    )
    fates = {what: killer(name, mutant, monkeypatch) for what, mutant in mutants(name)}
    alive = [what for what, test in fates.items() if test is None]
    with capsys.disabled():
        print(
            f"\n{name}: {len(fates) - len(alive)} of {len(fates)} mutants died; equivalent:"
            f" {len(alive)}"
        )
    assert len(fates) >= 2
    assert [what for what in alive if what not in EQUIVALENT] == []


def test_equivalent_mutants_exist() -> None:
    """A reason for a mutant that is not made any more would hide the next one of that name."""
    made = {what for name in LOSSES for what, _ in mutants(name)}
    assert set(EQUIVALENT) <= made
