"""The guard of a student: what its middle layer holds for photographs, and the fit on them."""

import numpy as np
import torch
from torch import Tensor, nn

from mobilekd.formats.guard import Guard
from mobilekd.formats.pictures import Pictures
from mobilekd.formats.preprocess import Preprocess
from mobilekd.metrics.guard import fit_guard
from mobilekd.students.deployable import middle_layer, seen_at
from mobilekd.support.progress import say, track

#: Photographs at once, which bounds memory.
BATCH = 64


def guard_for(
    student: nn.Module, preprocess: Preprocess, training: Pictures, validation: Pictures
) -> Guard | None:
    """Fitted on photographs uint8 ``[N, 3, H, W]`` as the student takes them; None, which is said,
    for a student without a middle layer.
    """
    student = student.eval()
    device = next(student.parameters()).device
    example = torch.zeros(1, 3, preprocess.height, preprocess.width, device=device)
    layer = middle_layer(student, example)
    if layer is None:
        say("guard: the student has no stages called blocks, so it gets none")
        return None
    known = pooled(student, layer, preprocess, training, "what training photographs look like")
    others = pooled(student, layer, preprocess, validation, "what validation looks like")
    if len(known) <= known.shape[1]:
        say(
            f"guard: {len(known)} training photographs are too few for {known.shape[1]} channels,"
            " so the student gets none"
        )
        return None
    return fit_guard(layer, known, others)


def pooled(
    student: nn.Module,
    layer: str,
    preprocess: Preprocess,
    pictures: Pictures,
    what: str = "looking at photographs",
) -> np.ndarray:
    """Pictures uint8 ``[N, 3, H, W]`` -> mean of each channel of ``layer``, float32 ``[N, D]``."""
    device = next(student.parameters()).device
    mean, std = (
        torch.tensor(values, device=device).view(1, 3, 1, 1)
        for values in (preprocess.mean, preprocess.std)
    )
    found: list[Tensor] = []
    parts = range(0, len(pictures), BATCH)
    with torch.inference_mode(), seen_at(student, layer) as outputs:
        for start in track(parts, what):
            x = torch.from_numpy(np.ascontiguousarray(pictures[start : start + BATCH])).to(device)
            student((x.float() / 255 - mean) / std)
            found.append(outputs.pop().mean((2, 3)).cpu())
    return np.asarray(torch.cat(found).numpy())
