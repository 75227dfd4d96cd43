"""The losses by name, by what they look at. A new loss is one function and one line here."""

from collections.abc import Callable

from torch import Tensor

from mobilekd.losses.features import attention_transfer, crd_in_batch, fitnets, rkd
from mobilekd.losses.logits import (
    cross_entropy,
    dist,
    dkd,
    hard_label,
    hinton,
    logit_standardisation,
    multi_level,
)
from mobilekd.losses.projectors import Kind

SUPERVISED_LOSSES: dict[str, Callable[..., Tensor]] = {"cross_entropy": cross_entropy}

LOGIT_LOSSES: dict[str, Callable[..., Tensor]] = {
    "hinton": hinton,
    "hard_label": hard_label,
    "dkd": dkd,
    "dist": dist,
    "logit_standardisation": logit_standardisation,
    "multi_level": multi_level,
}

FEATURE_LOSSES: dict[str, tuple[Callable[..., Tensor], Kind]] = {
    "fitnets": (fitnets, "map"),
    "attention_transfer": (attention_transfer, "attention"),
    "rkd": (rkd, "embedding"),
    "crd_in_batch": (crd_in_batch, "contrast"),
}

LOSSES: dict[str, Callable[..., Tensor]] = {
    **SUPERVISED_LOSSES,
    **LOGIT_LOSSES,
    **{name: function for name, (function, _) in FEATURE_LOSSES.items()},
}
