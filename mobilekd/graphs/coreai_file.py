"""A saved Core AI model (``.aimodel``): what it says of itself, and its answers by Apple's own
runtime, which coreai-core brings for Linux too, where it computes on the CPU.
"""

import asyncio
import hashlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.formats.constants import Constants, from_texts, to_texts
from mobilekd.support.errors import UserError
from mobilekd.support.files import check_room
from mobilekd.support.process import printable
from mobilekd.support.progress import without_native_errors

#: The bytes of the program, in the folder of the model.
PROGRAM = "main.mlirb"
#: Their SHA-256, as bytes.
HASH = "main.hash"


class CoreAIError(UserError):
    """The model is broken, holds something unknown to the interpreter, or contradicts itself."""


def run(path: Path, x: np.ndarray) -> list[np.ndarray]:
    """float32 or uint8 ``[N, 3, H, W]`` -> outputs by Core AI's runtime, one photograph at a time.

    A thread of its own waits for the runtime, because a notebook's has a loop of events already.
    The runtime writes the program once more, as a temporary file, and ends the whole process where
    that has no room, so the room is looked at before.
    """
    check_room(Path(tempfile.gettempdir()), room((path / PROGRAM).stat().st_size))
    with quiet(), without_native_errors(), ThreadPoolExecutor(1) as thread:
        answers = thread.submit(asyncio.run, _answered(path, x)).result()
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


async def _answered(path: Path, x: np.ndarray) -> list[list[np.ndarray]]:
    from coreai.runtime import NDArray

    asset = open_asset(path)
    try:
        async with asset.executable() as model:
            (name,) = model.function_names
            function = model.load_function(name)
            (given,), outputs = function.desc.input_names, function.desc.output_names
            answers = []
            for one in x:
                array = NDArray(np.ascontiguousarray(one[None], np.float32))
                answer = await function({given: array})
                answers.append([np.array(answer[each].numpy(), np.float32) for each in outputs])
    except (RuntimeError, ValueError) as error:
        raise CoreAIError(f"{path}: Core AI's runtime refuses it ({_line(error)})") from None
    return answers


def room(count: int) -> int:
    """Bytes that a program with ``count`` bytes of weights may take, at most."""
    return 2 * count + 2_000_000


def constants(path: Path) -> Constants:
    """What the saved model says of itself, as ``mobilekd.formats.constants`` names it."""
    with quiet():
        return from_texts(dict(open_asset(path).metadata.creator_defined_metadata), "Core AI")


def rewrite(path: Path, told: Constants) -> None:
    """Put ``told`` among the fields for programs, and change nothing else."""

    def update(metadata: Any) -> None:
        for name, text in to_texts(told).items():
            metadata.set_custom(name, text)

    with quiet():
        open_asset(path).update_metadata(update)


def network_hash(path: Path) -> str:
    """Hex SHA-256 over the bytes of the program."""
    return hashlib.sha256((path / PROGRAM).read_bytes()).hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """coreai-torch tells its version, and warns of a torch newer than its makers tried; our gates
    try it here.
    """
    silent = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(silent), redirect_stderr(silent):
        warnings.simplefilter("ignore")
        yield


def open_asset(path: Path) -> Any:
    """Apple's ``AIModelAsset``. Raises ``CoreAIError`` where the folder is none, or its program
    changed.
    """
    from coreai.authoring import AIModelAsset

    _check_hash(path)
    try:
        return AIModelAsset.load(path)
    except (RuntimeError, ValueError, OSError) as error:
        raise CoreAIError(f"{path}: no Core AI model ({_line(error)}); export it again") from None


def _check_hash(path: Path) -> None:
    """Apple's reader ends the whole process at a program that is cut short, so what the model says
    of its program's bytes is compared first.
    """
    program, kept = path / PROGRAM, path / HASH
    if not program.is_file() or not kept.is_file():
        raise CoreAIError(f"{path}: no Core AI model ({PROGRAM} or {HASH} is missing)")
    if hashlib.sha256(program.read_bytes()).digest() != kept.read_bytes():
        raise CoreAIError(f"{program}: changed since it was saved; export it again")


def _line(error: Exception) -> str:
    return printable(str(error))
