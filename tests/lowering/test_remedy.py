"""A refused export names a next step that exists: options, keys and precisions of this export."""

import functools
import io
import re
from contextlib import redirect_stdout
from types import SimpleNamespace

import pytest
from fixtures.run import make_recipe

from mobilekd.backends import get, names
from mobilekd.cli import main
from mobilekd.formats.gates import Gate
from mobilekd.formats.parity_names import GateId, GateName
from mobilekd.formats.recipe_file import with_overrides
from mobilekd.lowering.remedy import OURS, remedy

CASES = [(backend, precision) for backend in names() for precision in get(backend).precisions]


@pytest.mark.parametrize(("backend", "precision"), CASES)
@pytest.mark.parametrize("gate", GateId)
def test_every_step_exists(gate, backend, precision):
    export = SimpleNamespace(precision=precision, backend=get(backend), target="runs/mine")
    failed = Gate(name=GateName(gate, "a64fx"), value=1, limit=0, relation="<=", passed=False)
    text = remedy(failed, export)
    assert text
    if gate in OURS:
        assert "report it" in text
        return
    for key in re.findall(r"--set (gates\.\w+)=VALUE", text):
        with_overrides(make_recipe("any"), [f"{key}=0.5"])
    for option in re.findall(r"--(?!set)[a-z]+", text):
        assert option in options("export"), option
    for first, others in re.findall(r"--precision ([\w-]+)(?: \(([\w, -]+)\))?", text):
        offered = [first, *(others.split(", then ") if others else ())]
        assert precision not in offered
        assert set(offered) <= set(get(backend).precisions)


@functools.cache
def options(command: str) -> set[str]:
    """The long options in a command's help."""
    told = io.StringIO()
    with redirect_stdout(told), pytest.raises(SystemExit):
        main([command, "--help"])
    return set(re.findall(r"--[a-z]+", told.getvalue()))


def test_int8_is_sent_to_what_rounds_less():
    export = SimpleNamespace(precision="int8", backend=get("xnnpack"), target="runs/mine")
    failed = Gate(name=GateId.AGREEMENT, value=0.9, limit=0.98, relation=">=", passed=False)
    assert remedy(failed, export) == (
        "next: mobilekd export runs/mine --backend xnnpack --precision mixed (int8-qat, then fp32);"
        " the limit is gates.agreement; --set gates.agreement=VALUE allows more on purpose"
    )


def test_hexagons_8_bits_are_sent_to_16_for_the_same_chip():
    export = SimpleNamespace(precision="w8a8", backend=get("qnn"), target="runs/mine")
    failed = Gate(name=GateId.AGREEMENT, value=0.9, limit=0.98, relation=">=", passed=False)
    assert remedy(failed, export).startswith(
        "next: mobilekd export runs/mine --backend qnn --soc SM8650 --precision w8a16 (fp16);"
    )
