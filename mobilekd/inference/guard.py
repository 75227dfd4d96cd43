"""The guard of a student: what its early layers hold for photographs, and the fit on them."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mobilekd.data import inputs, load_unlabelled
from mobilekd.data.dataset import some
from mobilekd.formats.guard import Guard
from mobilekd.formats.pictures import Pictures
from mobilekd.formats.preprocess import Preprocess
from mobilekd.metrics.guard import fit_guard, knowing_clinic
from mobilekd.students.deployable import early_stages, moments, seen_at
from mobilekd.support.progress import say, track

#: Photographs at once, which bounds memory.
BATCH = 64

#: Means and deviations of a photograph that a guard looks at: a third of as many directions fit
#: into it (:data:`mobilekd.metrics.guard.NUMBERS`).
LOOKED_AT = 100

#: Photographs that a guard is fitted on for each of these numbers.
EACH = 3


def guard_for(
    student: nn.Module, preprocess: Preprocess, training: Pictures, validation: Pictures
) -> Guard | None:
    """Fitted on photographs uint8 ``[N, 3, H, W]`` as the student takes them; None, which is said,
    for a student without stages that give maps.
    """
    student = student.eval()
    device = next(student.parameters()).device
    example = torch.zeros(1, 3, preprocess.height, preprocess.width, device=device)
    stages = early_stages(student, example)
    if not stages:
        say("guard: the student has no stages called blocks or stages, so it gets none")
        return None
    layers, deviations = looked_at(stages, len(training))
    known, others = (
        shown(student, layers, preprocess, pictures, deviations=deviations, what=what)
        for pictures, what in (
            (training, "what training photographs look like"),
            (validation, "what validation looks like"),
        )
    )
    if len(known) <= known.shape[1]:
        say(
            f"guard: {len(known)} training photographs are too few for {known.shape[1]} numbers of"
            " each, so the student gets none"
        )
        return None
    return fit_guard(layers, known, others, deviations=deviations)


def knowing_folder(
    student: nn.Module, preprocess: Preprocess, guard: Guard, root: Path
) -> tuple[np.ndarray, Guard]:
    """The photographs below ``root`` as the student takes them, uint8 ``[N, 3, H, W]``, copies
    once, and the guard that knows them besides those of training.
    """
    dataset = load_unlabelled(root)
    clinic = inputs(dataset, dataset.ids, preprocess)
    # photographs of flat colour and copies of other sizes become equal only here
    first: dict[bytes, int] = {}
    for row, picture in enumerate(clinic):
        first.setdefault(hashlib.sha256(picture.tobytes()).digest(), row)
    if copies := [dataset.ids[row] for row in sorted(set(range(len(clinic))) - {*first.values()})]:
        say(
            f"guard: {some(copies, 'photograph')} equal to another one, as the student takes them,"
            " left out"
        )
        clinic = clinic[sorted(first.values())]
    seen = shown(
        student.eval(),
        guard.layers,
        preprocess,
        clinic,
        deviations=guard.deviations,
        what="what the clinic's photographs look like",
    )
    return clinic, knowing_clinic(guard, seen)


def looked_at(stages: Mapping[str, int], photographs: int) -> tuple[tuple[str, ...], bool]:
    """Which of a student's early stages, with how many channels each, a guard looks at that is
    fitted on so many photographs, and whether at deviations too: as many stages as have at most
    ``LOOKED_AT`` numbers, and ``EACH`` photographs for each number.
    """
    most = min(LOOKED_AT, photographs // EACH)
    numbers = np.cumsum(list(stages.values()))
    deviations = bool(2 * numbers[0] <= most)
    fitting = int((numbers * (2 if deviations else 1) <= most).sum())
    return tuple(stages)[: max(1, fitting)], deviations


def shown(
    student: nn.Module,
    layers: Sequence[str],
    preprocess: Preprocess,
    pictures: Pictures,
    *,
    deviations: bool = True,
    what: str = "looking at photographs",
) -> np.ndarray:
    """Pictures uint8 ``[N, 3, H, W]`` -> means of each layer's channels, with ``deviations``
    followed by their standard deviations, layer after layer, float32 ``[N, D]``.
    """
    device = next(student.parameters()).device
    mean, std = (
        torch.tensor(values, device=device).view(1, 3, 1, 1)
        for values in (preprocess.mean, preprocess.std)
    )
    found: list[Tensor] = []
    parts = range(0, len(pictures), BATCH)
    with torch.inference_mode(), seen_at(student, layers) as outputs:
        for start in track(parts, what):
            x = torch.from_numpy(np.ascontiguousarray(pictures[start : start + BATCH])).to(device)
            student((x.float() / 255 - mean) / std)
            found.append(moments(outputs, deviations).flatten(1).cpu())
            outputs.clear()
    return np.asarray(torch.cat(found).numpy())
