"""A model under ``torch.compile``, where that pays and works on this machine."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mobilekd.support.progress import say

#: Below this many steps ``torch.compile`` costs more than it saves (measured: it takes about 90 s).
PAYS_AFTER = 600


def compiled_or_eager(model: nn.Module, what: str) -> Callable[[Tensor], Tensor]:
    """``model`` compiled, unless its first call shows that this machine cannot: then eager, and the
    reason is said.

    Compiling needs a C++ compiler and Python's headers; only trying tells. It fails before a step
    was computed, so nothing is lost.
    """
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError

    forwards: list[Callable[[Tensor], Tensor]] = [torch.compile(model)]

    def forward(x: Tensor) -> Tensor:
        try:
            return forwards[0](x)
        except (TorchDynamoException, CppCompileError) as error:
            reason = next((line for line in map(str.strip, _reasons(error)) if line), "")
            say(
                f"{what}: eager, because torch.compile failed here ({reason[:200]}); mobilekd"
                " doctor looks for g++ and Python's headers, which make training about a third"
                " faster"
            )
            forwards[0] = model
            return model(x)

    return forward


def _reasons(error: BaseException) -> list[str]:
    """The lines of a compiler's failure, those that name an error first."""
    lines = str(error).splitlines()
    return sorted(lines, key=lambda line: "error" not in line.lower())
