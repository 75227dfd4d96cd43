"""Quantisation by PT2E: after training, with training, or mixed; parameters can be frozen and used
again without data.
"""

from mobilekd.lowering.quantize.frozen import (
    Frozen,
    freeze,
    range_names,
    read_frozen,
    thaw,
    write_frozen,
)
from mobilekd.lowering.quantize.mixed import Sensitivity, choose, sensitivities
from mobilekd.lowering.quantize.ptq import calibrate, convert, correct, prepare
from mobilekd.lowering.quantize.qat import train
from mobilekd.lowering.quantize.simulate import Simulation
from mobilekd.lowering.quantize.stored import pack_weights, store_weights, unpack_weights

__all__ = [
    "Frozen",
    "Sensitivity",
    "Simulation",
    "calibrate",
    "choose",
    "convert",
    "correct",
    "freeze",
    "pack_weights",
    "prepare",
    "range_names",
    "read_frozen",
    "sensitivities",
    "store_weights",
    "thaw",
    "train",
    "unpack_weights",
    "write_frozen",
]
