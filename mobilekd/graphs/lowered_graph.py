"""A lowered program as torch computes it, for comparison with the graph that was lowered."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from mobilekd.graphs import int8_arithmetic


class LoweredGraph:
    """A lowered program in torch, its delegates' graphs included, one photograph at a time (that
    batch is compiled in).

    ExecuTorch's own way rebuilds a delegate's module for every photograph, which takes longer than
    running it.
    """

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.outer = program.module()
        self.inner: dict[int, fx.GraphModule] = {}

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        """float32 ``[N, 3, H, W]`` -> outputs, each ``[N, ...]``."""
        answers = [self._run(one[None], None) for one in x]
        return [
            np.concatenate([answer[i].numpy() for answer in answers])
            for i in range(len(answers[0]))
        ]

    def layers(self, x: np.ndarray) -> list[np.ndarray]:
        """``x`` float32 ``[1, 3, H, W]`` -> outputs of every convolution and linear layer in
        execution order.
        """
        collected: list[np.ndarray] = []
        self._run(x, collected)
        return collected

    def _run(self, x: np.ndarray, collected: list[np.ndarray] | None) -> tuple[Tensor, ...]:
        owner = self

        class Interpreter(int8_arithmetic.Interpreter):
            def run_node(self, node: fx.Node) -> Any:
                if "call_delegate" in str(node.target):
                    lowered, *arguments = self.fetch_args_kwargs_from_env(node)[0]
                    return Interpreter(owner._inside(lowered)).run(*arguments)
                value = super().run_node(node)
                if collected is not None and any(
                    f".{name}." in f".{node.target}." for name in ("convolution", "linear", "addmm")
                ):
                    collected.append(int8_arithmetic.floating(value).detach().float().numpy())
                return value

        with torch.no_grad():
            answer = Interpreter(self.outer).run(torch.from_numpy(np.ascontiguousarray(x)))
        return tuple(answer) if isinstance(answer, (tuple, list)) else (answer,)

    def _inside(self, lowered: Any) -> fx.GraphModule:
        if id(lowered) not in self.inner:
            self.inner[id(lowered)] = lowered.original_module.module()
        return self.inner[id(lowered)]
