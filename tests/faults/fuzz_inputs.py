"""Odd inputs made of valid ones by the bytes that a fuzzer chooses."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import atheris

#: Feeds one input; returns or raises.
Target = Callable[[bytes], object]

#: What stands in place of a value.
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1 << 70,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "0",
    "é" * 300,
    "../../x",
    "a\0b",
    "\ud800",
    "nan",
    [],
    [[]],
    {},
    {"": None},
)


def instrumented() -> AbstractContextManager[None]:
    """Imports inside give libFuzzer their branches."""
    return atheris.instrument_imports(include=["mobilekd"], enable_loader_override=False)


def edited(document: Any, data: bytes) -> Any:
    """A copy of ``document`` with up to four edits that ``data`` chooses."""
    choice = atheris.FuzzedDataProvider(data)
    holder = {"": copy.deepcopy(document)}
    for _ in range(choice.ConsumeIntInRange(1, 4)):
        parent: Any = holder
        key: Any = ""
        while (
            isinstance(parent[key], (dict, list))
            and parent[key]
            and choice.ConsumeProbability() > 0.2
        ):
            parent = parent[key]
            keys = list(parent) if isinstance(parent, dict) else range(len(parent))
            key = keys[choice.ConsumeIntInRange(0, len(keys) - 1)]
        what = choice.ConsumeIntInRange(0, 6)
        if what == 0 and parent is not holder:
            del parent[key]
        elif what == 1 and isinstance(parent, dict):
            parent[choice.ConsumeUnicode(8)] = copy.deepcopy(parent[key])
        elif what == 2 and isinstance(parent[key], (int, float)):
            parent[key] = choice.ConsumeFloat() if choice.ConsumeBool() else choice.ConsumeInt(9)
        elif what == 3 and isinstance(parent[key], str):
            parent[key] = choice.ConsumeUnicode(40)
        elif what == 4 and isinstance(parent[key], list):
            parent[key] *= choice.ConsumeIntInRange(0, 3)
        else:
            parent[key] = copy.deepcopy(choice.PickValueInList(list(ODD)))
    return holder[""]


def flipped(raw: bytes, data: bytes) -> bytes:
    """``raw`` with bytes changed, cut or put in, where ``data`` says."""
    choice, changed = atheris.FuzzedDataProvider(data), bytearray(raw)
    for _ in range(choice.ConsumeIntInRange(1, 8)):
        at = choice.ConsumeIntInRange(0, max(0, len(changed) - 1))
        what = choice.ConsumeIntInRange(0, 7)
        if what < 6:
            new = choice.ConsumeBytes(what % 4 + 1)
            changed[at : at + len(new)] = new
        elif what == 6:
            del changed[at : at + choice.ConsumeIntInRange(1, 64)]
        else:
            changed = changed[:at]
    return bytes(changed)


def unsealed(document: Any) -> Any:
    """A document as it was before documents carried hashes."""
    if isinstance(document, dict) and {"sha256", "files"} & document.keys():
        empty = {"files": {}} if "sha256" in document and "files" in document else {}
        return {key: value for key, value in document.items() if key != "sha256"} | empty
    return document
