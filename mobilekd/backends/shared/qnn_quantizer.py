"""ExecuTorch's quantizer for Hexagon with ranges that do not depend on the photographs' order.

int8 weights and int32 biases have a scale for each channel. Activations have 8 bits or 16: 8 are
searched for the range with the least squared error, 16 are enough for every value seen. The shipped
default, a moving average, forgets the photographs that came first.
"""

import copy
from dataclasses import replace
from typing import Any

from executorch.backends.qualcomm.quantizer.observers.concat_observer import ConcatObserver
from executorch.backends.qualcomm.quantizer.quantizer import QnnQuantizer, QuantDtype
from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset
from torch import fx
from torchao.quantization.pt2e import HistogramObserver, MinMaxObserver

from mobilekd.backends.shared import htp


class Concatenation(ConcatObserver):
    """The shipped one, which can be copied with its graph. It knows nodes of the graph, and copying
    those copies the whole chain, node within node, until Python gives up.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "Concatenation":
        memo |= {id(one): one for one in (self.concat_node, self.input_nodes)}
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        # the observers of its inputs, which it has found by now, are copied as the graph's are
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin


class Quantizer(QnnQuantizer):
    """The shipped one, without its remarks."""

    def transform_for_annotation(self, model: fx.GraphModule) -> fx.GraphModule:
        """A captured graph in operators that Hexagon has."""
        with htp.quiet("rounding for Hexagon"):
            return super().transform_for_annotation(model)

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """Where which values are rounded."""
        with htp.quiet("rounding for Hexagon"):
            annotated = super().annotate(model)
        for node in annotated.graph.nodes:
            annotation = node.meta.get("quantization_annotation")
            spec: Any = annotation.output_qspec if annotation else None
            made = getattr(spec, "observer_or_fake_quant_ctr", None)
            if (
                made is not None
                and getattr(getattr(made, "p", None), "func", None) is ConcatObserver
            ):
                own = Concatenation.with_args(**made.p.keywords)
                annotation.output_qspec = replace(spec, observer_or_fake_quant_ctr=own)
        return annotated


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
