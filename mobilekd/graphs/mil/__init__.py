"""A strict interpreter of saved Core ML packages, for any operating system.

It reads the bytes of an ``.mlpackage`` (protobuf and ``weight.bin``) by itself and runs the ML
program op by op with torch, every result rounded to its declared type. What it does not know is an
error that names it, never a guess. It shares no code with the exporter, so graph, weights,
compression, labels and metadata are proven by a second reading; what stays unproven is Apple's own
kernels.
"""

from mobilekd.graphs.mil.model import Model
from mobilekd.graphs.mil.values import MilError

__all__ = ["MilError", "Model"]
