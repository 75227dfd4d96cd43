"""Losses over features. ``student`` and ``teacher`` are what a projector made comparable; the
answer is one value per example.

The teacher is never differentiated; ``target`` is not looked at.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def fitnets(student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
    """Mean squared error of the student's projected features, ``[B, C, h, w]`` or ``[B, D]`` (arXiv
    1412.6550).
    """
    return (student - teacher.detach()).pow(2).flatten(1).mean(1)


def embedding(student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
    """1 minus the cosine between the student's mapped embedding and the teacher's, ``[B, D]`` each:
    representation distillation as in SEED and CompRess (arXiv 2101.04731, 2010.14713), without
    their queues of negatives.
    """
    return 1 - F.cosine_similarity(student, teacher.detach(), dim=1)


def attention_transfer(student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
    """Squared distance of l2-normalised attention maps, the channels' mean square, ``[B, C, h, w]``
    (arXiv 1612.03928).
    """
    a_s, a_t = (
        F.normalize(x.pow(2).mean(1).flatten(1), dim=1) for x in (student, teacher.detach())
    )
    return (a_s - a_t).pow(2).sum(1)


def rkd(
    student: Tensor,
    teacher: Tensor,
    target: Tensor | None,
    *,
    distance: float = 25.0,
    angle: float = 50.0,
) -> Tensor:
    """Relations inside the batch of embeddings ``[B, D]`` (arXiv 1904.05068).

    Huber loss between pairwise distances, each divided by the batch's mean distance, and between
    the cosines of all triplets. An example's value is the mean over the pairs and triplets it
    begins, so the batch mean is the paper's.
    """
    teacher = teacher.detach()
    by_pairs = F.smooth_l1_loss(_distances(student), _distances(teacher), reduction="none").mean(1)
    by_triplets = F.smooth_l1_loss(_cosines(student), _cosines(teacher), reduction="none").mean(
        (1, 2)
    )
    return distance * by_pairs + angle * by_triplets


def crd_in_batch(
    student: Tensor, teacher: Tensor, target: Tensor | None, *, temperature: float = 0.1
) -> Tensor:
    """CRD's contrast of student and teacher embeddings ``[B, D]``, with the batch for its memory
    bank (arXiv 1910.10699).

    InfoNCE: the same photograph under the teacher is the positive, the batch's other photographs
    are the negatives. The teacher's own embedding head learns too, as in the paper; the teacher
    below it does not.
    """
    similarity = F.normalize(student, dim=1) @ F.normalize(teacher, dim=1).T / temperature
    return F.cross_entropy(
        similarity, torch.arange(len(student), device=student.device), reduction="none"
    )


def _distances(x: Tensor) -> Tensor:
    """Pairwise distances over their mean above zero, ``[B, B]``; the root is kept off zero, where
    its slope is infinite.
    """
    squares = (x[:, None] - x[None]).pow(2).sum(-1)
    apart = squares > 1e-12
    d = torch.where(apart, squares, 1.0).sqrt() * apart
    return d / d[apart].mean() if apart.any() else d


def _cosines(x: Tensor) -> Tensor:
    """Cosine at ``i`` of the angle between ``j`` and ``k``, ``[B, B, B]``."""
    edges = F.normalize(x[None] - x[:, None], dim=-1)
    return edges @ edges.transpose(1, 2)
