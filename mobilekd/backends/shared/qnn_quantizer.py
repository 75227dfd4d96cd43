"""ExecuTorch's quantizer for Hexagon with ranges that do not depend on the photographs' order.

int8 weights and int32 biases have a scale for each channel. Activations have 8 bits or 16: 8 are
searched for the range with the least squared error, 16 are enough for every value seen. The shipped
default, a moving average, forgets the photographs that came first.
"""

from typing import Any

from executorch.backends.qualcomm.quantizer.quantizer import QnnQuantizer, QuantDtype
from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset
from torch import fx
from torchao.quantization.pt2e import HistogramObserver, MinMaxObserver

from mobilekd.backends.shared import htp


class Quantizer(QnnQuantizer):
    """The shipped one, without its remarks."""

    def transform_for_annotation(self, model: fx.GraphModule) -> fx.GraphModule:
        """A captured graph in operators that Hexagon has."""
        with htp.quiet("rounding for Hexagon"):
            return super().transform_for_annotation(model)

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """Where which values are rounded."""
        with htp.quiet("rounding for Hexagon"):
            return super().annotate(model)


def quantizer(soc: str, precision: str) -> Any:
    """The quantizer for a chip and ``w8a8`` or ``w8a16``."""
    with htp.quiet("rounding for Hexagon"):
        made = Quantizer(soc_model=getattr(QcomChipset, soc))
    eight = precision == "w8a8"
    made.set_default_quant_config(
        QuantDtype.use_8a8w if eight else QuantDtype.use_16a8w,
        is_conv_per_channel=True,
        is_linear_per_channel=True,
        act_observer=HistogramObserver if eight else MinMaxObserver,
    )
    return made
