"""XNNPACK's quantizer with clamps and pooling understood.

The shipped one pairs convolutions with ReLU only. Before a ReLU6, or any clamp, it quantises the
output over the whole range that the clamp then cuts off, which wastes most of the 256 levels and
leaves a clamp of its own per layer. Here the pair shares one quantised output behind the clamp, so
XNNPACK runs it inside the convolution. An addition takes its clamp's range for its own: what lies
beyond saturates, and ``quantize.convert`` drops the clamp.

The shipped one also gives a pooled tensor the step of what was pooled. Means lie closer together
than what they are means of, so most of that range stays empty; here a pooled tensor has a step of
its own.
"""

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torch import fx
from torchao.quantization.pt2e.quantizer import FixedQParamsQuantizationSpec, QuantizationAnnotation

from mobilekd.graphs import torch_nodes
from mobilekd.graphs.float_operators import left_in_float

aten = torch.ops.aten
_ANNOTATION = "quantization_annotation"
_POOLING = (aten.adaptive_avg_pool2d.default, aten.mean.dim)
_WEIGHTED = (aten.conv2d.default, aten.linear.default)


class Quantizer(XNNPACKQuantizer):
    """int8, weights per channel; layers named in ``float_layers`` are left alone, and operators
    that stand among them.
    """

    def __init__(self, float_layers: frozenset[str]) -> None:
        super().__init__()
        config = get_symmetric_quantization_config(is_per_channel=True)
        self.set_global(config)
        self._activations = config.output_activation
        self._float_layers = float_layers

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """The shipped annotations, then clamps joined to what is before them, and pooled tensors on
        their own.
        """
        guard = set(torch_nodes.guard_nodes(model))
        left = left_in_float(model, self._float_layers) | guard
        self.set_filter_function(lambda node: node not in left)
        if not any("batch_norm" in str(node.target) for node in model.graph.nodes):
            # a captured graph has none, and each pattern with one is exported anew to look for it:
            # a fifth of an int8 export
            self.SUPPORTED_PATTERNS = [
                pattern
                for pattern in XNNPACKQuantizer.SUPPORTED_PATTERNS
                if "_bn" not in pattern.name
            ]
            model.graph.eliminate_dead_code()  # as those patterns' annotator does first
            model.recompile()
        model = super().annotate(model)
        for node in guard:  # its means share the range of what they are means of, filter or not
            node.meta.pop(_ANNOTATION, None)
        for node in model.graph.nodes:
            if node.op != "call_function":
                continue
            source = node.args[0] if node.args else None
            if not isinstance(source, fx.Node):
                continue
            annotation = source.meta.get(_ANNOTATION)
            if annotation is None or annotation.output_qspec is None:
                continue
            clamped = node.target is aten.hardtanh.default and len(source.users) == 1
            if clamped and source.target in _WEIGHTED:
                node.meta[_ANNOTATION] = QuantizationAnnotation(
                    output_qspec=annotation.output_qspec, _annotated=True
                )
                annotation.output_qspec = None
            elif clamped and source.target is aten.add.Tensor:
                annotation.output_qspec = _range(*node.args[1:])
                # reads these very levels: a range of its own would round them once more
                for user in node.users:
                    inputs = (
                        user.meta[_ANNOTATION].input_qspec_map if user.meta.get(_ANNOTATION) else {}
                    )
                    if inputs.get(node) is not None:
                        inputs[node] = annotation.output_qspec
            elif node.target in _POOLING and node.meta.get(_ANNOTATION):
                node.meta[_ANNOTATION].output_qspec = self._activations
        return model


def _range(low: float, high: float) -> FixedQParamsQuantizationSpec:
    """int8 from ``low`` to ``high``, 0 among its levels."""
    scale = (high - low) / 255
    return FixedQParamsQuantizationSpec(
        torch.int8, scale, round(-128 - low / scale), -128, 127, torch.per_tensor_affine
    )
