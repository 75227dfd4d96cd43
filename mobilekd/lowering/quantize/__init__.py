"""Quantisation by PT2E: after training, with training, or mixed; parameters can be frozen and used
again without data.
"""

from mobilekd.lowering.quantize.frozen import Frozen, freeze, read_frozen, thaw, write_frozen
from mobilekd.lowering.quantize.mixed import Sensitivity, choose, sensitivities
from mobilekd.lowering.quantize.ptq import calibrate, convert, correct, prepare
from mobilekd.lowering.quantize.qat import train
from mobilekd.lowering.quantize.simulate import Simulation
from mobilekd.lowering.quantize.stored import store_weights

__all__ = [
    "Frozen",
    "Sensitivity",
    "Simulation",
    "calibrate",
    "choose",
    "convert",
    "correct",
    "freeze",
    "prepare",
    "read_frozen",
    "sensitivities",
    "store_weights",
    "thaw",
    "train",
    "write_frozen",
]
