"""Distillation losses: pure functions ``(student, teacher, target, **options) -> (B,)``, found by
name in ``LOSSES``.

Supervised losses look at the target alone, logit losses at both networks' logits, feature losses at
layers that a projector of the stated kind made comparable.

A new loss is one new function, registered in ``registry``; it cites its paper. A user's own is
named by its file (``my_losses.py:my_loss``) and registered nowhere. Never imports
students, data or the training loop: a loss knows outputs only.
"""

from mobilekd.losses.features import attention_transfer, crd_in_batch, embedding, fitnets, rkd
from mobilekd.losses.logits import (
    cross_entropy,
    dist,
    dkd,
    hard_label,
    hinton,
    logit_standardisation,
    multi_level,
)
from mobilekd.losses.objective import Objective, check_loss, weight_at
from mobilekd.losses.registry import (
    FEATURE_LOSSES,
    LOGIT_LOSSES,
    LOSSES,
    SUPERVISED_LOSSES,
    find,
)
from mobilekd.losses.taps import Outputs, Taps

__all__ = [
    "FEATURE_LOSSES",
    "LOGIT_LOSSES",
    "LOSSES",
    "SUPERVISED_LOSSES",
    "Objective",
    "Outputs",
    "Taps",
    "attention_transfer",
    "check_loss",
    "crd_in_batch",
    "cross_entropy",
    "dist",
    "dkd",
    "embedding",
    "find",
    "fitnets",
    "hard_label",
    "hinton",
    "logit_standardisation",
    "multi_level",
    "rkd",
    "weight_at",
]
