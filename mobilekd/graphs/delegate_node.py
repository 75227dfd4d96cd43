"""One operator inside a delegate of a ``.pte`` file, whichever delegate it is."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """What a delegate's own graph says of one operator."""

    kind: str
    output: tuple[int, ...]  # batch first, channels last
    weights: tuple[int, ...] = ()
    weight_key: str = ""
    bias_key: str = ""
    groups: int = 1
    heavy: bool = False  # a convolution, a linear layer or a matrix product
    quantized: bool = False  # its weights are int8
    conversion: bool = False  # to or from int8
    floating: bool = False  # its output is floating point

    @property
    def macs(self) -> int:
        """Multiply-adds of one inference; 0 for nodes without weights."""
        if not self.weights:
            return 0
        return math.prod(self.output) * math.prod(self.weights) // self.output[-1]
