"""XNNPACK's quantizer with ReLU6 understood.

The shipped one pairs convolutions with ReLU only. Before a ReLU6 it quantises the convolution's output over the whole
range that the ReLU6 then cuts off, which wastes most of the 256 levels and leaves a clamp of its own per layer. Here
the pair shares one quantised output behind the ReLU6, so XNNPACK runs the clamp inside the convolution.
"""

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from torch import fx
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation

aten = torch.ops.aten
_ANNOTATION = "quantization_annotation"
_WEIGHTED = (aten.conv2d.default, aten.linear.default)


class Quantizer(XNNPACKQuantizer):
    """int8, weights per channel; modules named in ``float_layers`` are left alone."""

    def __init__(self, float_layers: frozenset[str]) -> None:
        super().__init__()
        self.set_global(get_symmetric_quantization_config(is_per_channel=True))
        self.set_filter_function(lambda node: float_layers.isdisjoint(modules_of(node)))

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """The shipped annotations, then ReLU6 joined to the convolution before it."""
        model = super().annotate(model)
        for node in model.graph.nodes:
            if node.op != "call_function" or node.target is not aten.hardtanh.default:
                continue
            source = node.args[0]
            annotation = source.meta.get(_ANNOTATION)
            if source.target in _WEIGHTED and len(source.users) == 1 and annotation is not None and annotation.output_qspec is not None:
                node.meta[_ANNOTATION] = QuantizationAnnotation(output_qspec=annotation.output_qspec, _annotated=True)
                annotation.output_qspec = None
        return model


def modules_of(node: fx.Node) -> set[str]:
    """Names of the modules that a node of an exported graph came from, ``student.`` taken off."""
    stack = node.meta.get("nn_module_stack", {})
    return {name.removeprefix("student.") for name, _ in stack.values()}
